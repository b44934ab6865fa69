"""An outgoing payment keeps the promises about money."""

import msgspec
import pytest

from engine.events import Event
from engine.machine import Input, State
from errors import ConflictError
from fuzz.machines.scene import (
    EXPIRES_UNIX_S,
    FEDERATION,
    NODE,
    OTHER_NODE,
    PREIMAGE,
    Scene,
    facts,
    note,
    opened,
    request,
)
from statemachines import image, send, send_rules
from statemachines.items import ContractClaim, SignedTransaction
from statemachines.send import (
    ATTEMPTS_MAX,
    EXPIRATION_DELTA_MINIMUM_BLOCKS,
    EXPIRY_MARGIN_S,
    NOT_OURS,
    BudgetMeasured,
    CallRefused,
    CallUnanswered,
    DismissSend,
    ForfeitSigned,
    Intent,
    PaymentFailed,
    PaymentSucceeded,
    RecordLookedUp,
    RequestSend,
    SeenInFlight,
)
from statemachines.transaction import (
    Built,
    NotesCollected,
    Reserved,
    SubmissionAccepted,
    SubmissionRejected,
)

STREAM = send.stream_of(facts().contract_id)
TX = f"tx/{FEDERATION}-1"
OVER_UNIX_S = EXPIRES_UNIX_S + EXPIRY_MARGIN_S
BUDGET = BudgetMeasured(node=NODE, remaining_blocks=500, now_unix_s=5_000)
NO_RECORD = RecordLookedUp(
    node=NODE, failed_reason=None, remaining_blocks=400, looked_up_unix_s=6_000
)
SUCCEEDED = PaymentSucceeded(preimage=PREIMAGE, routing_fee_msat=1_234)
FAILED = PaymentFailed(node=NODE, reason="no route")
FIRST = Intent(attempt=1, max_fee_msat=90_000, max_delay_blocks=356, stray_call=False)
SECOND = Intent(attempt=2, max_fee_msat=90_000, max_delay_blocks=256, stray_call=True)
STRAY = (BUDGET, CallUnanswered(), NO_RECORD)


def after(*inputs: Input) -> Scene:
    """A payment that was requested, and to which this happened."""
    scene = opened()
    scene.deliver(STREAM, request())
    for input_ in inputs:
        scene.deliver(STREAM, input_)
    return scene


def failed_at(unix_s: int) -> RecordLookedUp:
    return RecordLookedUp(
        node=NODE, failed_reason="old", remaining_blocks=400, looked_up_unix_s=unix_s
    )


def no_record_at(unix_s: int) -> RecordLookedUp:
    return RecordLookedUp(
        node=NODE, failed_reason=None, remaining_blocks=400, looked_up_unix_s=unix_s
    )


def cancelled(scene: Scene) -> tuple[str, str]:
    state = scene.send()
    assert isinstance(state, send.Cancelling), state
    return state.reason, state.detail


# --- promise 1: one payment image, one operation ---------------------------------------------------------------


def test_the_image_is_claimed_in_the_append_that_accepts() -> None:
    scene = after()
    assert [row.append for row in scene.rows[-2:]] == [2, 2]
    assert scene.state(image.stream_of(facts().payment_hash)) == image.Claimed(operation=STREAM)
    assert scene.send() == send.Accepted(facts=facts())
    assert scene.wants(STREAM) == {"budget": send.MeasureBudget(facts=facts())}


def test_a_second_contract_for_the_same_image_is_refused_whole() -> None:
    scene = after()
    rows = list(scene.rows)
    with pytest.raises(ConflictError, match="already belongs to another operation"):
        scene.deliver(send.stream_of("other"), request(1, contract_msat=2_000_000))
    assert scene.rows == rows
    assert scene.state(send.stream_of("other")) == send.New()


def test_a_second_contract_of_which_the_gateway_sees_the_first_is_given_back_on_record() -> None:
    """In one append, which leaves the image where it is: neither a crash nor a result of the first pays it."""
    scene = after()
    second = facts(2)
    stream = send.stream_of(second.contract_id)
    asked = request(2, payment_hash=facts().payment_hash)
    scene.deliver(stream, msgspec.structs.replace(asked, image_owner=STREAM))
    assert scene.last_append() == ["send.accepted", "send.cancelling"]
    given_up = scene.state(stream)
    assert isinstance(given_up, send.Cancelling)
    assert given_up.reason == send_rules.IMAGE_TAKEN
    assert STREAM in given_up.detail
    assert list(scene.wants(stream)) == ["forfeit"]
    rows = list(scene.rows)
    for late in (asked, BUDGET, SUCCEEDED, NO_RECORD, SeenInFlight(), send.HoldBack()):
        scene.deliver(stream, late)
    assert scene.rows == rows
    scene.deliver(stream, ForfeitSigned(forfeit="f0"))
    scene.deliver(stream, SUCCEEDED)
    assert isinstance(scene.state(stream), send.Cancelled)
    assert scene.state(image.stream_of(facts().payment_hash)) == image.Claimed(operation=STREAM)
    assert scene.send() == send.Accepted(facts=facts())


def test_the_same_request_again_joins() -> None:
    scene = after()
    rows = list(scene.rows)
    scene.deliver(STREAM, request())
    assert scene.rows == rows


# --- promise 2: forfeit only when it can never settle -----------------------------------------------------------


def test_another_network_is_refused_at_once() -> None:
    scene = opened()
    scene.deliver(STREAM, RequestSend(facts=facts(), other_network=True))
    assert cancelled(scene)[0] == send_rules.WRONG_NETWORK


def test_an_expired_invoice_is_refused_before_any_call() -> None:
    scene = after(BudgetMeasured(node=NODE, remaining_blocks=500, now_unix_s=EXPIRES_UNIX_S))
    assert cancelled(scene)[0] == send_rules.INVOICE_EXPIRED


def test_too_little_time_is_refused_before_any_call() -> None:
    blocks = EXPIRATION_DELTA_MINIMUM_BLOCKS
    scene = after(BudgetMeasured(node=NODE, remaining_blocks=blocks, now_unix_s=1))
    assert cancelled(scene)[0] == send_rules.TIMEOUT_TOO_CLOSE


def test_one_block_more_than_the_minimum_is_a_budget_of_one() -> None:
    blocks = EXPIRATION_DELTA_MINIMUM_BLOCKS + 1
    scene = after(BudgetMeasured(node=NODE, remaining_blocks=blocks, now_unix_s=EXPIRES_UNIX_S - 1))
    state = scene.send()
    assert isinstance(state, send.Dispatching)
    assert state.intent.max_delay_blocks == 1


def test_a_contract_below_the_minimum_is_refused_before_any_call() -> None:
    scene = opened()
    scene.deliver(STREAM, request(contract_msat=1_009_999))
    scene.deliver(STREAM, BUDGET)
    assert cancelled(scene) == (
        send_rules.UNDERFUNDED,
        "the contract holds 1009999 msat, 1010000 are needed",
    )


def test_a_contract_of_the_minimum_allows_free_routes_only() -> None:
    scene = opened()
    scene.deliver(STREAM, request(contract_msat=1_010_000))
    scene.deliver(STREAM, BUDGET)
    state = scene.send()
    assert isinstance(state, send.Dispatching)
    assert state.intent.max_fee_msat == 0


@pytest.mark.parametrize("ended", [(), (SeenInFlight(),), (SeenInFlight(), CallUnanswered())])
def test_the_nodes_own_failed_gives_the_money_back(ended: tuple[Input, ...]) -> None:
    scene = after(BUDGET, *ended, FAILED)
    assert cancelled(scene) == (send_rules.LIGHTNING_ERROR, "no route")


def test_a_refusal_of_the_only_call_gives_the_money_back() -> None:
    scene = after(BUDGET, CallRefused(reason="self-payments are not allowed"))
    assert cancelled(scene) == (send_rules.LIGHTNING_ERROR, "self-payments are not allowed")


def test_a_failed_record_of_the_only_call_is_its_end_also_when_its_answer_was_lost() -> None:
    scene = after(BUDGET, CallUnanswered(), failed_at(6_000))
    assert cancelled(scene) == (send_rules.LIGHTNING_ERROR, "old")


def test_no_record_after_an_unanswered_call_gives_nothing_back() -> None:
    scene = after(BUDGET, CallUnanswered())
    assert scene.send() == send.Unanswered(facts=facts(), intent=FIRST)
    wanted = send.LookUpRecord(facts=facts(), intent=FIRST, failed=None)
    assert scene.wants(STREAM) == {"record": wanted}


@pytest.mark.parametrize("unix_s", [EXPIRES_UNIX_S, OVER_UNIX_S - 1])
def test_the_invoices_expiry_alone_is_not_final_while_clocks_may_differ(unix_s: int) -> None:
    scene = after(BUDGET, CallUnanswered())
    before = scene.send()
    assert isinstance(before, send.Unanswered)
    assert not send_rules.may_decide(before, no_record_at(unix_s))
    scene.deliver(STREAM, no_record_at(unix_s))
    assert scene.send() == before


def test_no_record_is_final_once_the_invoice_has_expired() -> None:
    scene = after(BUDGET, CallUnanswered(), no_record_at(OVER_UNIX_S))
    assert cancelled(scene)[0] == send_rules.INVOICE_EXPIRED


@pytest.mark.parametrize(
    "ended",
    [(FAILED,), (CallRefused(reason="no route"),), (SeenInFlight(), FAILED)],
    ids=["failed", "refused", "seen, then failed"],
)
def test_the_end_of_one_call_is_not_the_end_of_a_stray_one(ended: tuple[Input, ...]) -> None:
    scene = after(*STRAY, *ended)
    waiting = send.Unanswered(facts=facts(), intent=SECOND, failed="no route")
    assert scene.send() == waiting
    for early in (failed_at(6_000), no_record_at(6_000), failed_at(OVER_UNIX_S - 1)):
        assert not send_rules.may_decide(waiting, early)
        scene.deliver(STREAM, early)
        assert scene.send() == waiting
    scene.deliver(STREAM, no_record_at(OVER_UNIX_S))
    assert cancelled(scene) == (send_rules.LIGHTNING_ERROR, "no route")


def test_a_failed_record_decides_once_stray_calls_are_over() -> None:
    scene = after(*STRAY, FAILED, failed_at(OVER_UNIX_S))
    assert cancelled(scene) == (send_rules.LIGHTNING_ERROR, "old")


def test_the_forfeit_is_signed_only_after_giving_up() -> None:
    scene = after(BUDGET)
    scene.deliver(STREAM, ForfeitSigned(forfeit="f0"))
    assert isinstance(scene.send(), send.Dispatching)
    scene.deliver(STREAM, FAILED)
    sign = send.SignForfeit(federation_id=FEDERATION, contract_id=facts().contract_id)
    assert scene.wants(STREAM) == {"forfeit": sign}
    scene.deliver(STREAM, ForfeitSigned(forfeit="f0"))
    assert scene.send() == send.Cancelled(
        facts=facts(), reason="LightningRpcError", detail="no route", forfeit="f0"
    )
    assert scene.wants(STREAM) == {}


# --- promise 3: every call has its own committed intent ----------------------------------------------------------


def test_a_call_leaves_with_the_budgets_measured_for_it() -> None:
    scene = after(BUDGET)
    assert scene.send() == send.Dispatching(facts=facts(), intent=FIRST)
    pay = send.PayInvoice(
        node=NODE, payment_hash=facts().payment_hash, invoice="lnbcrt1", intent=FIRST
    )
    assert scene.wants(STREAM) == {"pay": pay}


def test_the_next_call_has_an_intent_of_its_own_and_knows_of_the_stray_one() -> None:
    scene = after(*STRAY)
    assert scene.send() == send.Dispatching(facts=facts(), intent=SECOND)


def test_no_next_call_when_the_time_left_does_not_allow_it() -> None:
    scene = after(BUDGET, CallUnanswered())
    short = RecordLookedUp(
        node=NODE, failed_reason=None, remaining_blocks=144, looked_up_unix_s=6_000
    )
    scene.deliver(STREAM, short)
    assert isinstance(scene.send(), send.Unanswered)


def elsewhere(input_: Input) -> Input:
    """The same, said by a node that was never called for this payment."""
    return msgspec.structs.replace(input_, node=OTHER_NODE)


@pytest.mark.parametrize(
    ("inputs", "said", "ends"),
    [
        ((), BUDGET, send.Cancelling),
        ((BUDGET,), FAILED, send.Unanswered),
        ((BUDGET, SeenInFlight()), FAILED, send.Vanished),
        ((BUDGET, SeenInFlight(), CallUnanswered()), FAILED, send.Vanished),
        ((BUDGET, CallUnanswered()), failed_at(OVER_UNIX_S), send.Unanswered),
        ((BUDGET, CallUnanswered()), no_record_at(OVER_UNIX_S), send.Unanswered),
        ((BUDGET, CallUnanswered()), NO_RECORD, send.Unanswered),
        (STRAY, FAILED, send.Unanswered),
    ],
)
def test_the_word_of_another_node_than_the_one_called_gives_nothing_back(
    inputs: tuple[Input, ...], said: Input, ends: type[State]
) -> None:
    """It calls nobody either. Before any call it is no reason to make one at a node that was not asked for."""
    scene = after(*inputs)
    scene.deliver(STREAM, elsewhere(said))
    assert isinstance(scene.send(), ends)
    if isinstance(scene.send(), send.Cancelling):
        assert (
            cancelled(scene)[1] == "the gateway's Lightning node was replaced before it was called"
        )
    else:
        assert "record" in scene.wants(STREAM) or "follow" in scene.wants(STREAM)


def test_what_the_node_that_was_called_says_counts_whatever_another_said() -> None:
    scene = after(BUDGET, elsewhere(FAILED), FAILED)
    assert isinstance(scene.send(), send.Unanswered)
    scene.deliver(STREAM, failed_at(6_000))
    assert cancelled(scene) == (send_rules.LIGHTNING_ERROR, "old")


def test_only_a_payment_without_answer_is_dismissed() -> None:
    for unanswered in ((*STRAY, CallUnanswered()), (BUDGET, SeenInFlight(), CallUnanswered())):
        scene = after(*unanswered)
        scene.deliver(STREAM, DismissSend())
        reason, detail = cancelled(scene)
        assert reason == send_rules.LIGHTNING_ERROR
        assert detail.endswith("dismissed by the operator")
    for inputs in ((), (BUDGET,), (BUDGET, SeenInFlight()), (BUDGET, SUCCEEDED), (BUDGET, FAILED)):
        with pytest.raises(ConflictError, match="of whose call nobody knows the end"):
            after(*inputs, DismissSend())
    with pytest.raises(ConflictError, match="no such payment"):
        opened().deliver(STREAM, DismissSend())


def test_calls_without_answer_are_not_repeated_for_ever() -> None:
    scene = after(BUDGET)
    for attempt in range(1, ATTEMPTS_MAX + 1):
        state = scene.send()
        assert isinstance(state, send.Dispatching)
        assert state.intent.attempt == attempt
        scene.deliver(STREAM, CallUnanswered())
        scene.deliver(STREAM, NO_RECORD)
    assert isinstance(scene.send(), send.Unanswered)
    scene.deliver(STREAM, no_record_at(OVER_UNIX_S))
    assert cancelled(scene)[0] == send_rules.INVOICE_EXPIRED


def test_what_the_node_knows_is_followed_whatever_the_budgets_are() -> None:
    scene = opened()
    scene.deliver(STREAM, request(contract_msat=1_000))
    scene.deliver(STREAM, SeenInFlight())
    state = scene.send()
    assert isinstance(state, send.InFlight)
    assert state.intent == NOT_OURS
    scene.deliver(STREAM, FAILED)
    scene.deliver(STREAM, no_record_at(6_000))
    assert isinstance(scene.send(), send.Unanswered)
    scene.deliver(STREAM, SeenInFlight())
    scene.deliver(STREAM, SUCCEEDED)
    assert isinstance(scene.send(), send.Paid)


def test_a_payment_that_succeeded_before_our_log_began_is_claimed() -> None:
    assert isinstance(after(SUCCEEDED).send(), send.Paid)


def test_a_payment_that_failed_before_our_log_began_is_given_back() -> None:
    assert cancelled(after(FAILED)) == (send_rules.LIGHTNING_ERROR, "no route")


def test_a_payment_in_flight_is_followed() -> None:
    scene = after(BUDGET, SeenInFlight())
    assert scene.send() == send.InFlight(facts=facts(), intent=FIRST)
    follow = send.FollowPayment(node=NODE, payment_hash=facts().payment_hash, vanished=False)
    assert scene.wants(STREAM) == {"follow": follow}


def test_a_record_found_after_an_unanswered_call_is_followed() -> None:
    scene = after(BUDGET, CallUnanswered(), SeenInFlight())
    assert scene.send() == send.InFlight(facts=facts(), intent=FIRST)


def test_a_payment_that_vanished_waits_for_the_operator() -> None:
    scene = after(BUDGET, SeenInFlight(), CallUnanswered())
    assert scene.send() == send.Vanished(facts=facts(), intent=FIRST)
    follow = send.FollowPayment(node=NODE, payment_hash=facts().payment_hash, vanished=True)
    assert scene.wants(STREAM) == {"follow": follow}
    scene.deliver(STREAM, no_record_at(OVER_UNIX_S))
    assert isinstance(scene.send(), send.Vanished)
    scene.deliver(STREAM, SeenInFlight())
    assert isinstance(scene.send(), send.InFlight)


# --- promise 8, and what follows from a preimage -------------------------------------------------------------------


@pytest.mark.parametrize(
    "way",
    [
        (BUDGET,),
        (BUDGET, CallUnanswered()),
        (BUDGET, SeenInFlight()),
        (BUDGET, SeenInFlight(), CallUnanswered()),
        (*STRAY, FAILED),
    ],
    ids=["dispatching", "unanswered", "in flight", "vanished", "after a failed call"],
)
def test_the_claim_is_reserved_in_the_append_of_the_preimage(way: tuple[Input, ...]) -> None:
    scene = after(*way, SUCCEEDED)
    assert scene.send() == send.Paid(facts=facts(), preimage=PREIMAGE, routing_fee_msat=1_234)
    kinds = [event.kind for _, event in scene.events[-3:]]
    assert kinds == ["send.paid", "wallet.reserved", "tx.reserved"]
    assert len({row.append for row in scene.rows[-3:]}) == 1
    tx = scene.state(TX)
    assert isinstance(tx, Reserved)
    assert tx.reservation.parent == STREAM
    assert tx.reservation.claims == (ContractClaim("11" * 32, 1, 1_100_000, PREIMAGE),)


def signed(scene: Scene) -> Scene:
    tx = scene.state(TX)
    assert isinstance(tx, Reserved)
    issues = tx.reservation.issues
    scene.deliver(TX, Built(signed=SignedTransaction("77", b"bytes", issues), now_unix_s=5_000))
    return scene


def test_the_preimage_may_go_only_when_the_claims_bytes_are_durable() -> None:
    scene = signed(after(BUDGET, SUCCEEDED))
    claiming = send.Claiming(facts=facts(), preimage=PREIMAGE, routing_fee_msat=1_234, tx=TX)
    assert scene.send() == claiming
    assert scene.rows[-1].append == scene.rows[-2].append
    assert [event.kind for _, event in scene.events[-2:]] == ["tx.signed", "send.claiming"]


def test_a_claim_that_is_accepted_ends_the_payment() -> None:
    scene = signed(after(BUDGET, SUCCEEDED))
    scene.deliver(TX, SubmissionAccepted())
    scene.deliver(TX, NotesCollected(notes=(note("a"), note("b", 10)), lost_msat=0))
    state = scene.send()
    assert isinstance(state, send.Claimed)
    assert (state.tx, state.received_msat) == (TX, (1 << 20) + (1 << 10))
    assert scene.wants(STREAM) == {}


def test_a_claim_that_is_rejected_for_good_is_on_record_as_a_loss() -> None:
    scene = signed(after(BUDGET, SUCCEEDED))
    scene.deliver(TX, SubmissionRejected(error="the contract is gone"))
    state = scene.send()
    assert isinstance(state, send.ClaimRejected)
    assert (state.tx, state.error) == (TX, "the contract is gone")
    assert scene.audit().balances["lost"] == 1_100_000


def test_a_preimage_is_not_dropped_when_the_wallet_cannot_take_the_claim() -> None:
    """The payment stays open, and its effect hands the preimage in again."""
    scene = Scene()
    scene.deliver(STREAM, request())
    scene.deliver(STREAM, BUDGET)
    with pytest.raises(ConflictError, match="has not joined"):
        scene.deliver(STREAM, SUCCEEDED)
    assert isinstance(scene.send(), send.Dispatching)


def test_every_event_of_a_payment_can_be_stored() -> None:
    stored: set[type[Event]] = set()
    for way in (
        (*STRAY, SeenInFlight(), CallUnanswered(), SUCCEEDED),
        (BUDGET, FAILED, ForfeitSigned(forfeit="f0")),
    ):
        scene = after(*way)
        stored |= {type(event) for stream, event in scene.events if stream == STREAM}
    for end in (
        (SubmissionRejected(error="no"),),
        (SubmissionAccepted(), NotesCollected(notes=(), lost_msat=0)),
    ):
        scene = signed(after(BUDGET, SUCCEEDED))
        for input_ in end:
            scene.deliver(TX, input_)
        stored |= {type(event) for stream, event in scene.events if stream == STREAM}
    assert stored == set(send_rules.MACHINE.events) - {
        send.SendSwapping,  # test_swaps.py
        send.SendHeldBack,  # test_restore.py
    }
