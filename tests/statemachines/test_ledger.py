"""The books: every event is booked or named as moving nothing, and an audit finds errors."""

from typing import Any, ClassVar, cast

import msgspec
import pytest

from engine.events import Event
from engine.machine import Input, State
from errors import FatalError
from fuzz.machines.scene import (
    FEDERATION,
    MACHINES,
    NODE,
    PREIMAGE,
    WALLET,
    Scene,
    facts,
    note,
    opened,
    request,
    step,
)
from statemachines import accounts, completion, ledger, send, transaction
from statemachines.bookings import BOOKINGS, MOVES_NOTHING
from statemachines.completion import Cancel, CompletionRejected, Settle
from statemachines.items import SignedTransaction
from statemachines.ledger import Ledger, Posting, audit, postings
from statemachines.send import BudgetMeasured, PaymentSucceeded
from statemachines.transaction import (
    Built,
    NotesCollected,
    Reserved,
    SubmissionAccepted,
    SubmissionRejected,
    TxReserved,
    stream_of,
)
from statemachines.wallet import WalletCredited

ECASH, TRANSIT = accounts.ecash(FEDERATION), accounts.transit(FEDERATION)
CONTRACTS = accounts.contracts(FEDERATION)
STREAM = send.stream_of(facts().contract_id)
TX = stream_of(FEDERATION, 1)


def paid() -> Scene:
    scene = opened()
    scene.deliver(STREAM, request())
    scene.deliver(STREAM, BudgetMeasured(node=NODE, remaining_blocks=500, now_unix_s=1))
    scene.deliver(STREAM, PaymentSucceeded(preimage=PREIMAGE, routing_fee_msat=1_234))
    return scene


def claimed(lost_msat: int = 0) -> Scene:
    scene = paid()
    state = scene.state(TX)
    assert isinstance(state, Reserved)
    issues = state.reservation.issues
    scene.deliver(TX, Built(signed=SignedTransaction("77", b"bytes", issues), now_unix_s=5_000))
    scene.deliver(TX, SubmissionAccepted())
    notes = [note(f"t{n}", issue.denomination) for n, issue in enumerate(issues)]
    while sum(1 << issue.denomination for issue in issues) - lost_msat < sum(
        each.amount_msat for each in notes
    ):
        notes.pop(0)
    scene.deliver(TX, NotesCollected(notes=tuple(notes), lost_msat=lost_msat))
    return scene


def test_every_event_is_booked_or_named_as_moving_nothing() -> None:
    events = {event for machine in MACHINES for event in machine.events}
    assert events >= MOVES_NOTHING
    assert set(BOOKINGS) == events - MOVES_NOTHING


def test_an_event_that_nobody_told_the_ledger_of_is_fatal() -> None:
    class Invented(Event, frozen=True):
        kind: ClassVar[str] = "test.invented"

    with pytest.raises(FatalError, match=r"test\.invented"):
        postings(send.New(), Invented())


def test_a_payment_turns_what_the_node_paid_into_a_contract_and_a_fee() -> None:
    event = send.SendPaid(preimage=PREIMAGE, routing_fee_msat=1_234)
    assert postings(send.Accepted(facts=facts()), event) == (
        Posting("node", -1_001_234),
        Posting(CONTRACTS, 1_100_000),
        Posting("fees_earned", -100_000),
        Posting("routing_fees", 1_234),
    )
    assert paid().audit().balances == {
        CONTRACTS: 1_100_000,
        "fees_earned": -100_000,
        "node": -1_001_234,
        "routing_fees": 1_234,
    }


def test_a_claim_becomes_ecash_less_what_the_federation_takes() -> None:
    report = claimed().audit()
    assert report.is_sound
    balances = report.balances
    assert CONTRACTS not in balances
    assert TRANSIT not in balances
    assert balances[ECASH] + balances["federation_fees"] + balances.get("dust", 0) == 1_100_000
    assert sum(balances.values()) == 0


def test_notes_that_no_threshold_signed_are_on_the_books_as_lost() -> None:
    report = claimed(lost_msat=512).audit()
    assert report.is_sound
    assert report.balances["lost"] == 512


def test_a_rejected_claim_is_a_loss_of_the_contract() -> None:
    scene = paid()
    signed = SignedTransaction("77", b"bytes", scene.reservation(TX).issues)
    scene.deliver(TX, Built(signed=signed, now_unix_s=5_000))
    assert scene.audit().balances[TRANSIT] == 1_100_000
    scene.deliver(TX, SubmissionRejected(error="gone"))
    report = scene.audit()
    assert report.is_sound
    assert report.balances["lost"] == 1_100_000
    assert CONTRACTS not in report.balances


@pytest.mark.parametrize(
    ("answered", "lost_msat"),
    [(Settle(preimage=PREIMAGE), 1_000_000), (Cancel(), 0)],
    ids=["settling", "cancelling"],
)
def test_only_a_settlement_that_the_node_contradicts_is_a_loss(
    answered: Input, lost_msat: int
) -> None:
    held: State = completion.Waiting(
        payment_hash="ab", federation_id=FEDERATION, amount_msat=1_000_000
    )
    answering, _, _ = step(completion.MACHINE, held, answered)
    refused = CompletionRejected(error="it was cancelled by hand")
    lines = postings(answering, refused)
    htlcs = accounts.htlcs(FEDERATION)
    expected = (Posting(htlcs, -lost_msat), Posting("lost", lost_msat))
    assert lines == (expected if lost_msat else ())


def test_an_audit_sees_notes_out_of_nowhere() -> None:
    scene = claimed()
    scene.deliver(TX.replace("-1", "-9"), SubmissionAccepted())
    forged = WalletCredited(tx="tx/none-1", notes=(note("forged"),))
    row = scene.rows[-1]
    next_ = msgspec.structs.replace(
        row,
        position=row.position + 1,
        append=row.position + 1,
        stream=WALLET,
        version=sum(1 for each in scene.rows if each.stream == WALLET) + 1,
        event=MACHINES.codec.encode(forged),
    )
    report = audit(MACHINES, [*scene.rows, next_])
    assert report.problems == (
        f"after {next_.append}: {TRANSIT} is booked at -1048576 msat, held are 0",
    )


def test_an_audit_sees_a_transaction_that_issues_more_than_goes_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def too_much(_state: State, event: TxReserved) -> State:
        issues = event.reservation.issues + event.reservation.issues[-1:]
        return Reserved(reservation=msgspec.structs.replace(event.reservation, issues=issues))

    monkeypatch.setitem(cast("Any", transaction.MACHINE.evolvers), TxReserved, too_much)
    scene = paid()
    scene.deliver(
        TX,
        Built(
            signed=SignedTransaction("77", b"bytes", scene.reservation(TX).issues), now_unix_s=5_000
        ),
    )
    scene.deliver(TX, SubmissionAccepted())
    (problem,) = scene.audit().problems
    assert "out of nowhere" in problem


def test_an_audit_sees_a_booking_that_does_not_sum_to_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = paid()
    bookings: dict[type[Event], object] = dict(BOOKINGS)
    bookings[send.SendPaid] = lambda _before, _event: {"node": -1}
    monkeypatch.setattr(ledger, "BOOKINGS", bookings)
    problems = scene.audit().problems
    assert any("send.paid" in problem and "creates -1 msat" in problem for problem in problems)


def test_an_empty_log_is_sound() -> None:
    report = audit(MACHINES, [])
    assert (report.rows, report.balances, report.is_sound) == (0, {}, True)


def test_accounts_nobody_posted_to_hold_nothing() -> None:
    book = Ledger()
    book.post([Posting("node", -5), Posting("node", 5)])
    assert book.balance_msat("lost") == 0
    assert book.balances() == {}
