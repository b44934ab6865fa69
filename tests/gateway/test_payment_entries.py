"""Events become entries of upstream's log, field for field what a Rust gateway recorded."""

from collections.abc import Iterable
from typing import Any

import apsw
import msgspec
import pytest

from engine.chain import Row, StoredStep
from engine.events import Event
from engine.fold import Position
from engine.machine import State
from fedimint import lnv2
from fedimint.lnv2.json import CommitmentJson, IncomingContractJson, OutgoingContractJson
from gateway.log import machines
from gateway.payment_entries import PaymentEntries, payload_of
from gateway.payment_events import EntryKind
from gateway.payment_payloads import Known
from statemachines import (
    completion,
    deposit,
    deposits,
    gift,
    receive,
    reissue,
    send,
    withdrawal,
)
from statemachines.items import ForeignNote, HeldNote
from tests.api.recorded import exchanges

FEDERATION = "fe" * 32
HASH = "6b" * 32
RECEIVE, COMPLETION = receive.stream_of(HASH), completion.stream_of(HASH)
START_UNIX_US = 1_800_000_000_000_000
SCRIPT = bytes.fromhex("0020" + "5a" * 32)


class Log:
    """Rows folded one by one, an append each, a second apart."""

    def __init__(self) -> None:
        self.connection = apsw.Connection(":memory:")
        self.model = PaymentEntries()
        self.connection.execute(self.model.ddl)
        self.machines = machines()
        self.known: dict[str, Position] = {}
        self.steps: dict[int, StoredStep] = {}

    def happen(self, stream: str, *events: Event, unix_us: int | None = None) -> None:
        for event in events:
            before, position = self.known.get(stream), len(self.steps) + 1
            row = Row(
                position=position,
                append=position,
                stream=stream,
                version=1 if before is None else before.version + 1,
                event=self.machines.codec.encode(event),
                epoch=1,
                recorded_unix_us=unix_us or START_UNIX_US + position * 1_000_000,
            )
            step = self.steps[position] = self.machines.step(self.known, row)
            self.known[stream] = Position.after(step)
            self.model.fold(self.connection, [step])

    def entries(self) -> list[tuple[str, str, str, Any]]:
        """Federation, module, kind and payload as shown, in order."""
        known = Known("regtest", self._state_of)
        rows = self.connection.execute(
            "SELECT federation_id, position, kind FROM payment_entry "
            "JOIN payment_federation ON number = federation ORDER BY position"
        )
        kinds = {one.number: one for one in EntryKind}
        return [
            (
                federation_id.hex(),
                kinds[number].module,
                kinds[number].kind,
                msgspec.json.decode(msgspec.json.encode(payload_of(self.steps[position], known))),
            )
            for federation_id, position, number in msgspec.convert(
                list(rows), list[tuple[bytes, int, int]]
            )
        ]

    def _state_of(self, stream: str) -> State | None:
        return self.known[stream].state if stream in self.known else None

    def kinds(self) -> list[str]:
        return [kind for _, _, kind, _ in self.entries()]

    def payments(self) -> list[tuple[int, bool | None]]:
        """Fee and success of every payment in the order of their ends; None of what is under way."""
        over = self.connection.execute("SELECT fee_msat, succeeded FROM payment ORDER BY position")
        under_way = self.connection.execute(
            "SELECT fee_msat, NULL FROM payment_under_way WHERE NOT is_over"
        )
        return msgspec.convert([*over, *under_way], list[tuple[int, bool | None]], strict=False)

    def remembered(self) -> int:
        """Payments that a later event may still be about."""
        ((count,),) = self.connection.execute("SELECT count(*) FROM payment_under_way")
        return msgspec.convert(count, int)


# --- what a Rust gateway recorded --------------------------------------------------------------------------------


def recorded() -> list[dict[str, Any]]:
    """The lnv2 entries of a federation, oldest first."""
    entries: list[dict[str, Any]] = exchanges("/payment_log")[0]["response"]
    assert {entry["module"]["kind"] for entry in entries} == {"lnv2"}
    return entries[::-1]


def _image(entry: dict[str, Any]) -> str:
    payload = entry["payload"]
    subject = (
        payload.get("outgoing_contract") or payload.get("incoming_contract_commitment") or payload
    )
    image: str = subject["payment_image"]["Hash"]
    return image


def _replay(log: Log, entry: dict[str, Any]) -> None:
    """Let happen here what made the recorded entry there."""
    payload, image = entry["payload"], _image(entry)
    outgoing, incoming = f"send/{image}", receive.stream_of(image)
    match entry["kind"]:
        case "outgoing-payment-started":
            started = send.SendAccepted(facts=_send_facts(payload, image))
            log.happen(outgoing, started, unix_us=payload["operation_start"] * 1_000)
        case "outgoing-payment-succeeded":
            if payload["target_federation"] is not None:
                _receive_swap(log, incoming, payload["target_federation"], image)
            log.happen(outgoing, send.SendPaid(preimage="aa" * 32, routing_fee_msat=0))
        case "outgoing-payment-failed":
            ((reason, detail),) = payload["error"].items()
            log.happen(outgoing, send.SendCancelling(reason=reason, detail=detail))
        case "incoming-payment-started":
            facts = _receive_facts(payload, image)
            log.happen(incoming, *_registered(facts), receive.ReceiveFunding(payer=""))
            signed = receive.ReceiveFundingSigned(tx="tx/1", txid="11" * 32)
            log.happen(incoming, signed, unix_us=payload["operation_start"] * 1_000)
        case "incoming-payment-succeeded":
            log.happen(incoming, receive.ReceiveFunded(), _SUCCEEDED)
        case "complete-lightning-payment-succeeded":
            log.happen(completion.stream_of(image), _begun(image), _SETTLING, _SETTLED)
        case kind:
            pytest.fail(f"nothing here makes {kind}")


def _send_facts(payload: dict[str, Any], image: str) -> send.SendFacts:
    contract = msgspec.convert(payload["outgoing_contract"], OutgoingContractJson).decode()
    return send.SendFacts(
        federation_id=FEDERATION,
        contract_id=image,
        txid="11" * 32,
        out_idx=0,
        contract=lnv2.OUTGOING_CONTRACT.encode(contract).hex(),
        payment_hash=image,
        invoice="lnbcrt1",
        invoice_msat=payload["invoice_amount"],
        invoice_expires_unix_s=2_000_000_000,
        contract_msat=contract.amount_msat,
        minimum_msat=payload["min_contract_amount"],
        is_swap=payload["max_delay"] == 12,  # which is how the recorded one shows
        max_delay_blocks=payload["max_delay"],
    )


def _receive_facts(payload: dict[str, Any], image: str) -> receive.ReceiveFacts:
    (asked, *_) = exchanges("/create_bolt11_invoice")
    contract = msgspec.convert(asked["request"]["contract"], IncomingContractJson).decode()
    commitment = msgspec.convert(payload["incoming_contract_commitment"], CommitmentJson).decode()
    contract = msgspec.structs.replace(contract, commitment=commitment)
    return receive.ReceiveFacts(
        federation_id=FEDERATION,
        contract_id="cc" * 32,
        contract=lnv2.INCOMING_CONTRACT.encode(contract).hex(),
        payment_hash=image,
        invoice_msat=payload["invoice_amount"],
        contract_msat=commitment.amount_msat,
        contract_expires_unix_s=2_000_000_000,
        invoice_expires_unix_s=2_000_000_000,
        expiry_s=3_600,
        refund_worth_msat=1,
        description="",
    )


def _registered(facts: receive.ReceiveFacts) -> Iterable[Event]:
    registered = receive.ReceiveRegistered(facts=facts)
    return registered, receive.ReceiveInvoiced(invoice="lnbcrt1")


def _receive_swap(log: Log, stream: str, federation_id: str, image: str) -> None:
    facts = msgspec.structs.replace(FACTS, federation_id=federation_id, payment_hash=image)
    log.happen(
        stream,
        *_registered(facts),
        receive.ReceiveFunding(payer=f"send/{image}"),
        _SIGNED,
        receive.ReceiveFunded(),
        _SUCCEEDED,
    )


def _begun(image: str) -> completion.CompletionBegun:
    return completion.CompletionBegun(
        payment_hash=image, federation_id=FEDERATION, amount_msat=1_000_000
    )


_SIGNED = receive.ReceiveFundingSigned(tx="tx/1", txid="11" * 32)
_SUCCEEDED = receive.ReceiveSucceeded(preimage="aa" * 32)
_SETTLING = completion.CompletionSettling(preimage="aa" * 32)
_SETTLED = completion.CompletionSettled()
_CANCELLED = (completion.CompletionCancelling(), completion.CompletionCancelled())
_STARTED = next(one for one in recorded() if one["kind"] == "incoming-payment-started")
FACTS = msgspec.structs.replace(
    _receive_facts(_STARTED["payload"], HASH), invoice_msat=1_000_000, contract_msat=990_000
)


def test_payments_are_told_field_for_field_as_a_rust_gateway_told_them() -> None:
    log = Log()
    for entry in recorded():
        _replay(log, entry)
    ours = [entry for entry in log.entries() if entry[0] == FEDERATION]
    assert ours == [(FEDERATION, "lnv2", e["kind"], e["payload"]) for e in recorded()]


def test_a_payment_brings_what_it_is_paid_above_what_it_gives() -> None:
    log = Log()
    for entry in recorded():
        _replay(log, entry)
    started = [e["payload"] for e in recorded() if e["kind"] == "outgoing-payment-started"]
    assert len(started) == 4
    outgoing = msgspec.convert(
        list(log.connection.execute("SELECT fee_msat, succeeded FROM payment WHERE is_outgoing")),
        list[tuple[int, bool]],
        strict=False,
    )
    assert sorted(outgoing) == sorted(
        (one["min_contract_amount"] - one["invoice_amount"], one["invoice_amount"] < 10**10)
        for one in started
    )
    assert log.remembered() == 0


# --- how a send is cancelled -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minimum_msat", "invoice_msat", "column_msat"),
    [(2**64 - 1, 0, 2**63 - 1), (0, 2**64 - 1, -(2**63))],
)
def test_a_fee_that_fits_no_column_is_as_much_as_fits(
    minimum_msat: int, invoice_msat: int, column_msat: int
) -> None:
    """No request brings it about; an event that has it must not end the log."""
    log = Log()
    started = next(one for one in recorded() if one["kind"] == "outgoing-payment-started")
    facts = msgspec.structs.replace(
        _send_facts(started["payload"], HASH), minimum_msat=minimum_msat, invoice_msat=invoice_msat
    )
    log.happen(send.stream_of(facts.contract_id), send.SendAccepted(facts=facts))
    assert log.payments() == [(column_msat, None)]


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("InvoiceExpired", "InvoiceExpired"),
        ("Refunded", "Refunded"),
        ("RegistrationError", {"RegistrationError": "why"}),
        ("LightningRpcError", {"LightningRpcError": "why"}),
        ("WrongNetwork", {"LightningRpcError": "why"}),
    ],
)
def test_a_reason_reads_as_one_of_the_enum_that_clients_know(reason: str, error: object) -> None:
    log = Log()
    (started, *_) = [one for one in recorded() if one["kind"] == "outgoing-payment-started"]
    _replay(log, started)
    log.happen(f"send/{_image(started)}", send.SendCancelling(reason=reason, detail="why"))
    _, _, kind, payload = log.entries()[-1]
    assert (kind, payload["error"]) == ("outgoing-payment-failed", error)


# --- how a receive ends ------------------------------------------------------------------------------------------


def funding(log: Log, *, payer: str = "") -> None:
    log.happen(RECEIVE, *_registered(FACTS), receive.ReceiveFunding(payer=payer))
    log.happen(COMPLETION, _begun(HASH))


def funded(log: Log) -> None:
    funding(log)
    log.happen(RECEIVE, _SIGNED, receive.ReceiveFunded())


def test_what_was_declined_or_could_not_be_funded_was_never_begun() -> None:
    log = Log()
    log.happen(RECEIVE, *_registered(FACTS), receive.ReceiveDeclined(reason="too late"))
    log.happen(COMPLETION, _begun(HASH), *_CANCELLED)
    assert (log.entries(), log.payments()) == ([], [])
    log = Log()
    funding(log)
    log.happen(RECEIVE, receive.ReceiveFundingFailed(error="too little ecash"))
    log.happen(COMPLETION, *_CANCELLED)
    assert (log.entries(), log.payments()) == ([], [])


def test_a_funding_that_a_threshold_rejects_fails_the_payment() -> None:
    log = Log()
    funding(log)
    log.happen(RECEIVE, _SIGNED, receive.ReceiveFundingFailed(error="spent"))
    log.happen(COMPLETION, *_CANCELLED)
    assert log.kinds() == [
        "incoming-payment-started",
        "incoming-payment-failed",
        "complete-lightning-payment-succeeded",
    ]
    assert log.entries()[1][3] == {"payment_image": {"Hash": HASH}, "error": "spent"}
    assert log.payments() == [(10_000, False)]
    assert log.remembered() == 0


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ((receive.ReceiveRefunding(), receive.ReceiveRefunded(received_msat=1)), "no preimage"),
        ((receive.ReceiveRefunding(), receive.ReceiveRefundLost(reason="rejected")), "no preimage"),
        ((receive.ReceiveRefundLost(reason="not worth it"),), "not worth it"),
    ],
)
def test_a_contract_without_preimage_fails_once(events: tuple[Event, ...], error: str) -> None:
    log = Log()
    funded(log)
    log.happen(RECEIVE, *events)
    assert log.kinds() == ["incoming-payment-started", "incoming-payment-failed"]
    assert error in log.entries()[1][3]["error"]


def test_a_settlement_that_the_node_refuses_is_told_by_no_entry_and_forgotten() -> None:
    log = Log()
    funded(log)
    log.happen(RECEIVE, _SUCCEEDED)
    assert log.remembered() == 1
    log.happen(COMPLETION, _SETTLING, completion.CompletionRejected(error="cancelled"))
    assert log.kinds() == ["incoming-payment-started", "incoming-payment-succeeded"]
    assert log.remembered() == 0


def test_a_swap_answers_no_htlcs_and_names_its_federation() -> None:
    log = Log()
    funding(log, payer="send/x")
    log.happen(COMPLETION, *_CANCELLED)
    log.happen(RECEIVE, _SIGNED, receive.ReceiveFunded(), _SUCCEEDED)
    assert log.kinds() == ["incoming-payment-started", "incoming-payment-succeeded"]
    assert log.remembered() == 0


# --- ecash and coins ---------------------------------------------------------------------------------------------


def test_ecash_given_has_its_amount_and_not_its_text() -> None:
    log = Log()
    notes = (HeldNote(10, "aa", "bb", "cc"), HeldNote(11, "dd", "ee", "ff"))
    log.happen(
        "gift/1",
        gift.GiftRequested(facts=gift.GiftFacts("1", FEDERATION, 3_072)),
        gift.GiftGiven(notes=notes),
    )
    ((federation_id, module, kind, payload),) = log.entries()
    assert (federation_id, module, kind) == (FEDERATION, "mintv2", "payment-send")
    assert len(bytes.fromhex(payload.pop("operation_id"))) == 32
    assert payload == {"amount": 3_072, "ecash": ""}


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (reissue.ReissueDone(received_msat=1), "Success"),
        (reissue.ReissueFailed(error=""), "Rejected"),
    ],
)
def test_ecash_taken_is_told_with_its_end(end: Event, status: str) -> None:
    log = Log()
    facts = reissue.ReissueFacts("ab" * 32, FEDERATION, (ForeignNote(12, "nonce"),))
    log.happen("reissue/1", reissue.ReissueRequested(facts=facts), end)
    operation = {"operation_id": "ab" * 32}
    assert log.entries() == [
        (FEDERATION, "mintv2", "payment-receive", {**operation, "amount": 4_096}),
        (FEDERATION, "mintv2", "payment-receive-update", {**operation, "status": status}),
    ]


def test_ecash_that_was_never_sent_in_has_no_end() -> None:
    log = Log()
    facts = reissue.ReissueFacts("ab" * 32, FEDERATION, (ForeignNote(12, "nonce"),))
    log.happen("reissue/1", reissue.ReissueRequested(facts=facts), reissue.ReissueAbandoned())
    assert log.kinds() == ["payment-receive"]


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (
            (withdrawal.WithdrawalAccepted(), withdrawal.WithdrawalDone(bitcoin_txid="b7")),
            {"Success": "b7"},
        ),
        ((withdrawal.WithdrawalFailed(error="fee"),), "Aborted"),
    ],
)
def test_a_withdrawal_is_told_once_it_is_signed(end: tuple[Event, ...], status: object) -> None:
    log = Log()
    facts = withdrawal.WithdrawalFacts(FEDERATION, "bcrt1q", "0014", 50_000, 300)
    log.happen("withdrawal/1", withdrawal.WithdrawalRequested(facts=facts))
    assert log.entries() == []
    log.happen("withdrawal/1", withdrawal.WithdrawalSigned(txid="11" * 32), *end)
    (_, module, kind, sent), (_, _, update, ended) = log.entries()
    assert (module, kind, update) == ("walletv2", "payment-send", "payment-send-update")
    operation_id = sent.pop("operation_id")
    assert sent == {"address": "bcrt1q", "value": 50_000, "fee": 300}
    assert ended == {"operation_id": operation_id, "status": status}


def test_a_deposit_is_told_at_each_claim_with_the_address_that_was_paid() -> None:
    log = Log()
    log.happen(
        f"deposits/{FEDERATION}",
        deposits.DepositsWatched(federation_id=FEDERATION),
        deposits.DepositsAddressGround(address=deposits.DepositAddress(7, SCRIPT.hex())),
    )
    output = deposit.DepositOutput(3, 7, 100_000, f"{'d1' * 32}:1")
    log.happen(
        f"deposit/{FEDERATION}-3",
        deposit.DepositFound(federation_id=FEDERATION, output=output),
        deposit.DepositClaiming(fee_sat=400),
        deposit.DepositClaimRejected(error="fee"),
        deposit.DepositClaiming(fee_sat=500),
        deposit.DepositClaimed(received_msat=99_000_000),
    )
    assert log.kinds() == ["payment-receive", "payment-receive-update"] * 2
    first, aborted, second, succeeded = (payload for _, _, _, payload in log.entries())
    operation_id = first.pop("operation_id")
    address = first.pop("address")
    assert address.startswith("bcrt1q")
    assert first == {"value": 100_000, "fee": 400, "outpoint": f"{'d1' * 32}:1"}
    assert second == {**first, "fee": 500, "address": address, "operation_id": operation_id}
    assert aborted == {"operation_id": operation_id, "status": "Aborted"}
    assert succeeded == {"operation_id": operation_id, "status": "Success"}


def test_an_address_that_was_never_told_leaves_the_entry_without_one() -> None:
    log = Log()
    output = deposit.DepositOutput(3, 7, 100_000, f"{'d1' * 32}:1")
    log.happen(
        f"deposit/{FEDERATION}-3",
        deposit.DepositFound(federation_id=FEDERATION, output=output),
        deposit.DepositClaiming(fee_sat=400),
    )
    ((_, _, _, payload),) = log.entries()
    assert "address" not in payload
