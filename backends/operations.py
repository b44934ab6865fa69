"""The operator's part of the interface to a Lightning node: invoices, coins, channels, peers.

None of it is part of a payment of a federation. Calls that the node knows no key for (sending coins,
opening a channel) come with a way to find out afterwards whether they happened.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol, TypeVar

import msgspec

from backends.abilities import Abilities
from backends.lightning import LightningNode, NodeRefusedError

T = TypeVar("T")

InvoiceStatus = Literal["Pending", "Succeeded", "Failed"]

#: How long a call may be on its way to a node that answers others; every backend must keep to it. LND gives a peer who
#: is to open a channel ten minutes, and a connection whose other end is gone is closed long before.
CALL_ASTRAY_S = 3_600


class InvoiceRecord(msgspec.Struct, frozen=True):
    """An invoice of the node. `preimage` is 32 bytes once it is known."""

    payment_hash: bytes
    preimage: bytes | None
    amount_msat: int
    created_unix_s: int
    status: InvoiceStatus

    def __repr__(self) -> str:
        """Leave the preimage out."""
        return f"InvoiceRecord({self.payment_hash.hex()}, {self.status})"


class NodeTransaction(msgspec.Struct, frozen=True):
    """A payment that the node made or got."""

    payment_hash: bytes | None
    preimage: bytes | None
    kind: Literal["Bolt11", "Bolt12Offer", "Bolt12Refund", "Onchain"]
    amount_msat: int
    direction: Literal["Outbound", "Inbound"]
    status: InvoiceStatus
    unix_s: int

    def __repr__(self) -> str:
        """Leave the preimage out."""
        return f"NodeTransaction({self.kind}, {self.direction}, {self.amount_msat} msat)"


class OnchainOrder(msgspec.Struct, frozen=True):
    """Coins to send from the node's wallet; `amount_sat` None sends all of them.

    `label` is unique for this order; the node stores it with the transaction.
    """

    address: str
    amount_sat: int | None
    sat_per_vbyte: int
    label: str


class ChannelOrder(msgspec.Struct, frozen=True):
    """A channel to open with the peer at `host` ("name:port"). The fees are our side's policy."""

    public_key: str
    host: str
    capacity_sat: int
    push_sat: int
    sat_per_vbyte: int | None
    base_fee_msat: int | None
    parts_per_million: int | None


class Channel(
    msgspec.Struct,
    frozen=True,
    rename={
        "remote_public_key": "remote_pubkey",
        "capacity_sat": "channel_size_sats",
        "outbound_sat": "outbound_liquidity_sats",
        "inbound_sat": "inbound_liquidity_sats",
        "funding_out_point": "funding_outpoint",
        "remote_alias": "remote_node_alias",
    },
):
    """An open channel, in JSON with the names of `ChannelInfo` (fedimint-gateway-common src/lib.rs).

    `funding_out_point` is "txid:vout"; the fees are our side's; None stands for what the node does not tell.
    """

    remote_public_key: str
    capacity_sat: int
    outbound_sat: int
    inbound_sat: int
    is_active: bool
    funding_out_point: str | None
    remote_alias: str | None
    remote_address: str | None
    base_fee_msat: int | None
    parts_per_million: int | None


class NodeOperations(Protocol):
    """Every method may raise NodeUnansweredError and NodeRefusedError, as those of LightningNode."""

    async def invoice(self, payment_hash: bytes) -> InvoiceRecord | None:
        """Look an invoice of this node up."""
        ...

    async def transactions(self, start_unix_s: int, end_unix_s: int) -> tuple[NodeTransaction, ...]:
        """What was paid or received in start <= time <= end, oldest first."""
        ...

    async def payments_since(self, start_unix_s: int) -> tuple[NodeTransaction, ...]:
        """Payments begun at that time or later, by the node's clock, whatever became of them, oldest first."""
        ...

    async def onchain_address(self) -> str:
        """A fresh address of the node's wallet."""
        ...

    async def send_onchain(self, order: OnchainOrder) -> str:
        """Send coins and return the txid. Not idempotent: see `sent_onchain`."""
        ...

    async def sent_onchain(self, label: str) -> str | None:
        """The txid of the transaction with this label, None when the node has none such."""
        ...

    async def open_channel(self, order: ChannelOrder) -> str:
        """Connect if needed, open a channel and return the funding txid. Not idempotent."""
        ...

    async def opened_channel(self, order: ChannelOrder) -> str | None:
        """The funding txid of a channel with this peer and capacity, pending or open; None when there is none."""
        ...

    async def close_channels(
        self, public_key: str, *, force: bool, sat_per_vbyte: int | None
    ) -> int:
        """Begin to close every channel with a peer and return how many there were."""
        ...

    async def channels(self) -> tuple[Channel, ...]:
        """All open channels."""
        ...

    async def set_channel_fees(
        self, funding_out_point: str, *, base_fee_msat: int, parts_per_million: int
    ) -> None:
        """Set our side's policy of one channel and keep the rest of it.

        NotFoundError without such a channel. One that is not confirmed yet is none, unless the node has the ability
        `pending_channel_fees`.
        """
        ...

    async def connect_peer(self, public_key: str, host: str) -> None:
        """Connect to a peer at "name:port"; being connected already is fine."""
        ...


class Node(LightningNode, NodeOperations, Protocol):
    """A Lightning node with everything the gateway uses of it."""

    @property
    def abilities(self) -> Abilities:
        """What this kind of node can do; asking sends nothing."""
        ...


async def close_each(channels: Sequence[T], close: Callable[[T], Awaitable[None]]) -> int:
    """Close one after the other and return how many there were; a refusal is raised after the last one.

    Raises what `close` raises; NodeRefusedError, which one channel may have alone, with a count of them.
    """
    refusals: list[NodeRefusedError] = []
    for channel in channels:
        try:
            await close(channel)
        except NodeRefusedError as refusal:
            refusals.append(refusal)
    if refusals:
        first = refusals[0]
        raise NodeRefusedError(
            first.code, f"{len(refusals)} of {len(channels)} channels stay open: {first.text}"
        )
    return len(channels)
