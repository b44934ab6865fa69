"""The payment log in upstream's form, folded from our events (`payment_events.py` has its words).

An entry's id is the position of the event it is made of. A payment over Lightning, or between two federations, has
besides its entries one row from its beginning to its end. What no entry was begun of has no end there either: a
receive that could not be funded, an invoice that was closed for a swap.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from engine.chain import StoredStep
from engine.events import Event
from engine.storage.read_model import Step
from engine.storage.tables import Tables
from gateway import payment_payloads as payloads
from gateway import payment_tables
from gateway.payment_events import EntryKind, Payload
from gateway.payment_payloads import Known, Told
from gateway.payment_tables import PaymentTables
from statemachines import completion, deposit, gift, receive, reissue, send, withdrawal

Follow = Callable[[PaymentTables, Any, Any], str | None]
"""What an event does to its payment, if it is of one: given the event and the state that it leads to.

Returns the federation whose log has the event's entry, None when there is none.
"""


class PaymentEntries:
    """The tables behind `/payment_log` and `/payment_summary`."""

    name = "payment_entries"
    version = 3
    tables = payment_tables.NAMES
    ddl = payment_tables.DDL

    def fold(self, connection: Tables, steps: Sequence[Step]) -> None:
        """Most events have no entry."""
        for step in steps:
            entry, tables = _ENTRIES.get(type(step.event)), PaymentTables(connection, step.row)
            if entry is not None:
                federation_id = entry.follow(tables, step.event, step.state)
                if federation_id is not None:
                    tables.enter(federation_id, entry.kind)
            elif isinstance(step.event, completion.CompletionRejected):
                tables.answered()  # which upstream does not tell


def payload_of(step: StoredStep, known: Known) -> Payload | None:
    """What the entry of an event says; None when this program can no longer read the event."""
    entry = _ENTRIES.get(type(step.event))
    return None if entry is None else entry.tell(Told(step.row, known), step.event, step.state)


def _send_accepted(tables: PaymentTables, event: send.SendAccepted, _state: object) -> str:
    facts = event.facts
    tables.begin(
        facts.federation_id,
        is_outgoing=True,
        is_swap=facts.is_swap,
        fee_msat=facts.minimum_msat - facts.invoice_msat,
    )
    return facts.federation_id


def _send_paid(tables: PaymentTables, _event: object, state: send.Paid) -> str:
    tables.end(is_outgoing=True, succeeded=True)
    return state.facts.federation_id


def _send_cancelling(tables: PaymentTables, _event: object, state: send.Cancelling) -> str:
    tables.end(is_outgoing=True, succeeded=False)
    return state.facts.federation_id


def _receive_begun(
    tables: PaymentTables, _event: object, state: receive.Funding | receive.Decrypting
) -> str:
    """As upstream, once the funding transaction is decided and not before: ecash may be too little for it."""
    facts = state.facts
    tables.begin(
        facts.federation_id,
        is_outgoing=False,
        is_swap=bool(state.payer),
        fee_msat=facts.invoice_msat - facts.contract_msat,
    )
    return facts.federation_id


def _receive_succeeded(tables: PaymentTables, _event: object, state: receive.Received) -> str:
    tables.end(is_outgoing=False, succeeded=True)
    return state.facts.federation_id


def _receive_failed(
    tables: PaymentTables,
    _event: object,
    state: receive.FundingFailed | receive.Refunding | receive.RefundLost,
) -> str | None:
    """Told once: a contract without preimage may also be lost later on."""
    is_first = tables.end(is_outgoing=False, succeeded=False)
    return state.facts.federation_id if is_first else None


def _completed(tables: PaymentTables, _event: object, _state: object) -> str | None:
    """HTLCs of a payment that was begun are answered, settled or not."""
    return tables.answered()


def _of_facts(
    _tables: object,
    _event: object,
    state: gift.Given
    | reissue.Reissuing
    | reissue.Reissued
    | reissue.ReissueRejected
    | withdrawal.Submitted
    | withdrawal.Withdrawn
    | withdrawal.WithdrawalRejected,
) -> str:
    return state.facts.federation_id


def _of_deposit(
    _tables: object, _event: object, state: deposit.Claiming | deposit.Claimed | deposit.Found
) -> str:
    return state.federation_id


class _EntryOf(NamedTuple):
    """The entry that an event has: its kind, what the event does to its payment, and what is told of it."""

    kind: EntryKind
    follow: Follow
    tell: Callable[[Told, Any, Any], Payload]


_OUTGOING_STARTED = _EntryOf(EntryKind.OUTGOING_STARTED, _send_accepted, payloads.outgoing_started)
_OUTGOING_SUCCEEDED = _EntryOf(
    EntryKind.OUTGOING_SUCCEEDED, _send_paid, payloads.outgoing_succeeded
)
_OUTGOING_FAILED = _EntryOf(EntryKind.OUTGOING_FAILED, _send_cancelling, payloads.outgoing_failed)
_INCOMING_STARTED = _EntryOf(EntryKind.INCOMING_STARTED, _receive_begun, payloads.incoming_started)
_INCOMING_SUCCEEDED = _EntryOf(
    EntryKind.INCOMING_SUCCEEDED, _receive_succeeded, payloads.incoming_succeeded
)
_INCOMING_FAILED = _EntryOf(EntryKind.INCOMING_FAILED, _receive_failed, payloads.incoming_failed)
_COMPLETED = _EntryOf(EntryKind.COMPLETED, _completed, payloads.completed)
_ECASH_SENT = _EntryOf(EntryKind.ECASH_SENT, _of_facts, payloads.ecash_sent)
_ECASH_RECEIVED = _EntryOf(EntryKind.ECASH_RECEIVED, _of_facts, payloads.ecash_received)
_ECASH_DECIDED = _EntryOf(EntryKind.ECASH_DECIDED, _of_facts, payloads.ecash_decided)
_COINS_SENT = _EntryOf(EntryKind.COINS_SENT, _of_facts, payloads.coins_sent)
_COINS_LEFT = _EntryOf(EntryKind.COINS_LEFT, _of_facts, payloads.coins_left)
_COINS_RECEIVED = _EntryOf(EntryKind.COINS_RECEIVED, _of_deposit, payloads.coins_received)
_COINS_CLAIMED = _EntryOf(EntryKind.COINS_CLAIMED, _of_deposit, payloads.coins_claimed)

_ENTRIES: Mapping[type[Event], _EntryOf] = {
    send.SendAccepted: _OUTGOING_STARTED,
    send.SendPaid: _OUTGOING_SUCCEEDED,
    send.SendCancelling: _OUTGOING_FAILED,
    receive.ReceiveFundingSigned: _INCOMING_STARTED,
    receive.ReceiveFoundFunded: _INCOMING_STARTED,
    receive.ReceiveSucceeded: _INCOMING_SUCCEEDED,
    receive.ReceiveFundingFailed: _INCOMING_FAILED,
    receive.ReceiveRefunding: _INCOMING_FAILED,
    receive.ReceiveRefundLost: _INCOMING_FAILED,
    completion.CompletionSettled: _COMPLETED,
    completion.CompletionCancelled: _COMPLETED,
    gift.GiftGiven: _ECASH_SENT,
    reissue.ReissueRequested: _ECASH_RECEIVED,
    reissue.ReissueDone: _ECASH_DECIDED,
    reissue.ReissueFailed: _ECASH_DECIDED,
    withdrawal.WithdrawalSigned: _COINS_SENT,
    withdrawal.WithdrawalDone: _COINS_LEFT,
    withdrawal.WithdrawalFailed: _COINS_LEFT,
    deposit.DepositClaiming: _COINS_RECEIVED,
    deposit.DepositClaimed: _COINS_CLAIMED,
    deposit.DepositClaimRejected: _COINS_CLAIMED,
}
