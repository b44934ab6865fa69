"""Tables are complete, and decisions stay inside them."""

from dataclasses import replace
from typing import Any

import pytest

from engine.machine import (
    Decision,
    Effect,
    Handle,
    Ignore,
    Refuse,
    ignored,
    kind_of,
    refused,
    table,
)
from errors import ConflictError, FatalError, NotFoundError
from tests.engine.toy import (
    ACCOUNT,
    TRANSFER,
    Again,
    Arrived,
    Begin,
    Begun,
    Credit,
    Credited,
    Debit,
    Delivered,
    Open,
    Recall,
    Reversed,
    Sending,
    Sent,
    Spending,
    Unborn,
    order,
)

_RULES: dict[Any, Any] = dict(TRANSFER.rules)


def _without(pair: tuple[type, type]) -> dict[Any, Any]:
    return {key: rule for key, rule in _RULES.items() if key != pair}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rules": _without((Sending, Sent))}, "no rule for Sending with Sent"),
        ({"rules": {**_RULES, (Open, Sent): Ignore("")}}, "rule for unknown Open, Sent"),
        ({"initial": Open()}, "initial state or kind is wrong"),
        ({"kind": "transfer/"}, "initial state or kind is wrong"),
        ({"final": frozenset({Sending})}, "final state Sending wants effects"),
        ({"final": frozenset({Unborn})}, "final state Unborn handles Begin"),
        ({"final": frozenset({Spending})}, "unknown state Spending"),
        ({"wants_of": {Spending: lambda _state: {}}}, "unknown state Spending"),
        (
            {"rules": {**_RULES, (Unborn, Sent): Handle(lambda *_: Decision(), (Open,))}},
            "unknown state Open",
        ),
    ],
)
def test_a_table_with_holes_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(FatalError, match=words):
        replace(TRANSFER, **changes)


def test_groups_of_pairs_make_one_table_and_list_no_pair_twice() -> None:
    late = ignored((Sending, Arrived), (Begin, Sent), "late")
    none = refused((Unborn,), (Sent,), "there is none", NotFoundError)
    assert table(late, none) == {
        (Sending, Begin): Ignore("late"),
        (Sending, Sent): Ignore("late"),
        (Arrived, Begin): Ignore("late"),
        (Arrived, Sent): Ignore("late"),
        (Unborn, Sent): Refuse("there is none", NotFoundError),
    }
    with pytest.raises(FatalError, match="listed twice: Arrived with Sent, Sending with Sent"):
        table(late, ignored((Sending, Arrived), (Sent,), "repeated"))


def test_every_pair_of_state_and_input_is_decided_as_listed() -> None:
    states = {Unborn: Unborn(), Sending: Sending(order=order()), Arrived: Arrived(order=order())}
    for (state, input_class), rule in TRANSFER.rules.items():
        if state not in states or isinstance(rule, Handle):
            continue
        input_ = Begin(order=order()) if input_class is Begin else None
        if input_ is None and input_class.__struct_fields__:
            continue
        sent = input_ or input_class()
        if isinstance(rule, Refuse):
            with pytest.raises(rule.error, match=rule.why):
                TRANSFER.decide(states[state], sent)
        else:
            assert TRANSFER.decide(states[state], sent) == Decision()


def test_refusals_carry_their_error_class() -> None:
    with pytest.raises(NotFoundError):
        TRANSFER.decide(Unborn(), Again())
    with pytest.raises(ConflictError):
        TRANSFER.decide(Sending(order=order()), Recall())


def test_foreign_inputs_and_events_are_fatal() -> None:
    with pytest.raises(FatalError, match="knows no Credit"):
        TRANSFER.decide(Unborn(), Credit(amount=1))
    with pytest.raises(FatalError, match=r"does not own event 'account\.credited'"):
        TRANSFER.evolve(Unborn(), Credited(amount=1))


def test_an_effect_says_whether_it_may_pay_twice() -> None:
    with pytest.raises(FatalError, match="effect Silent does not say whether it may_pay_twice"):
        type("Silent", (Effect,), {})


def test_a_step_may_stay_or_end_where_the_table_says() -> None:
    sending = Sending(order=order())
    TRANSFER.check_step(sending, Again(), Sending(order=order(), attempt=2))
    TRANSFER.check_step(sending, Sent(), Arrived(order=order()))
    with pytest.raises(FatalError, match="from Sending on Again to Arrived"):
        TRANSFER.check_step(sending, Again(), Arrived(order=order()))
    with pytest.raises(FatalError, match="from Unborn on Sent to Sending"):
        TRANSFER.check_step(Unborn(), Sent(), sending)


def test_wants_and_final_follow_the_state() -> None:
    assert list(TRANSFER.wants(Sending(order=order()))) == ["send"]
    assert TRANSFER.wants(Arrived(order=order())) == {}
    assert TRANSFER.is_final(Arrived(order=order()))
    assert not TRANSFER.is_final(Unborn())
    assert not ACCOUNT.is_final(Open())


def test_evolve_reaches_every_state() -> None:
    sending = TRANSFER.evolve(Unborn(), Begun(order=order()))
    assert sending == Sending(order=order(), attempt=1)
    assert TRANSFER.evolve(sending, Delivered()) == Arrived(order=order())
    assert ACCOUNT.evolve(Open(balance=3), Credited(amount=4)) == Open(balance=7)
    assert type(TRANSFER.evolve(sending, Reversed(why="closed"))).__name__ == "Returned"


def test_stream_names_are_a_kind_and_an_id() -> None:
    assert kind_of("account/a/b") == "account"
    for wrong in ("account", "/a", "account/", ""):
        with pytest.raises(FatalError, match="not a stream name"):
            kind_of(wrong)


def test_a_debit_tells_the_limit() -> None:
    decision = ACCOUNT.decide(Open(), Debit(amount=5))
    assert [tell.stream for tell in decision.tells] == ["limit/all"]
