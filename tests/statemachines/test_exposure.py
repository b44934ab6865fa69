"""The stake in one federation, and when nothing more is paid on its word."""

import msgspec
import pytest

from engine.machine import Input
from errors import ConflictError
from fuzz.machines.scene import (
    BITCOIN_FEES,
    FEDERATION,
    NODE,
    OTHER,
    PREIMAGE,
    Scene,
    facts,
    note,
    opened_both,
    receive_facts,
    request,
)
from statemachines import (
    deposit,
    exposure,
    federation,
    identity,
    receive,
    send,
    send_rules,
    transaction,
    wallet,
    wallet_rules,
)
from statemachines.deposit import DepositOutput, DepositSeen
from statemachines.exposure import CAP_DEFAULT_MSAT, exposure_msat
from statemachines.federation import (
    ClaimRefused,
    Leave,
    RefusedClaim,
    SetExposureCap,
    Trust,
    TrustAgain,
)
from statemachines.identity import JoinFederation
from statemachines.items import ForeignNote
from statemachines.reissue import ReissueFacts, RequestReissue
from statemachines.reissue import stream_of as reissue_stream
from statemachines.send import (
    BudgetMeasured,
    CallUnanswered,
    PaymentSucceeded,
    RecordLookedUp,
    SeenInFlight,
)
from statemachines.transaction import NotesCollected, SubmissionAccepted, TransactionRejected
from tests.statemachines import test_swaps as swaps
from tests.statemachines.test_gateway import STREAM, joined, of

SEND = send.stream_of(facts().contract_id)
CLAIM = f"tx/{FEDERATION}-1"
BUDGET = BudgetMeasured(node=NODE, remaining_blocks=500, now_unix_s=5_000)
PAID = PaymentSucceeded(preimage=PREIMAGE, routing_fee_msat=0)
CONTRACT_MSAT = facts().contract_msat
NOTES_MSAT = 3 << 20
REFUSED = ClaimRefused(stream=SEND, error="there is no such contract")


def at_stake_msat(scene: Scene, federation_id: str = FEDERATION) -> int:
    """Beside the ecash that the scene begins with."""
    return exposure_msat(scene.states.values(), federation_id) - NOTES_MSAT


# --- what is at stake ------------------------------------------------------------------------------------------


def test_a_payment_is_at_stake_from_its_call_until_its_claim_is_ecash() -> None:
    scene = opened_both()
    scene.deliver(SEND, request())
    assert at_stake_msat(scene) == 0, "nothing has left for it yet"
    steps: tuple[Input, ...] = (BUDGET, CallUnanswered(), SeenInFlight(), CallUnanswered(), PAID)
    for input_ in steps:
        scene.deliver(SEND, input_)
        assert at_stake_msat(scene) == CONTRACT_MSAT, scene.send()
    scene.build(CLAIM)
    assert isinstance(scene.send(), send.Claiming)
    assert at_stake_msat(scene) == CONTRACT_MSAT
    scene.deliver(CLAIM, SubmissionAccepted())
    worth_msat = at_stake_msat(scene)
    assert CONTRACT_MSAT * 9 // 10 < worth_msat < CONTRACT_MSAT, "the federation took its fees"
    scene.collect(CLAIM)
    assert at_stake_msat(scene) == worth_msat == scene.wallet.balance_msat - NOTES_MSAT
    assert at_stake_msat(scene, OTHER) == 0


def test_a_payment_that_is_given_back_is_at_stake_no_more() -> None:
    scene = opened_both()
    scene.deliver(SEND, request())
    scene.deliver(SEND, BUDGET)
    scene.deliver(SEND, send.PaymentFailed(node=NODE, reason="no route"))
    assert at_stake_msat(scene) == 0


def test_a_swap_is_at_stake_on_both_sides_until_the_preimage_is_known() -> None:
    scene = swaps.swapping()
    received_msat = receive_facts().contract_msat
    assert at_stake_msat(scene) == CONTRACT_MSAT
    assert at_stake_msat(scene, OTHER) == 0, "its notes are in the funding"
    scene.accept(swaps.FUNDING)
    assert -received_msat // 10 < at_stake_msat(scene, OTHER) < 0, "fees alone are gone"
    scene.deliver(swaps.RECEIVE, receive.Decrypted(preimage=PREIMAGE))
    assert at_stake_msat(scene, OTHER) < -received_msat
    assert at_stake_msat(scene) == CONTRACT_MSAT


def test_a_deposit_is_at_stake_from_the_moment_it_is_seen() -> None:
    scene = opened_both()
    output = DepositOutput(output_index=4, address_index=40, value_sat=90_000, out_point="ab:0")
    seen = DepositSeen(federation_id=FEDERATION, output=output)
    scene.deliver(deposit.stream_of(FEDERATION, 4), seen)
    assert at_stake_msat(scene) == 90_000_000


def test_ecash_that_is_taken_counts_once_it_is_ours() -> None:
    scene = opened_both()
    given = ReissueFacts("e1", FEDERATION, (ForeignNote(20, "nonce"),))
    scene.deliver(reissue_stream("e1"), RequestReissue(facts=given))
    assert at_stake_msat(scene) == 0
    scene.finish(CLAIM)
    assert (1 << 20) * 9 // 10 < at_stake_msat(scene) < 1 << 20


# --- how much may be -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trust", "room_msat"), [(Trust(), CAP_DEFAULT_MSAT), (Trust(cap_msat=7_000), 7_000)]
)
def test_a_contract_is_paid_for_up_to_the_cap(trust: Trust, room_msat: int) -> None:
    assert exposure.cap_msat(trust) == room_msat
    assert exposure.distrust(trust, 0, room_msat) is None
    assert exposure.distrust(trust, 5_000, room_msat - 5_000) is None
    refused = exposure.distrust(trust, 5_000, room_msat - 4_999)
    assert refused is not None
    assert f"the cap of {room_msat} msat" in refused
    assert exposure.distrust(trust, 0, 2**63) is not None


def test_nothing_is_paid_for_after_a_claim_was_refused() -> None:
    trust = Trust(refused_claim=RefusedClaim(SEND, "no"))
    refused = exposure.distrust(trust, 0, 0)
    assert refused == f"the federation refused the claim of {SEND}: no"


def test_what_is_not_trusted_is_given_back_before_any_call() -> None:
    scene = opened_both()
    scene.deliver(SEND, request())
    scene.deliver(
        SEND, BudgetMeasured(node=NODE, remaining_blocks=500, now_unix_s=5_000, untrusted="full")
    )
    state = scene.send()
    assert isinstance(state, send.Cancelling)
    assert (state.reason, state.detail) == (send_rules.UNTRUSTED, "full")


def test_a_swap_that_is_not_trusted_funds_nobody() -> None:
    scene = swaps.asked(swaps.invoiced())
    measured = send.SwapMeasured(
        remaining_blocks=500, now_unix_s=5_000, refusal=None, untrusted="full"
    )
    scene.deliver(SEND, measured)
    assert scene.last_append() == ["send.cancelling"]
    assert isinstance(scene.receive(), receive.Invoiced)


def test_a_payment_without_answer_is_not_called_for_again_once_its_federation_is_not_trusted() -> (
    None
):
    """Nor given back: the first call may still be read. The invoice's expiry decides."""
    scene = opened_both()
    for input_ in (request(), BUDGET, CallUnanswered()):
        scene.deliver(SEND, input_)
    (asked,) = scene.wants(SEND).values()
    assert isinstance(asked, send.LookUpRecord)
    record = RecordLookedUp(
        node=NODE, failed_reason=None, remaining_blocks=400, looked_up_unix_s=6_000
    )
    refused = RecordLookedUp(
        node=NODE,
        failed_reason=None,
        remaining_blocks=400,
        looked_up_unix_s=6_000,
        untrusted="refused",
    )
    assert send_rules.may_decide(asked, record)
    assert not send_rules.may_decide(asked, refused)
    scene.deliver(SEND, refused)
    assert isinstance(scene.send(), send.Unanswered)
    scene.deliver(SEND, record)
    assert isinstance(scene.send(), send.Dispatching)


# --- what the log keeps of it ----------------------------------------------------------------------------------


def test_a_refused_claim_is_on_record_in_the_append_that_hears_of_it() -> None:
    scene = joined()
    for input_ in (request(), BUDGET, PAID):
        scene.deliver(SEND, input_)
    scene.reject(CLAIM)
    assert scene.last_append() == [
        *("tx.rejected", "send.claim_rejected", "federation.distrusted"),
    ]
    assert _trust(scene).refused_claim == RefusedClaim(SEND, "no")
    rows = list(scene.rows)
    scene.deliver(STREAM, ClaimRefused(stream="send/other", error="no"))
    assert scene.rows == rows, "the first one is what the operator has to look at"
    scene.deliver(STREAM, TrustAgain())
    assert scene.last_append() == ["federation.trusted"]
    assert _trust(scene) == Trust()
    rows = list(scene.rows)
    scene.deliver(STREAM, TrustAgain())
    assert scene.rows == rows


def test_a_refund_that_is_refused_is_a_refused_claim() -> None:
    scene = joined()
    other = of(OTHER)
    scene.deliver(identity.STREAM, JoinFederation(facts=other))
    swaps.asked(swaps.invoiced(scene=_funded_both(scene)))
    scene.deliver(SEND, swaps.MEASURED)
    scene.accept(swaps.FUNDING)
    scene.deliver(swaps.RECEIVE, receive.Undecryptable(decryption_key=swaps.KEY, now_unix_s=5_000))
    scene.reject(f"tx/{OTHER}-2")
    assert scene.last_append()[-2:] == ["receive.refund_lost", "federation.distrusted"]
    state = scene.state(federation.stream_of(OTHER))
    assert isinstance(state, federation.Joined)
    assert state.trust.refused_claim == RefusedClaim(swaps.RECEIVE, "no")
    assert _trust(scene) == Trust(), "the sender's federation has nothing to do with it"


def test_a_note_that_is_refused_alone_is_a_refused_claim() -> None:
    """Else what was lost makes room for more."""
    suspect = note("a")
    state = msgspec.structs.replace(joined().wallet, spending={CLAIM: (suspect,)})
    rejected = TransactionRejected(tx=CLAIM, error="spent", is_reissue=True)
    decision = wallet_rules.MACHINE.decide(state, rejected)
    (lost,) = decision.events
    assert isinstance(lost, wallet.NotesLost)
    assert [(tell.stream, tell.input) for tell in decision.tells] == [
        (STREAM, ClaimRefused(stream=CLAIM, error="spent"))
    ]


def test_a_note_that_is_not_signed_validly_is_a_refused_claim() -> None:
    scene = joined()
    for input_ in (request(), BUDGET, PAID):
        scene.deliver(SEND, input_)
    scene.accept(CLAIM)
    state = scene.state(CLAIM)
    assert isinstance(state, transaction.Accepted)
    lost_msat = sum(1 << issue.denomination for issue in state.signed.issues)
    scene.deliver(CLAIM, NotesCollected(notes=(), lost_msat=lost_msat))
    assert _trust(scene).refused_claim == RefusedClaim(
        CLAIM, f"{lost_msat} msat of its notes are not signed validly"
    )


def _funded_both(scene: Scene) -> Scene:
    for federation_id in (FEDERATION, OTHER):
        scene.hold(*(note(f"{federation_id} {n}") for n in range(3)), federation_id=federation_id)
    return scene


def test_the_cap_is_set_and_the_same_one_is_no_news() -> None:
    scene = joined()
    scene.deliver(STREAM, SetExposureCap(cap_msat=7_000))
    assert scene.last_append() == ["federation.exposure_cap_set"]
    rows = list(scene.rows)
    scene.deliver(STREAM, SetExposureCap(cap_msat=7_000))
    assert scene.rows == rows
    assert _trust(scene) == Trust(cap_msat=7_000)
    scene.deliver(STREAM, SetExposureCap(cap_msat=None))
    assert _trust(scene) == Trust()


def test_leaving_and_coming_back_changes_no_trust() -> None:
    scene = joined()
    scene.deliver(STREAM, SetExposureCap(cap_msat=7_000))
    scene.deliver(STREAM, REFUSED)
    trust = _trust(scene)
    scene.deliver(STREAM, Leave())
    for input_ in (SetExposureCap(cap_msat=1), TrustAgain()):
        with pytest.raises(ConflictError, match="does not serve"):
            scene.deliver(STREAM, input_)
    rows = list(scene.rows)
    scene.deliver(STREAM, REFUSED)
    assert scene.rows == rows
    scene.deliver(identity.STREAM, JoinFederation(facts=of(FEDERATION, BITCOIN_FEES)))
    assert _trust(scene) == trust == Trust(7_000, RefusedClaim(SEND, REFUSED.error))


def _trust(scene: Scene) -> Trust:
    state = scene.state(STREAM)
    assert isinstance(state, federation.Joined)
    return state.trust


def test_contracts_without_preimage_are_counted_for_an_hour() -> None:
    scene = joined()
    for unix_s in (1_000, 2_000, 4_599, 4_600):
        scene.deliver(STREAM, federation.FruitlessFunding(now_unix_s=unix_s))
    state = scene.state(STREAM)
    assert isinstance(state, federation.Joined)
    assert state.fruitless_unix_s == (2_000, 4_599, 4_600)
    assert [state.fruitless(now) for now in (4_600, 5_599, 5_600, 8_199, 8_200)] == [3, 3, 2, 1, 0]


def test_no_more_of_them_are_remembered_than_are_asked_about() -> None:
    scene = joined()
    for unix_s in range(federation.FRUITLESS_MAX + 10):
        scene.deliver(STREAM, federation.FruitlessFunding(now_unix_s=unix_s))
    state = scene.state(STREAM)
    assert isinstance(state, federation.Joined)
    assert state.fruitless(unix_s) == len(state.fruitless_unix_s) == federation.FRUITLESS_MAX
    assert state.fruitless_unix_s[0] == 10
