"""The doors of a gateway, each with an observer beside it: its node, its guardians, its workers, its clock."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, TypeVarTuple, cast

import anyio
import msgspec

from backends.lightning import PaymentStatus, PaymentStatuses
from backends.operations import Node
from backends.simulated import SimulatedNode
from fedimint.encoding import BYTES
from fedimint.secrets import TWEAK_SIZE
from fedimint.transport import GuardianConnection
from fuzz.auditor import Auditor
from gateway.build import Materials, ModuleKeys, build
from gateway.ports import Connect
from statemachines.items import Issue, Reservation

T = TypeVar("T")
Args = TypeVarTuple("Args")

#: What nobody needs to know more exactly in a simulation: guardians are asked for news of the chain this often.
POLL_PAUSE_S = 15.0


class WatchedNode:
    """A `backends.operations.Node` whose calls that move money are seen before they leave."""

    def __init__(self, node: SimulatedNode, auditor: Auditor) -> None:
        self._node = node
        self._auditor = auditor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def pay(
        self, invoice: str, *, payment_hash: bytes, max_fee_msat: int, max_delay_blocks: int
    ) -> PaymentStatuses:
        called = self._node.pay(
            invoice,
            payment_hash=payment_hash,
            max_fee_msat=max_fee_msat,
            max_delay_blocks=max_delay_blocks,
        )
        return _seen(
            called, lambda: self._auditor.pay_leaves(invoice, max_fee_msat, max_delay_blocks)
        )

    async def settle(self, payment_hash: bytes, preimage: bytes) -> None:
        self._auditor.settle_leaves(payment_hash, preimage)
        await self._node.settle(payment_hash, preimage)

    async def cancel(self, payment_hash: bytes) -> None:
        self._auditor.cancel_leaves(payment_hash)
        await self._node.cancel(payment_hash)


def watched_node(node: SimulatedNode, auditor: Auditor) -> Node:
    """The node as a gateway sees it."""
    return cast("Node", WatchedNode(node, auditor))


@asynccontextmanager
async def _seen(
    called: PaymentStatuses, leaves: Callable[[], None]
) -> AsyncIterator[AsyncIterator[PaymentStatus]]:
    """The call leaves with the first step of the iteration."""

    async def statuses() -> AsyncGenerator[PaymentStatus, None]:
        leaves()
        async for status in answers:
            yield status

    async with called as answers, aclosing(statuses()) as watched:
        yield watched


class WatchedGuardian:
    """A `GuardianConnection` by which no transaction leaves unseen."""

    def __init__(self, guardian: GuardianConnection, auditor: Auditor) -> None:
        self._guardian = guardian
        self._auditor = auditor

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        if method == "submit_transaction":
            (text,) = msgspec.to_builtins(params)
            self._auditor.bytes_leave(BYTES.decode_hex(text).hex())
        return await self._guardian.request(method, params, auth=auth)

    async def aclose(self) -> None:
        await self._guardian.aclose()


def watched_guardians(connect: Connect, auditor: Auditor) -> Connect:
    """How a gateway connects."""
    return lambda url, api_secret: WatchedGuardian(connect(url, api_secret), auditor)


class QuickWorkers:
    """A `gateway.ports.Cpu` on the event loop, which takes each tweak as it was drawn, unground.

    Such a tweak is as good as any, but that recovery from the words would not find it.
    """

    async def run(self, function: Callable[[*Args], T], *arguments: *Args) -> T:
        if function is cast("object", build):
            arguments = cast("tuple[*Args]", _unground(*cast("Any", arguments)))
        return function(*arguments)


def _unground(
    keys: ModuleKeys, reservation: Reservation, materials: Materials
) -> tuple[ModuleKeys, Reservation, Materials]:
    starts = iter(materials.tweak_starts)
    issues = tuple(
        issue if issue.tweak else Issue(issue.denomination, next(starts).hex())
        for issue in reservation.issues
    )
    return keys, msgspec.structs.replace(reservation, issues=issues), materials


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
    """An `engine.ports.Clock` on the event loop's time that may be wrong, and that oversleeps what only polls."""

    start_unix_s: int
    wrong_by_s: float = 0.0
    _polls: frozenset[float] = field(default=frozenset({1.0}))

    def now_unix_us(self) -> int:
        return int((self.start_unix_s + self.wrong_by_s + anyio.current_time()) * 1_000_000)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(POLL_PAUSE_S if seconds in self._polls else seconds)


@dataclass
class SlowDisk:
    """An `engine.ports.RunBlocking` that takes its time; a commit is whole or not at all."""

    pause_s: float = 0.0

    async def __call__(self, call: Callable[[], None]) -> None:
        if self.pause_s:
            await anyio.sleep(self.pause_s)
        call()
