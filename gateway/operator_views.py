"""The operator's requests about the Lightning node, and their answers.

Channels, invoices and transactions are those of `backends/operations.py`, orders those that are recorded
(`statemachines/node_order.py`); they are named here for the API.
"""

import msgspec

from backends.operations import Channel, InvoiceRecord, NodeTransaction
from statemachines.node_order import OpenChannel, SendCoins

__all__ = [
    "Channel",
    "InvoiceRecord",
    "NodeReplacement",
    "NodeTransaction",
    "OpenChannel",
    "OperatorInvoiceRequest",
    "SendCoins",
]


class OperatorInvoiceRequest(msgspec.Struct, frozen=True):
    """An invoice that pays the node itself, with no federation behind it."""

    amount_msat: int
    expiry_s: int
    description: str


class NodeReplacement(msgspec.Struct, frozen=True):
    """One node in the place of another (public keys, hex), or what that would mean; `gives_up` are sentences.

    The answer of POST `/replace_node`.
    """

    old_node: str
    new_node: str
    is_replaced: bool
    gives_up: tuple[str, ...]
