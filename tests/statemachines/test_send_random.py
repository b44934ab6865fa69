"""Random inputs to a payment in every state: none breaks a promise, none is answered by an error."""

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.machine import Input, State
from errors import ConflictError
from fuzz.machines.scene import (
    EXPIRES_UNIX_S,
    NODE,
    PREIMAGE,
    facts,
    step,
)
from statemachines import send, send_rules
from statemachines.send import (
    ATTEMPTS_MAX,
    EXPIRATION_DELTA_MINIMUM_BLOCKS,
    EXPIRY_MARGIN_S,
    BudgetMeasured,
    CallRefused,
    CallUnanswered,
    ForfeitSigned,
    Intent,
    PaymentFailed,
    PaymentSucceeded,
    RecordLookedUp,
    RequestSend,
    SeenInFlight,
    SwapFailed,
    SwapMeasured,
    Swapping,
    SwapSucceeded,
)
from statemachines.transaction import TransactionFinished, TransactionRejected, TransactionSigned

MACHINE = send_rules.MACHINE
OVER_UNIX_S = EXPIRES_UNIX_S + EXPIRY_MARGIN_S

_BLOCKS = st.sampled_from([0, 1, 143, 144, 145, 500])
_TIMES = st.sampled_from([0, EXPIRES_UNIX_S - 1, EXPIRES_UNIX_S, OVER_UNIX_S - 1, OVER_UNIX_S])
_INPUTS: st.SearchStrategy[Input] = st.one_of(
    st.builds(
        RequestSend,
        facts=st.sampled_from([facts(), facts(contract_msat=1_000_000)]),
        other_network=st.booleans(),
    ),
    st.builds(BudgetMeasured, remaining_blocks=_BLOCKS, now_unix_s=_TIMES),
    st.builds(
        SwapMeasured,
        remaining_blocks=_BLOCKS,
        now_unix_s=_TIMES,
        refusal=st.none() | st.just("nobody waits"),
    ),
    st.just(SwapSucceeded(preimage=PREIMAGE)),
    st.just(SwapFailed(reason="Refunded", detail="no preimage")),
    st.builds(
        RecordLookedUp,
        failed_reason=st.none() | st.just("no route"),
        remaining_blocks=_BLOCKS,
        looked_up_unix_s=_TIMES,
    ),
    st.just(SeenInFlight()),
    st.just(PaymentSucceeded(preimage=PREIMAGE, routing_fee_msat=1)),
    st.just(PaymentFailed(node=NODE, reason="no route")),
    st.just(CallRefused(reason="no")),
    st.just(CallUnanswered()),
    st.just(TransactionSigned(tx="tx/1", txid="77")),
    st.just(TransactionFinished(tx="tx/1", notes=(), lost_msat=0)),
    st.just(TransactionRejected(tx="tx/1", error="no", is_reissue=False)),
    st.just(ForfeitSigned(forfeit="f0")),
)
_INTENTS = st.builds(
    Intent,
    attempt=st.integers(1, ATTEMPTS_MAX),
    max_fee_msat=st.just(facts().max_fee_msat),
    max_delay_blocks=st.just(100),
    stray_call=st.booleans(),
)
_STATES: st.SearchStrategy[State] = st.one_of(
    st.just(send.New()),
    st.just(send.Accepted(facts=facts())),
    st.just(Swapping(facts=facts())),
    st.builds(send.Dispatching, facts=st.just(facts()), intent=_INTENTS),
    st.builds(
        send.Unanswered,
        facts=st.just(facts()),
        intent=_INTENTS,
        failed=st.none() | st.just("no route"),
    ),
    st.builds(send.InFlight, facts=st.just(facts()), intent=_INTENTS),
    st.builds(send.Vanished, facts=st.just(facts()), intent=_INTENTS),
)

_ENDS_BEFORE_A_CALL = (RequestSend, BudgetMeasured, SwapMeasured, PaymentFailed)
_UNANSWERABLE = (send.Claimed, send.ClaimRejected, send.Paid, send.Claiming)


def _may_give_up(before: State, input_: Input) -> bool:
    """Promise 2, said once more in other words than the machine's."""
    match before, input_:
        case send.New() | send.Accepted(), _:
            return isinstance(input_, _ENDS_BEFORE_A_CALL)
        case Swapping(), _:
            return isinstance(input_, SwapFailed)
        case send.Dispatching(intent=intent), PaymentFailed() | CallRefused():
            return not intent.stray_call
        case send.InFlight(intent=intent) | send.Vanished(intent=intent), PaymentFailed():
            return not intent.stray_call
        case send.Unanswered(intent=intent), RecordLookedUp():
            over = input_.looked_up_unix_s >= OVER_UNIX_S
            only_call = not intent.stray_call and input_.failed_reason is not None
            return over or only_call
        case _:
            return False


def _check_intent(before: State, input_: Input, intent: Intent) -> None:
    assert isinstance(input_, BudgetMeasured | RecordLookedUp)
    assert intent.max_delay_blocks >= 1
    assert intent.max_delay_blocks + EXPIRATION_DELTA_MINIMUM_BLOCKS == input_.remaining_blocks
    assert intent.max_fee_msat == facts().max_fee_msat
    assert intent.attempt <= ATTEMPTS_MAX
    if isinstance(before, send.Accepted):
        assert (intent.attempt, intent.stray_call) == (1, False)
    else:
        assert isinstance(before, send.Unanswered)
        assert before.failed is None
        assert (intent.attempt, intent.stray_call) == (before.intent.attempt + 1, True)


@settings(max_examples=1_000, deadline=None)
@given(_STATES, st.lists(_INPUTS, min_size=1))
def test_any_inputs_in_any_order_keep_the_promises(state: State, inputs: list[Input]) -> None:
    for input_ in inputs:
        before = state
        if isinstance(before, send.New) and not isinstance(input_, RequestSend):
            try:
                MACHINE.decide(before, input_)
            except ConflictError:
                continue
            raise AssertionError("a payment that nobody asked for heard something")
        state, events, _ = step(MACHINE, before, input_)
        for event in events:
            if isinstance(event, send.SendCancelling):
                assert _may_give_up(before, input_)
            if isinstance(event, send.SendDispatching):
                _check_intent(before, input_, event.intent)
        if isinstance(before, Swapping):
            assert isinstance(state, Swapping | send.Paid | send.Cancelling)
        if isinstance(before, _UNANSWERABLE):
            assert isinstance(state, _UNANSWERABLE)
        if isinstance(before, send.Cancelling | send.Cancelled):
            assert isinstance(state, send.Cancelling | send.Cancelled)
