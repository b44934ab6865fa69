"""What all parts of the node inside share: calls into it, what woke them, and the end of it."""

import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

import anyio
import anyio.to_thread
from fedimint_gateway_native import NativeError
from fedimint_gateway_native.ldk import LdkError, Node

from backends.ldk.ledger import Ledger
from backends.lightning import NodeRefusedError, NodeUnansweredError

_T = TypeVar("_T")

# A call sits in its thread until LDK has written to disk.
_THREADS = 8
_MOST_CHANNEL_ENDS = 1_000

# Errors of ldk-node that leave open whether something was done.
_UNANSWERED = frozenset(
    {
        "NotRunning",
        "PersistenceFailed",
        "WalletOperationFailed",
        "WalletOperationTimeout",
        "TxSyncFailed",
        "TxSyncTimeout",
    }
)


class ChannelEnd:
    """What became of opening or closing a channel: a funding transaction, or why it is closed."""

    def __init__(self, funding_txid: str | None, reason: str | None) -> None:
        self.funding_txid = funding_txid
        self.reason = reason


class Core:
    """One running node and its ledger."""

    def __init__(self, native: Node, ledger: Ledger, max_sync_age_s: int) -> None:
        self.native = native
        self.ledger = ledger
        self.max_sync_age_s = max_sync_age_s
        #: LDK keeps one record for a hash, whichever direction: nobody makes one while somebody looks.
        self.making = anyio.Lock()
        self.last_beat_s = time.monotonic()
        self._channels: OrderedDict[bytes, ChannelEnd] = OrderedDict()
        self._change = anyio.Event()
        self._is_over = False
        self._threads = anyio.CapacityLimiter(_THREADS)

    async def ask(self, question: Callable[[Node], _T]) -> _T:
        """Ask in a thread, to the end also if nobody waits for it any more. NodeRefusedError is LDK's refusal."""
        self.check()
        try:
            return await anyio.to_thread.run_sync(question, self.native, limiter=self._threads)
        except LdkError as error:
            raise read_error(error) from None
        except NativeError as error:
            raise NodeUnansweredError(str(error)) from error

    def check(self) -> None:
        """Raise NodeUnansweredError once the node was left."""
        if self._is_over:
            raise NodeUnansweredError("the Lightning node inside has been stopped")

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield now, and whenever something may have changed since. Raises NodeUnansweredError at the end."""
        while True:
            self.check()
            change = self._change
            yield
            await change.wait()

    def tell(self) -> None:
        """Wake everybody who waits for a change."""
        change, self._change = self._change, anyio.Event()
        change.set()

    def note_channel(self, user_channel_id: bytes, end: ChannelEnd) -> None:
        """Remember what LDK told of a channel, for whoever waits for it."""
        self._channels[user_channel_id] = end
        self._channels.move_to_end(user_channel_id)
        if len(self._channels) > _MOST_CHANNEL_ENDS:
            self._channels.popitem(last=False)

    def channel_end(self, user_channel_id: bytes) -> ChannelEnd | None:
        """What LDK told last of a channel in this life."""
        return self._channels.get(user_channel_id)

    def leave(self) -> None:
        """End all calls and watches."""
        self._is_over = True
        self.tell()


class LdkPart:
    """A part of `LdkNode`."""

    def __init__(self, core: Core) -> None:
        self._core = core


def read_error(error: LdkError) -> NodeRefusedError | NodeUnansweredError:
    """LDK's refusal, or that nothing is known."""
    name, text = error.args
    if name in _UNANSWERED:
        return NodeUnansweredError(f"the Lightning node inside failed: {text} ({name})")
    return NodeRefusedError(name, text)
