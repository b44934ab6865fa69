"""Takes LDK's events one by one: each is durable in the ledger before it is acknowledged. Ends when the node is broken.

LDK tells events again after a crash, and some at every start: each is taken as often as it comes. One that was
acknowledged is never told again, and nothing else shows a held payment.
"""

import time
from collections.abc import Callable
from functools import partial

import anyio
import anyio.to_thread
from fedimint_gateway_native import NativeError
from fedimint_gateway_native.ldk import Event, LdkError, Node, broken

from backends.ldk.core import ChannelEnd, Core
from backends.ldk.ledger import Ledger
from errors import FatalError

#: Hears of what LDK logs: whether it is an error, where in its sources, and the text.
Log = Callable[[bool, str, str], None]

_WAIT_MS = 500
_PAUSE_AFTER_FAILURE_S = 1.0
STALL_S = 60.0
"""After so long without a sign of life the process ends: LDK's parts can hang or die without each other's notice."""


async def pump(core: Core, log: Log) -> None:
    """Take events for ever. Raises FatalError when the node can no longer be relied on."""
    limiter = anyio.CapacityLimiter(1)
    while True:
        core.last_beat_s = time.monotonic()
        # Left behind in its thread when this is cancelled: it takes nothing that would not be told again.
        has_event = await anyio.to_thread.run_sync(
            partial(_take, core), abandon_on_cancel=True, limiter=limiter
        )
        for line in core.native.take_logs():
            log(*line)
        if (panic := broken()) is not None:
            raise FatalError(f"the Lightning node inside broke ({panic}): start again")
        if has_event:
            core.tell()


async def watch(core: Core) -> None:
    """Raise FatalError when the pump has stopped."""
    while True:
        await anyio.sleep(STALL_S / 4)
        if time.monotonic() - core.last_beat_s > STALL_S:
            raise FatalError(
                f"the Lightning node inside has told nothing for {STALL_S:.0f} seconds: start again"
            )


def _take(core: Core) -> bool:
    """Take the next event, if there is one."""
    try:
        event = core.native.next_event(_WAIT_MS)
        if event is None:
            return False
        note(core.native, core.ledger, event)
        if event.user_channel_id is not None:
            end = ChannelEnd(event.funding_txid, event.reason)
            core.note_channel(event.user_channel_id, end)
        core.native.event_handled()
    except LdkError:
        # The event stays and is told again; LDK has logged why.
        time.sleep(_PAUSE_AFTER_FAILURE_S)
        return False
    except NativeError as error:
        raise FatalError(f"the Lightning node inside broke ({error}): start again") from error
    return True


def note(native: Node, ledger: Ledger, event: Event) -> None:
    """Make durable what follows from an event; again changes nothing."""
    if event.payment_hash is None:
        return
    match event.kind:
        case "claimable":
            state = ledger.hold(
                event.payment_hash, event.amount_msat or 0, event.deadline_height or 0
            )
            if state == "cancelled":
                native.fail(event.payment_hash)
        case "received":
            ledger.note_settled(event.payment_hash)
        case "paid":
            ledger.end_call(event.payment_hash, event.preimage, event.fee_msat)
        case "failed":
            ledger.end_call(event.payment_hash, None, None)
        case _:
            pass
