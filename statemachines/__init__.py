"""The lifecycles of payments and transactions, one file each, pure."""

from engine.machine import Machine
from statemachines import federation, identity, image, send_rules, transaction, wallet

ALL_MACHINES: tuple[Machine, ...] = (
    identity.MACHINE,
    federation.MACHINE,
    wallet.MACHINE,
    transaction.MACHINE,
    image.MACHINE,
    send_rules.MACHINE,
)
