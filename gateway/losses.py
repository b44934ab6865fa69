"""Losses in a log: every event that records one, with amount and reason."""

from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from engine.events import Event, UnknownEventError
from engine.fold import Machines
from engine.machine import State
from engine.storage.reader import LogReader
from engine.storage.search import find_kinds
from errors import FatalError
from gateway.log_fold import state_of
from statemachines import (
    completion,
    deposit,
    receive,
    receive_rules,
    send,
    transaction,
    wallet,
)

#: The events that can.
_EVENTS: tuple[type[Event], ...] = (
    send.SendClaimRejected,
    receive.ReceiveRefundLost,
    completion.CompletionRejected,
    wallet.NotesLost,
    transaction.TxCollected,
    deposit.DepositDropped,
)


class Loss(msgspec.Struct, frozen=True):
    """Money that is gone by this log; nothing of it goes on by itself."""

    position: int
    stream: str
    recorded_unix_s: int
    lost_msat: int
    why: str


def losses(log: LogReader, machines: Machines) -> Iterator[Loss]:
    """All of them in order, by one reading of the log; rows are taken as they stand."""
    # Nearly all collections of notes lose nothing: they are left out before they are decoded.
    for chained in find_kinds(log, [event.kind for event in _EVENTS], unless_zero="lost_msat"):
        row = chained.row
        before = partial(state_of, log, machines, row.stream, row.version)
        try:
            event = machines.codec.decode(row.event)
        except UnknownEventError:
            raise
        except FatalError:
            continue  # its stream is quarantined, and told of as such
        for lost_msat, why in _told(event, before):
            yield Loss(row.position, row.stream, row.recorded_unix_us // 1_000_000, lost_msat, why)


def _told(event: Event, before: Callable[[], State]) -> Iterator[tuple[int, str]]:
    """What an event says is lost, in msat, and why; `before` gives the state of its stream before it."""
    match event:
        case send.SendClaimRejected(error=error):
            claiming = before()
            assert isinstance(claiming, send.Claiming)
            why = f"paid, and the federation refuses the claim: {error}. Ask its guardians why"
            yield claiming.facts.contract_msat, f"{why}; the preimage is in this log"
        case receive.ReceiveRefundLost(reason=reason):
            refunding = before()
            assert isinstance(refunding, receive.Decrypting | receive.Refunding)
            what = "a contract without preimage stays unclaimed"
            if reason == receive_rules.GIVEN_UP:
                what = "a contract was funded, and its preimage is no longer asked for"
            why = f"{what}: {reason}"
            yield refunding.facts.contract_msat, why
        case completion.CompletionRejected(error=error):
            answering = before()
            if isinstance(answering, completion.Settling):
                why = f"the node did not accept the settlement: {error}. Check whether its channel was closed"
                yield answering.amount_msat, why
        case wallet.NotesLost(amount_msat=amount_msat):
            why = "the federation refuses these notes: somebody else spent them"
            yield amount_msat, f"{why}, perhaps a second gateway with this mnemonic"
        case transaction.TxCollected(lost_msat=lost_msat):
            yield lost_msat, "no threshold of guardians signed these notes validly: ask them"
        case deposit.DepositDropped(reason=reason):
            found = before()
            assert isinstance(found, deposit.Found)
            yield found.output.value_sat * 1_000, f"a deposit was given up: {reason}"
        case _:
            raise AssertionError(event)
