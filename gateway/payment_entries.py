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
from gateway import payment_payloads as tell
from gateway import payment_tables
from gateway.payment_events import EntryKind as Kind
from gateway.payment_events import Payload
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


def _send_begun(tables: PaymentTables, event: send.SendAccepted, _state: object) -> str:
    facts = event.facts
    tables.begin(
        facts.federation_id,
        is_outgoing=True,
        is_swap=facts.is_swap,
        fee_msat=facts.minimum_msat - facts.invoice_msat,
    )
    return facts.federation_id


def _begun(
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


def _ended(*, is_outgoing: bool, succeeded: bool) -> Follow:
    def follow(tables: PaymentTables, event: object, state: Any) -> str:
        tables.end(is_outgoing=is_outgoing, succeeded=succeeded)
        return _of_facts(tables, event, state)

    return follow


def _failed(tables: PaymentTables, event: object, state: Any) -> str | None:
    """Told once: a contract without preimage may also be lost later on."""
    is_first = tables.end(is_outgoing=False, succeeded=False)
    return _of_facts(tables, event, state) if is_first else None


def _completed(tables: PaymentTables, _event: object, _state: object) -> str | None:
    """HTLCs of a payment that was begun are answered, settled or not."""
    return tables.answered()


def _of_facts(_tables: object, _event: object, state: Any) -> str:
    federation_id: str = state.facts.federation_id
    return federation_id


def _of_deposit(
    _tables: object, _event: object, state: deposit.Claiming | deposit.Claimed | deposit.Found
) -> str:
    return state.federation_id


class _Entry(NamedTuple):
    """The entry that an event has: its kind, what the event does to its payment, and what is told of it."""

    kind: Kind
    follow: Follow
    tell: Callable[[Told, Any, Any], Payload]


_SENT = _ended(is_outgoing=True, succeeded=True)
_NOT_SENT = _ended(is_outgoing=True, succeeded=False)
_RECEIVED = _ended(is_outgoing=False, succeeded=True)

_ENTRIES: Mapping[type[Event], _Entry] = {
    send.SendAccepted: _Entry(Kind.OUTGOING_STARTED, _send_begun, tell.outgoing_started),
    send.SendPaid: _Entry(Kind.OUTGOING_SUCCEEDED, _SENT, tell.outgoing_succeeded),
    send.SendCancelling: _Entry(Kind.OUTGOING_FAILED, _NOT_SENT, tell.outgoing_failed),
    receive.ReceiveFundingSigned: _Entry(Kind.INCOMING_STARTED, _begun, tell.incoming_started),
    receive.ReceiveFoundFunded: _Entry(Kind.INCOMING_STARTED, _begun, tell.incoming_started),
    receive.ReceiveSucceeded: _Entry(Kind.INCOMING_SUCCEEDED, _RECEIVED, tell.incoming_succeeded),
    receive.ReceiveFundingFailed: _Entry(Kind.INCOMING_FAILED, _failed, tell.incoming_failed),
    receive.ReceiveRefunding: _Entry(Kind.INCOMING_FAILED, _failed, tell.incoming_failed),
    receive.ReceiveRefundLost: _Entry(Kind.INCOMING_FAILED, _failed, tell.incoming_failed),
    completion.CompletionSettled: _Entry(Kind.COMPLETED, _completed, tell.completed),
    completion.CompletionCancelled: _Entry(Kind.COMPLETED, _completed, tell.completed),
    gift.GiftGiven: _Entry(Kind.ECASH_SENT, _of_facts, tell.ecash_sent),
    reissue.ReissueRequested: _Entry(Kind.ECASH_RECEIVED, _of_facts, tell.ecash_received),
    reissue.ReissueDone: _Entry(Kind.ECASH_DECIDED, _of_facts, tell.ecash_decided),
    reissue.ReissueFailed: _Entry(Kind.ECASH_DECIDED, _of_facts, tell.ecash_decided),
    withdrawal.WithdrawalSigned: _Entry(Kind.COINS_SENT, _of_facts, tell.coins_sent),
    withdrawal.WithdrawalDone: _Entry(Kind.COINS_LEFT, _of_facts, tell.coins_left),
    withdrawal.WithdrawalFailed: _Entry(Kind.COINS_LEFT, _of_facts, tell.coins_left),
    deposit.DepositClaiming: _Entry(Kind.COINS_RECEIVED, _of_deposit, tell.coins_received),
    deposit.DepositClaimed: _Entry(Kind.COINS_CLAIMED, _of_deposit, tell.coins_claimed),
    deposit.DepositClaimRejected: _Entry(Kind.COINS_CLAIMED, _of_deposit, tell.coins_claimed),
}
