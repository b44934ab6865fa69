"""What all parts of a simulated node share: its name and key, being up or down, and the faults of its calls."""

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Literal, TypeVar

import anyio
import anyio.lowlevel

from backends.lightning import NodeRefusedError, NodeUnansweredError
from backends.simulated.network import SimulatedNetwork
from errors import GatewayError, InputError
from fedimint.codec import secp

_T = TypeVar("_T")

Call = Literal[
    "pay",
    "create_invoice",
    "held_payments",
    "settle",
    "cancel",
    "send_onchain",
    "open_channel",
    "close_channels",
]
"""The calls that can be given faults. The first and the third are streams."""

_STREAMS: tuple[Call, ...] = ("pay", "held_payments")


class Fault(Enum):
    """What happens to one call."""

    NONE = auto()
    LOST = auto()
    """The call dies and never reaches the node."""
    DELAYED = auto()
    """The call dies, and reaches the node when the test says `deliver_delayed`."""
    REFUSED = auto()
    """The node refuses the call and does nothing."""
    TAKEN = auto()
    """The node does as asked, and the call dies without an answer."""
    CUT = auto()
    """The node does as asked, and the stream dies after its first answer."""


class SimulatedPart:
    """One part of `SimulatedNode`; every part is made of the same arguments."""

    def __init__(self, network: SimulatedNetwork, name: str, now_s: Callable[[], float]) -> None:
        """A node of this name, whose key follows from it; `now_s` is the wall clock, unix time."""
        self.name = name
        self.network = network
        self.secret = hashlib.sha256(b"simulated node " + name.encode()).digest()
        self.public_key = secp.public_key(self.secret)
        self._now_s = now_s
        self._faults: defaultdict[Call, deque[Fault]] = defaultdict(deque)
        self._delayed: list[Callable[[], object]] = []
        self._is_down = False
        self._connection = 1
        self._changed = anyio.Event()

    # --- what a test calls ---

    @property
    def is_down(self) -> bool:
        """Whether every call ends unanswered; open ones do so at once. Forwarding stops too."""
        return self._is_down

    @is_down.setter
    def is_down(self, value: bool) -> None:
        self._is_down = value
        if value:
            self.network.unreachable.add(self.name)
            self.cut_streams()
        else:
            self.network.unreachable.discard(self.name)
            self._catch_up()

    def cut_streams(self) -> None:
        """End every open stream unanswered, as when a connection breaks; the node stays up."""
        self._connection += 1
        self._wake()

    def script(self, *faults: Fault, call: Call = "pay") -> None:
        """Say what happens to the next of these calls, one each; those after them are sound."""
        if Fault.CUT in faults and call not in _STREAMS:
            raise InputError(f"{call} has one answer: it cannot be cut after the first, only TAKEN")
        self._faults[call].extend(faults)

    def forgive(self) -> None:
        """Forget the faults that no call has met yet."""
        self._faults.clear()

    @property
    def has_delayed(self) -> bool:
        """Whether calls that died may still reach the node."""
        return bool(self._delayed)

    def deliver_delayed(self) -> None:
        """Let the delayed calls reach the node now; what it refuses, nobody hears."""
        calls, self._delayed = self._delayed, []
        for call in calls:
            try:
                call()
            except GatewayError:
                continue

    async def changed(self) -> None:
        """Wait until something at this node may be different. NodeUnansweredError when a connection would break."""
        connection = self._connection
        await self._changed.wait()
        if connection != self._connection:
            raise NodeUnansweredError("the connection to the node broke")

    # --- what the parts call ---

    async def _answer(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self._is_down:
            raise NodeUnansweredError("the node is down")

    async def _call(self, call: Call, take: Callable[[], _T]) -> _T:
        """Answer a call with what `take` does at once, unless the script has a fault for it."""
        await self._answer()
        return self._reach(self._next_fault(call), take)

    def _next_fault(self, call: Call) -> Fault:
        faults = self._faults[call]
        return faults.popleft() if faults else Fault.NONE

    def _reach(self, fault: Fault, take: Callable[[], _T]) -> _T:
        """Do what is asked, or not, as the fault says; CUT is left to the stream."""
        if fault is Fault.LOST:
            raise NodeUnansweredError("the call was lost")
        if fault is Fault.DELAYED:
            self._delayed.append(take)
            raise NodeUnansweredError("the call is late")
        if fault is Fault.REFUSED:
            raise NodeRefusedError("UNKNOWN", "as the script says")
        taken = take()
        if fault is Fault.TAKEN:
            raise NodeUnansweredError("the answer was lost")
        return taken

    def _wake(self) -> None:
        """Let the open streams look again."""
        self._changed.set()
        self._changed = anyio.Event()

    def _catch_up(self) -> None:
        """Do, when the node comes up again, what blocks asked for meanwhile."""

    def _derived(self, purpose: str) -> bytes:
        """32 bytes that only this node has, for a purpose that is named once."""
        return hashlib.sha256(self.secret + purpose.encode()).digest()
