"""The payment log in upstream's form, folded from our events (`payment_events.py` has its words).

An entry's id is the position of the event it is made of. A payment over Lightning, or between two federations, has
besides its entries one row from its beginning to its end. What no entry was begun of has no end there either: a
receive that could not be funded, an invoice that was closed for a swap.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import msgspec

from engine.chain import Row
from engine.events import Event
from engine.read_model import Step
from fedimint import lnv2, mintv2, walletv2
from gateway import payment_events as upstream
from statemachines import completion, deposit, deposits, gift, receive, reissue, send, withdrawal

#: What a column of SQLite holds. What is decoded is smaller; a number that is not must nevertheless not end the log.
_COLUMN_MIN, _COLUMN_MAX = -(1 << 63), (1 << 63) - 1


class PaymentEntries:
    """The tables behind `/payment_log` and `/payment_summary`.

    `subject` is the contract or the script that an entry is about, in bytes: it is read when somebody looks at it.
    The indices hold all that a filter or a sum reads, since a year's payments are summed while others are paid.
    """

    name = "payment_entries"
    version = 2
    tables = ("payment_entry", "payment", "deposit_address")
    ddl = """
    CREATE TABLE payment_entry (
        position        INTEGER PRIMARY KEY,
        federation_id   TEXT    NOT NULL,
        kind            TEXT    NOT NULL,
        module          TEXT    NOT NULL,
        unix_us         INTEGER NOT NULL,
        payload         BLOB    NOT NULL,
        subject         BLOB
    ) STRICT;
    CREATE INDEX payment_entry_by_federation ON payment_entry (federation_id, position, kind);
    CREATE TABLE payment (
        stream          TEXT    PRIMARY KEY,
        federation_id   TEXT    NOT NULL,
        is_outgoing     INTEGER NOT NULL,
        is_swap         INTEGER NOT NULL,
        fee_msat        INTEGER NOT NULL,
        began_unix_us   INTEGER NOT NULL,
        ended_unix_us   INTEGER,
        succeeded       INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX payment_by_beginning
        ON payment (began_unix_us, is_outgoing, ended_unix_us, succeeded, fee_msat);
    CREATE TABLE deposit_address (
        federation_id   TEXT    NOT NULL,
        address_index   INTEGER NOT NULL,
        script          BLOB    NOT NULL,
        PRIMARY KEY (federation_id, address_index)
    ) STRICT, WITHOUT ROWID;
    """

    def fold(self, connection: apsw.Connection, steps: Sequence[Step]) -> None:
        """Most events have no entry."""
        for step in steps:
            write = _WRITERS.get(type(step.event))
            if write is not None:
                write(_Tables(connection, step.row), step.event, step.state)


@dataclass(frozen=True, slots=True)
class _Tables:
    """The tables, at the row of one event."""

    connection: apsw.Connection
    row: Row

    @property
    def operation_id(self) -> str:
        """An id like upstream's random ones, of the stream."""
        return hashlib.sha256(self.row.stream.encode()).hexdigest()

    @property
    def unix_ms(self) -> int:
        return self.row.recorded_unix_us // 1_000

    def enter(
        self,
        federation_id: str,
        module: str,
        kind: str,
        payload: upstream.Payload,
        subject: bytes | None = None,
    ) -> None:
        """Add the event's entry."""
        row, encoded = self.row, msgspec.json.encode(payload)
        self.connection.execute(
            "INSERT INTO payment_entry VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row.position, federation_id, kind, module, row.recorded_unix_us, encoded, subject),
        )

    def begin(self, federation_id: str, *, is_outgoing: bool, is_swap: bool, fee_msat: int) -> None:
        """A payment begins; it brings us `fee_msat` if it succeeds."""
        row, fee = self.row, min(max(fee_msat, _COLUMN_MIN), _COLUMN_MAX)
        self.connection.execute(
            "INSERT INTO payment VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)",
            (row.stream, federation_id, is_outgoing, is_swap, fee, row.recorded_unix_us),
        )

    def end(self, *, succeeded: bool) -> bool:
        """The payment is over; False when it never began, or was over before."""
        self.connection.execute(
            "UPDATE payment SET ended_unix_us = ?, succeeded = ? "
            "WHERE stream = ? AND ended_unix_us IS NULL",
            (self.row.recorded_unix_us, succeeded, self.row.stream),
        )
        return bool(self.connection.changes())

    def receiving_federation(self, payment_hash: str, *, is_swap: bool) -> str | None:
        """Where this hash was received, by a swap or by HTLCs."""
        found = self.connection.execute(
            "SELECT federation_id FROM payment WHERE stream = ? AND is_swap = ?",
            (receive.stream_of(payment_hash), is_swap),
        ).fetchone()
        return None if found is None else str(found[0])

    def script(self, federation_id: str, address_index: int) -> bytes | None:
        """The script of a deposit address."""
        found = self.connection.execute(
            "SELECT script FROM deposit_address WHERE federation_id = ? AND address_index = ?",
            (federation_id, address_index),
        ).fetchone()
        return found[0] if found is not None and isinstance(found[0], bytes) else None


# --- outgoing ------------------------------------------------------------------------------------------------------


def _send_accepted(tables: _Tables, event: send.SendAccepted, _state: object) -> None:
    facts = event.facts
    tables.begin(
        facts.federation_id,
        is_outgoing=True,
        is_swap=facts.is_swap,
        fee_msat=facts.minimum_msat - facts.invoice_msat,
    )
    started = upstream.OutgoingStarted(
        operation_start=tables.unix_ms,
        min_contract_amount=facts.minimum_msat,
        invoice_amount=facts.invoice_msat,
        max_delay=facts.max_delay_blocks,
    )
    contract = bytes.fromhex(facts.contract)
    tables.enter(facts.federation_id, lnv2.KIND, upstream.OUTGOING_STARTED, started, contract)


def _send_paid(tables: _Tables, _event: object, state: send.Paid) -> None:
    """A direct swap names the receiver's federation, whose receive was recorded before."""
    facts, target = state.facts, None
    tables.end(succeeded=True)
    if facts.is_swap:
        target = tables.receiving_federation(facts.payment_hash, is_swap=True)
    succeeded = upstream.OutgoingSucceeded(upstream.image_of(facts.payment_hash), target)
    tables.enter(facts.federation_id, lnv2.KIND, upstream.OUTGOING_SUCCEEDED, succeeded)


def _send_cancelling(tables: _Tables, event: send.SendCancelling, state: send.Cancelling) -> None:
    facts = state.facts
    tables.end(succeeded=False)
    error = upstream.cancellation(event.reason, event.detail)
    failed = upstream.OutgoingFailed(upstream.image_of(facts.payment_hash), error)
    tables.enter(facts.federation_id, lnv2.KIND, upstream.OUTGOING_FAILED, failed)


# --- incoming ------------------------------------------------------------------------------------------------------


def _receive_funding_signed(
    tables: _Tables, _event: object, state: receive.Funding | receive.Decrypting
) -> None:
    """As upstream, once the funding transaction is decided and not before: ecash may be too little for it."""
    facts = state.facts
    tables.begin(
        facts.federation_id,
        is_outgoing=False,
        is_swap=bool(state.payer),
        fee_msat=facts.invoice_msat - facts.contract_msat,
    )
    started = upstream.IncomingStarted(tables.unix_ms, facts.invoice_msat)
    contract = bytes.fromhex(facts.contract)
    tables.enter(facts.federation_id, lnv2.KIND, upstream.INCOMING_STARTED, started, contract)


def _receive_succeeded(tables: _Tables, _event: object, state: receive.Received) -> None:
    facts = state.facts
    tables.end(succeeded=True)
    image = upstream.Imaged(upstream.image_of(facts.payment_hash))
    tables.enter(facts.federation_id, lnv2.KIND, upstream.INCOMING_SUCCEEDED, image)


def _funding_failed(
    tables: _Tables, event: receive.ReceiveFundingFailed, state: receive.FundingFailed
) -> None:
    _receive_failed(tables, state.facts, event.error)


def _refunding(tables: _Tables, _event: object, state: receive.Refunding) -> None:
    _receive_failed(tables, state.facts, "the contract holds no preimage")


def _refund_lost(
    tables: _Tables, event: receive.ReceiveRefundLost, state: receive.RefundLost
) -> None:
    _receive_failed(tables, state.facts, event.reason)


def _receive_failed(tables: _Tables, facts: receive.ReceiveFacts, error: str) -> None:
    """Told once: a contract without preimage may also be lost later on."""
    if tables.end(succeeded=False):
        failed = upstream.IncomingFailed(upstream.image_of(facts.payment_hash), error)
        tables.enter(facts.federation_id, lnv2.KIND, upstream.INCOMING_FAILED, failed)


def _completed(
    tables: _Tables, _event: object, state: completion.Settled | completion.Cancelled
) -> None:
    """HTLCs of a payment that was begun are answered, settled or not."""
    federation_id = tables.receiving_federation(state.payment_hash, is_swap=False)
    if federation_id is not None:
        image = upstream.Imaged(upstream.image_of(state.payment_hash))
        tables.enter(federation_id, lnv2.KIND, upstream.COMPLETED, image)


# --- ecash ---------------------------------------------------------------------------------------------------------


def _gift_given(tables: _Tables, event: gift.GiftGiven, state: gift.Given) -> None:
    amount_msat = sum(note.amount_msat for note in event.notes)
    sent = upstream.EcashSent(tables.operation_id, amount_msat)
    tables.enter(state.facts.federation_id, mintv2.KIND, upstream.SEND, sent)


def _reissue_requested(tables: _Tables, event: reissue.ReissueRequested, _state: object) -> None:
    facts = event.facts
    received = upstream.EcashReceived(facts.id, facts.amount_msat)
    tables.enter(facts.federation_id, mintv2.KIND, upstream.RECEIVE, received)


def _reissue_ended(
    tables: _Tables, _event: object, state: reissue.Reissued | reissue.ReissueRejected
) -> None:
    status = "Success" if isinstance(state, reissue.Reissued) else "Rejected"
    updated = upstream.Updated(state.facts.id, status)
    tables.enter(state.facts.federation_id, mintv2.KIND, upstream.RECEIVE_UPDATE, updated)


# --- coins ---------------------------------------------------------------------------------------------------------


def _withdrawal_signed(tables: _Tables, _event: object, state: withdrawal.Submitted) -> None:
    facts = state.facts
    sent = upstream.CoinsSent(tables.operation_id, facts.address, facts.value_sat, facts.fee_sat)
    tables.enter(facts.federation_id, walletv2.KIND, upstream.SEND, sent)


def _withdrawal_done(
    tables: _Tables, event: withdrawal.WithdrawalDone, state: withdrawal.Withdrawn
) -> None:
    _withdrawal_ended(tables, state.facts, {"Success": event.bitcoin_txid})


def _withdrawal_failed(
    tables: _Tables, _event: object, state: withdrawal.WithdrawalRejected
) -> None:
    _withdrawal_ended(tables, state.facts, "Aborted")


def _withdrawal_ended(
    tables: _Tables, facts: withdrawal.WithdrawalFacts, status: str | dict[str, str]
) -> None:
    updated = upstream.Updated(tables.operation_id, status)
    tables.enter(facts.federation_id, walletv2.KIND, upstream.SEND_UPDATE, updated)


def _address_ground(
    tables: _Tables, event: deposits.DepositsAddressGround, state: deposits.Watching
) -> None:
    script = bytes.fromhex(event.address.script)
    tables.connection.execute(
        "INSERT INTO deposit_address VALUES (?, ?, ?)",
        (state.federation_id, event.address.index, script),
    )


def _deposit_claiming(
    tables: _Tables, event: deposit.DepositClaiming, state: deposit.Claiming
) -> None:
    output = state.output
    received = upstream.CoinsReceived(
        tables.operation_id, output.value_sat, event.fee_sat, output.out_point
    )
    script = tables.script(state.federation_id, output.address_index)
    tables.enter(state.federation_id, walletv2.KIND, upstream.RECEIVE, received, script)


def _deposit_ended(tables: _Tables, _event: object, state: deposit.Claimed | deposit.Found) -> None:
    """A claim that is rejected is made again, with an entry of its own."""
    status = "Success" if isinstance(state, deposit.Claimed) else "Aborted"
    updated = upstream.Updated(tables.operation_id, status)
    tables.enter(state.federation_id, walletv2.KIND, upstream.RECEIVE_UPDATE, updated)


#: The state is the one that the event leads to.
_WRITERS: Mapping[type[Event], Callable[[_Tables, Any, Any], None]] = {
    send.SendAccepted: _send_accepted,
    send.SendPaid: _send_paid,
    send.SendCancelling: _send_cancelling,
    receive.ReceiveFundingSigned: _receive_funding_signed,
    receive.ReceiveFoundFunded: _receive_funding_signed,
    receive.ReceiveSucceeded: _receive_succeeded,
    receive.ReceiveFundingFailed: _funding_failed,
    receive.ReceiveRefunding: _refunding,
    receive.ReceiveRefundLost: _refund_lost,
    completion.CompletionSettled: _completed,
    completion.CompletionCancelled: _completed,
    gift.GiftGiven: _gift_given,
    reissue.ReissueRequested: _reissue_requested,
    reissue.ReissueDone: _reissue_ended,
    reissue.ReissueFailed: _reissue_ended,
    withdrawal.WithdrawalSigned: _withdrawal_signed,
    withdrawal.WithdrawalDone: _withdrawal_done,
    withdrawal.WithdrawalFailed: _withdrawal_failed,
    deposits.DepositsAddressGround: _address_ground,
    deposit.DepositClaiming: _deposit_claiming,
    deposit.DepositClaimed: _deposit_ended,
    deposit.DepositClaimRejected: _deposit_ended,
}
