"""The lifecycles of payments and transactions, one file each, pure."""

from engine.machine import Machine
from statemachines import (
    completion,
    deposit,
    deposits,
    federation,
    gift,
    identity,
    image,
    node_order,
    operator_payment,
    receive_rules,
    reissue,
    send_rules,
    transaction,
    wallet_rules,
    withdrawal,
)
from statemachines.outlook import OpenState

ALL_MACHINES: tuple[Machine, ...] = (
    identity.MACHINE,
    federation.MACHINE,
    wallet_rules.MACHINE,
    transaction.MACHINE,
    deposits.MACHINE,
    deposit.MACHINE,
    image.MACHINE,
    send_rules.MACHINE,
    receive_rules.MACHINE,
    completion.MACHINE,
    withdrawal.MACHINE,
    gift.MACHINE,
    reissue.MACHINE,
    operator_payment.MACHINE,
    node_order.MACHINE,
)

#: The states of which some money, or an operator, waits for the next.
OPEN_STATES: tuple[type[OpenState], ...] = tuple(
    state for machine in ALL_MACHINES for state in machine.states if issubclass(state, OpenState)
)
