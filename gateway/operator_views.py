"""What the operator asks of the Lightning node through the gateway, and what comes back.

Channels, invoices and transactions are those of `backends/operations.py`, named here for the API.
"""

import msgspec

from backends.operations import Channel, ChannelOrder, InvoiceRecord, NodeTransaction

__all__ = [
    "Channel",
    "ChannelOrder",
    "InvoiceRecord",
    "NodeReplacement",
    "NodeTransaction",
    "OnchainRequest",
    "OperatorInvoiceRequest",
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


class OnchainRequest(msgspec.Struct, frozen=True):
    """Coins to send from the node's wallet; `amount_sat` None sends all of them."""

    address: str
    amount_sat: int | None
    sat_per_vbyte: int
