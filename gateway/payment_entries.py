"""The payment log in upstream's form, folded from our events: kinds and payloads of fedimint-gwv2-client/src/events.rs.

An entry's id is the position of the event it is made of.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import apsw
import msgspec

from engine.read_model import Step
from fedimint import lnv2
from fedimint.lnv2_json import CommitmentJson, OutgoingContractJson
from statemachines import completion, receive, send

OUTGOING_STARTED: Final = "outgoing-payment-started"
OUTGOING_SUCCEEDED: Final = "outgoing-payment-succeeded"
OUTGOING_FAILED: Final = "outgoing-payment-failed"
INCOMING_STARTED: Final = "incoming-payment-started"
INCOMING_SUCCEEDED: Final = "incoming-payment-succeeded"
INCOMING_FAILED: Final = "incoming-payment-failed"
COMPLETED: Final = "complete-lightning-payment-succeeded"

#: Reasons that upstream's enum carries a text with (fedimint-gwv2-client/src/send_sm.rs); ours are told as the node's.
_WITH_TEXT: Final = {
    "RegistrationError": "RegistrationError",
    "LightningRpcError": "LightningRpcError",
    "WrongNetwork": "LightningRpcError",
}


class Entry(msgspec.Struct, frozen=True):
    """What one event adds: `fee_msat` is what we earn if the payment that begins here succeeds."""

    kind: str
    operation: str
    federation_id: str
    payload: Mapping[str, object]
    fee_msat: int = 0


class PaymentEntries:
    """The table behind `/payment_log` and `/payment_summary`."""

    name = "payment_entries"
    version = 1
    tables = ("payment_entry",)
    ddl = """
    CREATE TABLE payment_entry (
        position        INTEGER PRIMARY KEY,
        federation_id   TEXT    NOT NULL,
        kind            TEXT    NOT NULL,
        operation       TEXT    NOT NULL,
        unix_us         INTEGER NOT NULL,
        fee_msat        INTEGER NOT NULL,
        payload         BLOB    NOT NULL
    ) STRICT;
    CREATE INDEX payment_entry_by_federation ON payment_entry (federation_id, position);
    CREATE INDEX payment_entry_by_operation ON payment_entry (operation);
    """

    def fold(self, connection: apsw.Connection, steps: Sequence[Step]) -> None:
        """One row for each event that upstream tells of; most have none."""
        for step in steps:
            make = _ENTRIES.get(type(step.event))
            entry = make(connection, step) if make is not None else None
            if entry is not None:
                row = step.row
                connection.execute(
                    "INSERT INTO payment_entry VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        row.position,
                        entry.federation_id,
                        entry.kind,
                        entry.operation,
                        row.recorded_unix_us,
                        entry.fee_msat,
                        msgspec.json.encode(entry.payload),
                    ),
                )


# --- outgoing ------------------------------------------------------------------------------------------------------


def _send_accepted(_connection: apsw.Connection, step: Step) -> Entry:
    facts = _facts(step)
    contract = lnv2.OUTGOING_CONTRACT.decode(bytes.fromhex(facts.contract))
    payload = {
        "operation_start": step.row.recorded_unix_us // 1_000,
        "outgoing_contract": OutgoingContractJson.of(contract),
        "min_contract_amount": facts.minimum_msat,
        "invoice_amount": facts.invoice_msat,
        "max_delay": facts.max_delay_blocks,
    }
    fee_msat = facts.minimum_msat - facts.invoice_msat
    return Entry(OUTGOING_STARTED, step.row.stream, facts.federation_id, payload, fee_msat)


def _send_paid(connection: apsw.Connection, step: Step) -> Entry:
    """A direct swap names the receiver's federation, whose receive was recorded before."""
    facts = _facts(step)
    target = None
    if facts.is_swap:
        target = _started(connection, receive.stream_of(facts.payment_hash))
    payload = {"payment_image": _image(facts.payment_hash), "target_federation": target}
    return Entry(OUTGOING_SUCCEEDED, step.row.stream, facts.federation_id, payload)


def _send_cancelling(_connection: apsw.Connection, step: Step) -> Entry:
    facts, event = _facts(step), step.event
    assert isinstance(event, send.SendCancelling)
    with_text = _WITH_TEXT.get(event.reason)
    error: object = event.reason if with_text is None else {with_text: event.detail}
    payload = {"payment_image": _image(facts.payment_hash), "error": error}
    return Entry(OUTGOING_FAILED, step.row.stream, facts.federation_id, payload)


def _facts(step: Step) -> send.SendFacts:
    state: Any = step.state
    facts: send.SendFacts = state.facts
    return facts


# --- incoming ------------------------------------------------------------------------------------------------------


def _receive_funding(_connection: apsw.Connection, step: Step) -> Entry:
    facts = _receive_facts(step)
    contract = lnv2.INCOMING_CONTRACT.decode(bytes.fromhex(facts.contract))
    payload = {
        "operation_start": step.row.recorded_unix_us // 1_000,
        "incoming_contract_commitment": CommitmentJson.of(contract.commitment),
        "invoice_amount": facts.invoice_msat,
    }
    fee_msat = facts.invoice_msat - facts.contract_msat
    return Entry(INCOMING_STARTED, step.row.stream, facts.federation_id, payload, fee_msat)


def _receive_succeeded(_connection: apsw.Connection, step: Step) -> Entry:
    facts = _receive_facts(step)
    payload = {"payment_image": _image(facts.payment_hash)}
    return Entry(INCOMING_SUCCEEDED, step.row.stream, facts.federation_id, payload)


def _receive_failed(connection: apsw.Connection, step: Step) -> Entry | None:
    """Once: a contract that was found empty may be lost later on."""
    if _exists(connection, step.row.stream, INCOMING_FAILED):
        return None
    facts, event = _receive_facts(step), step.event
    match event:
        case receive.ReceiveFundingFailed(error=error):
            text = error
        case receive.ReceiveRefundLost(reason=reason):
            text = reason
        case _:
            text = "the contract holds no preimage"
    payload = {"payment_image": _image(facts.payment_hash), "error": text}
    return Entry(INCOMING_FAILED, step.row.stream, facts.federation_id, payload)


def _completed(connection: apsw.Connection, step: Step) -> Entry | None:
    """HTLCs of a payment that was begun; an invoice closed for a swap held none."""
    state = step.state
    assert isinstance(state, completion.Settled | completion.Cancelled)
    operation = receive.stream_of(state.payment_hash)
    federation_id = _started(connection, operation)
    if federation_id is None:
        return None
    if isinstance(state, completion.Cancelled) and not _exists(
        connection, operation, INCOMING_FAILED
    ):
        return None
    payload = {"payment_image": _image(state.payment_hash)}
    return Entry(COMPLETED, step.row.stream, federation_id, payload)


def _receive_facts(step: Step) -> receive.ReceiveFacts:
    state: Any = step.state
    facts: receive.ReceiveFacts = state.facts
    return facts


# --- tools ---------------------------------------------------------------------------------------------------------


def _image(payment_hash: str) -> Mapping[str, str]:
    return {"Hash": payment_hash}


def _started(connection: apsw.Connection, operation: str) -> str | None:
    """The federation in which this receive was begun."""
    found = connection.execute(
        "SELECT federation_id FROM payment_entry WHERE operation = ? AND kind = ?",
        (operation, INCOMING_STARTED),
    ).fetchone()
    return None if found is None else str(found[0])


def _exists(connection: apsw.Connection, operation: str, kind: str) -> bool:
    found = connection.execute(
        "SELECT 1 FROM payment_entry WHERE operation = ? AND kind = ?", (operation, kind)
    ).fetchone()
    return found is not None


_ENTRIES: Mapping[type, Callable[[apsw.Connection, Step], Entry | None]] = {
    send.SendAccepted: _send_accepted,
    send.SendPaid: _send_paid,
    send.SendCancelling: _send_cancelling,
    receive.ReceiveFunding: _receive_funding,
    receive.ReceiveSucceeded: _receive_succeeded,
    receive.ReceiveFundingFailed: _receive_failed,
    receive.ReceiveRefunding: _receive_failed,
    receive.ReceiveRefundLost: _receive_failed,
    completion.CompletionSettled: _completed,
    completion.CompletionCancelled: _completed,
}
