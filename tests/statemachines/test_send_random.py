"""Random inputs to a payment, and a payment against a node that loses answers: no forfeit beside a settlement."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.machine import Input, State
from errors import ConflictError
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
)
from statemachines.transaction import TransactionFinished, TransactionRejected, TransactionSigned
from tests.statemachines.scene import (
    EXPIRES_UNIX_S,
    PREIMAGE,
    Scene,
    facts,
    opened,
    request,
    step,
)

MACHINE = send_rules.MACHINE
STREAM = send.stream_of(facts().contract_id)
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
        RecordLookedUp,
        failed_reason=st.none() | st.just("no route"),
        remaining_blocks=_BLOCKS,
        looked_up_unix_s=_TIMES,
    ),
    st.just(SeenInFlight()),
    st.just(PaymentSucceeded(preimage=PREIMAGE, routing_fee_msat=1)),
    st.just(PaymentFailed(reason="no route")),
    st.just(CallRefused(reason="no")),
    st.just(CallUnanswered()),
    st.just(TransactionSigned(tx="tx/1", txid="77")),
    st.just(TransactionFinished(tx="tx/1", notes=(), lost_msat=0)),
    st.just(TransactionRejected(tx="tx/1", error="no", is_claim=True)),
    st.just(ForfeitSigned(forfeit="f0")),
)
_REQUEST = st.builds(lambda other: RequestSend(facts=facts(), other_network=other), st.booleans())
_SENDS = st.builds(lambda first, rest: [*first, *rest], st.lists(_REQUEST), st.lists(_INPUTS))

_ENDS_BEFORE_A_CALL = (RequestSend, BudgetMeasured, PaymentFailed)
_UNANSWERABLE = (send.Claimed, send.ClaimRejected, send.Paid, send.Claiming)


def _may_give_up(before: State, input_: Input) -> bool:
    """Promise 2, said once more in other words than the machine's."""
    match before, input_:
        case send.New() | send.Accepted(), _:
            return isinstance(input_, _ENDS_BEFORE_A_CALL)
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


@settings(max_examples=400, deadline=None)
@given(_SENDS)
def test_any_inputs_in_any_order_keep_the_promises(inputs: list[Input]) -> None:
    state: State = MACHINE.initial
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
        if isinstance(before, _UNANSWERABLE):
            assert isinstance(state, _UNANSWERABLE)
        if isinstance(before, send.Cancelling | send.Cancelled):
            assert isinstance(state, send.Cancelling | send.Cancelled)


@dataclass
class Node:
    """A Lightning node: one record for the hash, and calls that it has not read yet."""

    record: str | None = None
    unread: int = 0
    settled: bool = False
    calls: list[int] = field(default_factory=list)

    def take(self, now_unix_s: int) -> str:
        """What one call comes to, as LND has it: refused, or the record is in flight."""
        if now_unix_s >= EXPIRES_UNIX_S or self.record in {"in flight", "succeeded"}:
            return "refused"
        self.record = "in flight"
        return "taken"


class AgainstANode(RuleBasedStateMachine):
    """The handlers of the gateway in short; calls may be lost, late or cut, and the gateway may crash."""

    def __init__(self) -> None:
        super().__init__()
        self.scene: Scene = opened()
        self.node = Node()
        self.now_unix_s = 0
        self.remaining_blocks = 500
        self.given_up = False

    @initialize(record=st.sampled_from([None, None, None, "in flight", "failed", "succeeded"]))
    def request(self, record: str | None) -> None:
        """The node may know the hash already, from a log that is gone."""
        self.node.record = record
        self.scene.deliver(STREAM, request())

    @rule(seconds=st.sampled_from([1, 600, 5_000]), blocks=st.integers(0, 200))
    def time_passes(self, seconds: int, blocks: int) -> None:
        self.now_unix_s += seconds
        self.remaining_blocks = max(0, self.remaining_blocks - blocks)

    def _wants(self, effect: type) -> bool:
        return any(isinstance(e, effect) for e in self.scene.wants(STREAM).values())

    def _known(self) -> Input | None:
        match self.node.record:
            case "in flight":
                return SeenInFlight()
            case "failed":
                return PaymentFailed(reason="no route")
            case "succeeded":
                return PaymentSucceeded(preimage=PREIMAGE, routing_fee_msat=1_000)
            case _:
                return None

    @precondition(lambda self: self._wants(send.MeasureBudget))
    @rule()
    def measure(self) -> None:
        measured = BudgetMeasured(
            remaining_blocks=self.remaining_blocks, now_unix_s=self.now_unix_s
        )
        self.scene.deliver(STREAM, self._known() or measured)

    @precondition(lambda self: self._wants(send.PayInvoice))
    @rule(fate=st.sampled_from(["answered", "refused", "lost", "late", "cut"]))
    def pay(self, fate: str) -> None:
        """A call leaves once; after any end without an answer the record alone counts."""
        state = self.scene.send()
        assert isinstance(state, send.Dispatching)
        assert state.intent.attempt not in self.node.calls
        self.node.calls.append(state.intent.attempt)
        if fate == "late":
            self.node.unread += 1
        taken = self.node.take(self.now_unix_s) if fate in {"answered", "cut"} else "refused"
        if fate == "cut" or fate in {"lost", "late"}:
            self.scene.deliver(STREAM, self._known() or CallUnanswered())
        elif taken == "taken":
            self.scene.deliver(STREAM, SeenInFlight())
        else:
            self.scene.deliver(STREAM, self._known() or CallRefused(reason="no"))

    @precondition(lambda self: self._wants(send.PayInvoice))
    @rule()
    def crash_before_the_call(self) -> None:
        self.scene.deliver(STREAM, self._known() or CallUnanswered())

    @precondition(lambda self: self.node.unread)
    @rule()
    def a_late_call_is_read(self) -> None:
        """A node that is behind with its clock by less than the margin takes it for a little longer."""
        self.node.unread -= 1
        self.node.take(self.now_unix_s - EXPIRY_MARGIN_S + 1)

    @precondition(lambda self: self._wants(send.LookUpRecord))
    @rule()
    def look_up(self) -> None:
        wanted = self.scene.wants(STREAM)["record"]
        assert isinstance(wanted, send.LookUpRecord)
        known = self._known()
        if isinstance(known, SeenInFlight | PaymentSucceeded):
            self.scene.deliver(STREAM, known)
            return
        record = RecordLookedUp(
            failed_reason=known.reason if isinstance(known, PaymentFailed) else None,
            remaining_blocks=self.remaining_blocks,
            looked_up_unix_s=self.now_unix_s,
        )
        if send_rules.may_decide(wanted, record):
            before = len(self.scene.rows)
            self.scene.deliver(STREAM, record)
            assert len(self.scene.rows) > before, "the effect ended and nothing follows from it"

    @precondition(lambda self: self._wants(send.FollowPayment))
    @rule()
    def follow(self) -> None:
        known = self._known()
        assert known is not None
        if not isinstance(known, SeenInFlight):
            self.scene.deliver(STREAM, known)

    @precondition(lambda self: self.node.record == "in flight")
    @rule(settles=st.booleans())
    def the_payment_ends(self, settles: bool) -> None:
        self.node.record = "succeeded" if settles else "failed"

    @precondition(lambda self: self._wants(send.SignForfeit))
    @rule()
    def forfeit(self) -> None:
        self.scene.deliver(STREAM, ForfeitSigned(forfeit="f0"))

    @invariant()
    def no_forfeit_while_the_payment_settles_or_still_may(self) -> None:
        if isinstance(self.scene.send(), send.Cancelling | send.Cancelled):
            assert self.node.record in {None, "failed"}

    @invariant()
    def no_call_without_an_intent_of_its_own(self) -> None:
        intents = [
            event.intent.attempt
            for _, event in self.scene.events
            if isinstance(event, send.SendDispatching)
        ]
        assert intents == sorted(set(intents))
        assert set(self.node.calls) <= set(intents)

    @invariant()
    def the_books_are_sound(self) -> None:
        assert self.scene.audit().is_sound


TestAgainstANode = AgainstANode.TestCase
TestAgainstANode.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
