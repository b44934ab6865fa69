"""The gateway's ports, each with an observer: node, guardians, workers, clock."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, TypeVar, TypeVarTuple, cast

import anyio
import msgspec

from backends.lightning import HeldPayment, NodeInfo, PaymentStatuses
from backends.operations import Node
from backends.simulated.node import SimulatedNode
from fedimint.client.transport import GuardianConnection
from fedimint.codec.encoding import BYTES
from fedimint.crypto.secrets import TWEAK_SIZE
from fuzz.simulation.judging.auditor import Auditor
from fuzz.simulation.latency import Latency
from gateway.build import build
from gateway.ports import Connect
from statemachines.items import Reservation

T = TypeVar("T")
Args = TypeVarTuple("Args")

#: What nobody needs to know more exactly in a simulation: guardians are asked for news of the chain this often.
POLL_PAUSE_S = 15.0


class WatchedNode:
    """A `backends.operations.Node` whose calls take time, and are seen before they leave if they move money."""

    def __init__(
        self, node: SimulatedNode, auditor: Auditor, latency: Latency, known_as: Callable[[], str]
    ) -> None:
        self._node = node
        self._auditor = auditor
        self._latency = latency
        self._known_as = known_as

    async def info(self) -> NodeInfo:
        info = await self._latency.take("node", self._node.info)
        return msgspec.structs.replace(info, public_key=self._known_as())

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._node, name)
        return self._paced(found) if iscoroutinefunction(found) else found

    def _paced(self, call: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        async def paced(*arguments: Any, **named: Any) -> T:
            return await self._latency.take("node", lambda: call(*arguments, **named))

        return paced

    def pay(
        self, invoice: str, *, payment_hash: bytes, max_fee_msat: int, max_delay_blocks: int
    ) -> PaymentStatuses:
        called = self._node.pay(
            invoice,
            payment_hash=payment_hash,
            max_fee_msat=max_fee_msat,
            max_delay_blocks=max_delay_blocks,
        )
        return _streamed(
            called,
            self._latency,
            lambda: self._auditor.pay_leaves(invoice, max_fee_msat, max_delay_blocks),
        )

    def track(self, payment_hash: bytes) -> PaymentStatuses:
        return _streamed(self._node.track(payment_hash), self._latency)

    def held_payments(
        self, *arguments: Any, **named: Any
    ) -> AbstractAsyncContextManager[AsyncIterator[HeldPayment]]:
        return _streamed(self._node.held_payments(*arguments, **named), self._latency)

    async def settle(self, payment_hash: bytes, preimage: bytes) -> None:
        self._auditor.settle_leaves(payment_hash, preimage)
        await self._latency.take("node", lambda: self._node.settle(payment_hash, preimage))

    async def cancel(self, payment_hash: bytes) -> None:
        self._auditor.cancel_leaves(payment_hash)
        await self._latency.take("node", lambda: self._node.cancel(payment_hash))


def watched_node(
    node: SimulatedNode, auditor: Auditor, latency: Latency, known_as: Callable[[], str]
) -> Node:
    """The node as a gateway sees it; `known_as` is its key (hex) at the time of the question."""
    return cast("Node", WatchedNode(node, auditor, latency, known_as))


@asynccontextmanager
async def _streamed(
    called: AbstractAsyncContextManager[AsyncIterator[T]],
    latency: Latency,
    leaves: Callable[[], None] = lambda: None,
) -> AsyncIterator[AsyncIterator[T]]:
    """The call leaves with the first step of the iteration; each answer is on its way for a while."""

    async def answers() -> AsyncGenerator[T, None]:
        leaves()
        await latency.pause("node")
        async for answer in told:
            await latency.pause("node")
            yield answer

    async with called as told, aclosing(answers()) as watched:
        yield watched


class WatchedGuardian:
    """A `GuardianConnection` that takes its time, by which no transaction leaves unseen."""

    def __init__(
        self,
        guardian: GuardianConnection,
        auditor: Auditor,
        latency: Latency,
        heard: Callable[[object], object],
    ) -> None:
        self._guardian = guardian
        self._auditor = auditor
        self._latency = latency
        self._heard = heard

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        if method == "submit_transaction":
            (text,) = msgspec.to_builtins(params)
            self._auditor.bytes_leave(BYTES.decode_hex(text).hex())
        answer = await self._latency.take(
            "guardian", lambda: self._guardian.request(method, params, auth=auth)
        )
        return self._heard(answer)

    async def aclose(self) -> None:
        await self._guardian.aclose()


def watched_guardians(
    connect: Connect,
    auditor: Auditor,
    latency: Latency,
    heard: Callable[[str, object], object],
) -> Connect:
    """How a gateway connects; `heard` is what it hears of an answer of the guardian at a URL."""
    return lambda url, api_secret: WatchedGuardian(
        connect(url, api_secret), auditor, latency, partial(heard, url)
    )


@dataclass
class QuickWorkers:
    """A `gateway.ports.Cpu` on the event loop."""

    latency: Latency
    build_begins: Callable[[Reservation], None]
    """Hears of every transaction before it is built, and raises what the program cannot do."""

    async def run(self, function: Callable[[*Args], T], *arguments: *Args) -> T:
        await self.latency.pause("worker")
        if function is cast("object", build):
            self.build_begins(next(each for each in arguments if isinstance(each, Reservation)))
        return function(*arguments)


def first_tweak(_tweak_filter: bytes, start: bytes, _tries: int) -> bytes:
    """A `FindTweak` that takes any: as good as others, but that recovery from the mnemonic would not find the note."""
    return start


@dataclass
class UngroundTweaks:
    """A `gateway.ports.GrindTweak` over all lives of one gateway: each tweak is another number."""

    made: int = 0

    async def __call__(self, tweak_filter: bytes) -> bytes:
        del tweak_filter
        self.made += 1
        return self.made.to_bytes(TWEAK_SIZE)


@dataclass
class WrongClock:
    """An `engine.ports.Clock` on the event loop's time that may be wrong, and that oversleeps what only polls.

    `read` hears what it told.
    """

    start_unix_s: int
    read: Callable[[int], None]
    wrong_by_s: float = 0.0
    _polls: frozenset[float] = field(default=frozenset({1.0}))

    def now_unix_us(self) -> int:
        told_us = int((self.start_unix_s + self.wrong_by_s + anyio.current_time()) * 1_000_000)
        self.read(told_us)
        return told_us

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(POLL_PAUSE_S if seconds in self._polls else seconds)


@dataclass
class SlowDisk:
    """An `engine.ports.RunBlocking` that takes its time; a commit is whole or not at all."""

    latency: Latency
    pause_s: float = 0.0

    async def __call__(self, call: Callable[[], None]) -> None:
        if self.pause_s:
            await anyio.sleep(self.pause_s)
        await self.latency.pause("disk")
        call()
