"""Asks the Lightning node whether this log is the newest of its gateway.

Files can be brought back: a snapshot of a disk or a machine, a directory written back in place. What the node was asked
to pay meanwhile it has on record. So each start asks it for the payments that were begun after the log's newest event;
when there is one that the log does not know, the log is taken for a backup and frozen as `gatewayd log restore` would
freeze it. Freezing is safe in any case and ends by itself once node and federations were asked, so one payment too many
that somebody else made with the node costs a pause and no money; for a shared node the operator switches this off.

Until the node has told, nothing leaves that rests on it: no call, no invoice, and no contract that HTLCs or a swap pay
for. Nor is anything decided about these (`gateway/conditions.py`): a copy would cancel HTLCs of contracts that lost
events have funded, and what was measured would be old by then.
"""

from collections.abc import Mapping

import msgspec
import structlog

from backends.operations import NodeTransaction
from engine.effects import EffectContext, Handler
from engine.machine import Effect, Input
from engine.quarantine import QuarantinedError
from engine.storage import streams
from engine.storage.store import Store
from gateway import restoring
from gateway.containing import contain
from gateway.context import GatewayContext
from gateway.freeze import Word
from statemachines import identity, image
from statemachines.items import FundedContract
from statemachines.transaction import BuildTransaction

#: Before a node that did not answer is asked again.
PAUSE_S = 10.0
#: The clocks of node and gateway differ by less (docs/money.md, "What these promises rest on").
CLOCKS_DIFFER_S = 60
#: Payments that are named.
NAMED_MAX = 3

_log = structlog.get_logger("restore")


class Opened(msgspec.Struct, frozen=True):
    """Where the log ended when it was opened: position, and when its first and its newest event were written."""

    position: int
    founded_unix_s: int
    newest_unix_s: int

    @classmethod
    def of(cls, store: Store) -> "Opened | None":
        """None for a log without events."""
        founded_unix_us = streams.recorded_unix_us(store, 1)
        newest_unix_us = streams.recorded_unix_us(store, store.head.position)
        if founded_unix_us is None or newest_unix_us is None:
            return None
        return cls(store.head.position, founded_unix_us // 1_000_000, newest_unix_us // 1_000_000)


def until_heard(
    handlers: Mapping[type[Effect], Handler], word: Word
) -> Mapping[type[Effect], Handler]:
    """The handlers; those of effects that rest on the node wait for its word first."""

    def waiting(handler: Handler) -> Handler:
        async def handle(effect: Effect, context: EffectContext) -> Input | None:
            if rests_on_node(effect):
                await word.heard()
            return await handler(effect, context)

        return handle

    return {effect: waiting(handler) for effect, handler in handlers.items()}


def rests_on_node(effect: Effect) -> bool:
    """Whether a copy of a log would do it twice. Notes that are spent already no federation takes again."""
    if isinstance(effect, BuildTransaction):
        return any(isinstance(output, FundedContract) for output in effect.reservation.outputs)
    return effect.may_pay_twice


async def ask_witness(context: GatewayContext, opened: Opened | None) -> None:
    """Ask until the node answers, and freeze the log when it says that the log is not the newest."""
    is_frozen = context.restoration is not None and context.restoration.is_frozen
    if opened is not None and not is_frozen and not context.settings.node_is_shared:
        unknown = await _unknown_payments(context, opened)
        if unknown:
            await _freeze(context, opened, unknown)
    context.word.give()


async def _unknown_payments(context: GatewayContext, opened: Opened) -> list[NodeTransaction]:
    """Those that count: begun after the log's end, not judged before, and of no operation of the log."""
    founded = context.engine.peek(identity.STREAM)
    judged_unix_s = founded.judged_unix_s if isinstance(founded, identity.Founded) else 0
    # What was begun in the second of the log's founding is an older log's, which was lost.
    since_unix_s = max(opened.newest_unix_s - CLOCKS_DIFFER_S, opened.founded_unix_s + 1)
    since_unix_s = max(since_unix_s, judged_unix_s + 1)
    while True:
        try:
            payments = await context.outside.node.payments_since(since_unix_s)
            return [one for one in payments if not is_known(context, one)]
        except Exception as error:  # noqa: BLE001 (whatever the node answers, it is asked again)
            contain(_log, "node_not_heard", error)
        await context.outside.ports.clock.sleep(PAUSE_S)


def is_known(context: GatewayContext, payment: NodeTransaction) -> bool:
    """Whether an operation of this log has the hash."""
    assert payment.payment_hash is not None
    try:
        owner = context.engine.peek(image.stream_of(payment.payment_hash.hex()))
    except QuarantinedError:
        return True
    return isinstance(owner, image.Claimed)


async def _freeze(context: GatewayContext, opened: Opened, unknown: list[NodeTransaction]) -> None:
    hashes = [one.payment_hash.hex() for one in unknown if one.payment_hash is not None]
    evidence = (
        f"the Lightning node began {len(hashes)} payments after the log's newest event that the log does not know "
        f"(such as {', '.join(hashes[:NAMED_MAX])}): it is not the newest, or somebody else pays with this node"
    )
    _log.error("log_is_not_the_newest", evidence=evidence)
    restore = restoring.restoration_of(
        context.engine,
        position=opened.position,
        backup_unix_s=opened.newest_unix_s,
        now_unix_s=context.now_unix_s(),
        evidence=evidence,
        judged_unix_s=max(one.unix_s for one in unknown),
    )
    await context.engine.submit(identity.STREAM, restore)
