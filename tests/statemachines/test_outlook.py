"""Every open state says when it should be over, whose it is, whom it waits for and what to do."""

import pytest

from errors import FatalError
from fuzz.machines.scene import FEDERATION, facts
from statemachines import (
    ALL_MACHINES,
    OPEN_STATES,
    completion,
    node_order,
    outlook,
    send,
    transaction,
)
from statemachines.items import Reservation
from statemachines.outlook import OpenState


def test_an_open_state_without_outlook_is_refused() -> None:
    with pytest.raises(FatalError, match="open state Silent declares no outlook"):
        type("Silent", (OpenState,), {})


def test_every_open_state_is_a_machines_and_is_not_over() -> None:
    declared = {one for one in OpenState.__subclasses__() if one.__module__.startswith("state")}
    assert declared == set(OPEN_STATES)
    final = {state for machine in ALL_MACHINES for state in machine.final}
    first = {type(machine.initial) for machine in ALL_MACHINES}
    assert not (final | first) & declared


@pytest.mark.parametrize(
    "state", OPEN_STATES, ids=lambda state: f"{state.__module__} {state.__name__}"
)
def test_an_operator_is_told_whom_a_state_waits_for_and_what_to_do(state: type[OpenState]) -> None:
    assert state.outlook.waits_for
    assert state.outlook.what_to_do.endswith(".")


_RESERVATION = Reservation("tx/1", "send/1", FEDERATION, (), (), (), 0, 0)
_ORDER = node_order.SendCoins("", None, 1)


@pytest.mark.parametrize(
    ("state", "federation_id"),
    [
        (send.Accepted(facts=facts()), FEDERATION),
        (transaction.Reserved(reservation=_RESERVATION), FEDERATION),
        (
            completion.Cancelling(payment_hash="", federation_id=FEDERATION, amount_msat=1),
            FEDERATION,
        ),
        (node_order.Ordered(id="1", order=_ORDER), None),
    ],
)
def test_it_is_known_whose_money_it_is_and_when_it_is_due(
    state: OpenState, federation_id: str | None
) -> None:
    assert state.whose() == federation_id
    assert state.due_unix_s(5) == 5 + outlook.ANSWER_S
