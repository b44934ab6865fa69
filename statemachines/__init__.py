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
