"""Every pair of state and input of every machine does what its table says."""

from collections import Counter

import pytest

from engine.events import Event
from engine.machine import Handle, Ignore, Input, Machine, Refuse, State
from fuzz.machines.scene import step
from statemachines import (
    ALL_MACHINES,
    completion,
    deposit,
    receive,
    receive_rules,
    send,
    send_rules,
)


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


def test_every_event_is_folded_by_one_machine() -> None:
    written = [one for one in Event.__subclasses__() if one.__module__.startswith("statemachines.")]
    folded = [event for machine in ALL_MACHINES for event in machine.events]
    assert Counter(folded) == Counter(written)


def _handled(machine: Machine) -> dict[str, set[str]]:
    """What a machine listens to in each state."""
    handled: dict[str, set[str]] = {}
    for (state, input_), rule in machine.rules.items():
        if isinstance(rule, Handle):
            handled.setdefault(state.__name__, set()).add(input_.__name__)
    return handled


def _reach(machine: Machine, start: type[State]) -> set[type[State]]:
    """Every state that can come after `start`, by any inputs."""
    reached: set[type[State]] = set()
    found = {start}
    while found:
        found = {
            target
            for (state, _input), rule in machine.rules.items()
            if state in found and isinstance(rule, Handle)
            for target in rule.to
        } - reached
        reached |= found
    return reached


def test_what_a_payment_listens_to_in_each_state() -> None:
    assert _handled(send_rules.MACHINE) == {
        "New": {"RequestSend"},
        "Accepted": {
            *("BudgetMeasured", "SwapMeasured", "HoldBack"),
            *("SeenInFlight", "PaymentSucceeded", "PaymentFailed"),
        },
        "Swapping": {"SwapSucceeded", "SwapFailed"},
        "Dispatching": {
            *("SeenInFlight", "PaymentSucceeded", "PaymentFailed"),
            *("CallRefused", "CallUnanswered", "HoldBack"),
        },
        "Unanswered": {
            *("RecordLookedUp", "SeenInFlight", "PaymentSucceeded"),
            *("HoldBack", "SwapFound", "DismissSend"),
        },
        "InFlight": {"PaymentSucceeded", "PaymentFailed", "CallUnanswered"},
        "Vanished": {"SeenInFlight", "PaymentSucceeded", "PaymentFailed", "DismissSend"},
        "Paid": {"TransactionSigned"},
        "Claiming": {"TransactionFinished", "TransactionRejected"},
        "Cancelling": {"ForfeitSigned"},
    }


def test_what_a_receive_listens_to_in_each_state() -> None:
    assert _handled(receive_rules.MACHINE) == {
        "New": {"RequestReceive"},
        "Registered": {"InvoiceCreated", "InvoiceNotCreated", "FundingFound"},
        "Invoiced": {
            *("InvoiceForgotten", "HtlcHeld", "HtlcWaits"),
            *("FundForSwap", "FundingFound"),
        },
        "Held": {"InvoiceForgotten", "HtlcHeld", "FundingFound"},
        "Funding": {
            "GiveUpReceive",
            *("FundingRefused", "FundingFound", "TransactionSigned"),
            *("TransactionAccepted", "TransactionRejected", "TransactionAbandoned"),
        },
        "Decrypting": {"Decrypted", "Undecryptable", "GiveUpReceive"},
        "Refunding": {"TransactionFinished", "TransactionRejected"},
    }


#: States that are neither final nor want anything, and what they wait for.
_WAITS_FOR = {
    "gateway": {"Unfounded": "start", "Founded": "requests"},
    "federation": {"NotJoined": "requests", "Joined": "requests", "Left": "requests"},
    "wallet": {"Unopened": "requests", "Wallet": "its transactions and requests"},
    "tx": {"Unborn": "its wallet"},
    "deposits": {"Closed": "requests", "Paused": "requests"},
    "deposit": {"Unseen": "its list", "Claiming": "its transaction"},
    "image": {"Free": "requests"},
    "send": {
        "New": "requests",
        "Swapping": "the receive",
        "Paid": "its transaction",
        "Claiming": "its transaction",
    },
    "receive": {
        "New": "requests",
        "Funding": "its transaction",
        "Refunding": "its transaction",
    },
    "completion": {"Unborn": "the receive", "Waiting": "the receive"},
    "withdrawal": {
        "New": "requests",
        "Funding": "its transaction",
        "Submitted": "its transaction",
    },
    "gift": {"New": "requests", "Preparing": "its transaction"},
    "reissue": {"New": "requests", "Reissuing": "its transaction", "Abandoned": "requests"},
    "operator_payment": {"New": "requests", "Failed": "requests"},
    "node_order": {"New": "requests"},
}


@pytest.mark.parametrize("machine", ALL_MACHINES, ids=lambda machine: machine.kind)
def test_every_state_that_holds_money_or_hope_wants_something_or_hears_of_another_stream(
    machine: Machine,
) -> None:
    quiet = set(machine.states) - machine.final - set(machine.wants_of)
    assert {state.__name__ for state in quiet} == set(_WAITS_FOR[machine.kind])
    listens = _handled(machine)
    assert {state.__name__ for state in quiet} <= set(listens)


def test_money_given_back_is_given_back_for_ever() -> None:
    """From cancelling on, and from paid on, no way leads to the other side."""
    sends = send_rules.MACHINE
    assert _reach(sends, send.Cancelling) == {send.Cancelled}
    assert _reach(sends, send.Paid) == {send.Claiming, send.Claimed, send.ClaimRejected}


def test_what_the_node_was_told_of_its_htlcs_is_never_taken_back() -> None:
    answers = completion.MACHINE
    settled = {completion.Settled, completion.SettleRejected}
    cancelled = {completion.Cancelled, completion.CancelRejected}
    assert _reach(answers, completion.Settling) == settled
    assert _reach(answers, completion.Cancelling) == cancelled


def test_no_way_leads_from_a_funded_contract_back_to_one_that_is_not_funded() -> None:
    funded = _reach(receive_rules.MACHINE, receive.Funding)
    assert funded == {
        *(receive.Funding, receive.FundingFailed, receive.Decrypting, receive.Received),
        *(receive.Refunding, receive.Refunded, receive.RefundLost),
    }
    assert receive.Funding not in _reach(receive_rules.MACHINE, receive.Decrypting)


def test_a_deposit_is_claimed_until_it_is_ecash_or_worth_nothing() -> None:
    assert _reach(deposit.MACHINE, deposit.Claiming) == {
        *(deposit.Found, deposit.Claiming, deposit.Claimed, deposit.Dropped),
    }
