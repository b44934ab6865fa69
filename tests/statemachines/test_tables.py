"""Every pair of state and input of every machine does what its table says."""

import pytest

from engine.machine import Handle, Ignore, Input, Machine, Refuse, State
from statemachines import ALL_MACHINES, send, send_rules
from statemachines.transaction import TransactionFinished, TransactionRejected, TransactionSigned
from tests.statemachines.scene import step


def _blank(kind: type[State] | type[Input]) -> State | Input:
    """One of its kind, whose fields nobody reads."""
    return kind(**dict.fromkeys(kind.__struct_fields__))


def _pairs(rule: type[Ignore] | type[Refuse]) -> list[object]:
    return [
        pytest.param(machine, s, i, listed, id=f"{machine.kind} {s.__name__} {i.__name__}")
        for machine in ALL_MACHINES
        for (s, i), listed in machine.rules.items()
        if isinstance(listed, rule)
    ]


@pytest.mark.parametrize(("machine", "state", "input_", "rule"), _pairs(Ignore))
def test_ignored_inputs_write_nothing_and_tell_nobody(
    machine: Machine, state: type[State], input_: type[Input], rule: Ignore
) -> None:
    before, given = _blank(state), _blank(input_)
    assert isinstance(before, State)
    assert isinstance(given, Input)
    assert step(machine, before, given) == (before, (), [])
    assert rule.why


@pytest.mark.parametrize(("machine", "state", "input_", "rule"), _pairs(Refuse))
def test_refused_inputs_raise_their_sentence(
    machine: Machine, state: type[State], input_: type[Input], rule: Refuse
) -> None:
    before, given = _blank(state), _blank(input_)
    assert isinstance(before, State)
    assert isinstance(given, Input)
    with pytest.raises(rule.error, match=rule.why[:20]):
        machine.decide(before, given)


def test_what_a_payment_listens_to_in_each_state() -> None:
    handled: dict[str, set[str]] = {}
    for (state, input_), rule in send_rules.MACHINE.rules.items():
        if isinstance(rule, Handle):
            handled.setdefault(state.__name__, set()).add(input_.__name__)
    assert handled == {
        "New": {"RequestSend"},
        "Accepted": {"BudgetMeasured", "SeenInFlight", "PaymentSucceeded", "PaymentFailed"},
        "Dispatching": {
            *("SeenInFlight", "PaymentSucceeded", "PaymentFailed"),
            *("CallRefused", "CallUnanswered"),
        },
        "Unanswered": {"RecordLookedUp", "SeenInFlight", "PaymentSucceeded"},
        "InFlight": {"PaymentSucceeded", "PaymentFailed", "CallUnanswered"},
        "Vanished": {"SeenInFlight", "PaymentSucceeded", "PaymentFailed"},
        "Paid": {"TransactionSigned"},
        "Claiming": {"TransactionFinished", "TransactionRejected"},
        "Cancelling": {"ForfeitSigned"},
    }


def test_every_state_that_holds_money_or_hope_wants_something() -> None:
    """A payment that is not over either has an effect running or waits for its own claim."""
    machine = send_rules.MACHINE
    waits_for_claim = {send.New, send.Paid, send.Claiming}
    assert set(machine.states) - machine.final - set(machine.wants_of) == waits_for_claim
    told = {TransactionSigned, TransactionFinished, TransactionRejected}
    assert told <= set(machine.inputs)


def test_money_given_back_is_given_back_for_ever() -> None:
    """From cancelling on, and from paid on, no way leads to the other side."""
    reach: dict[type[State], set[type[State]]] = {}
    for (state, _input), rule in send_rules.MACHINE.rules.items():
        if isinstance(rule, Handle):
            reach.setdefault(state, set()).update(rule.to)
    assert reach[send.Cancelling] == {send.Cancelled}
    assert reach[send.Paid] == {send.Claiming}
    assert reach[send.Claiming] == {send.Claimed, send.ClaimRejected}
