"""Requests and responses of the operator about the Lightning node, as Rust 0.13 writes them.

Source: fedimint-gateway-common/src/lib.rs.
"""

from typing import Annotated, Literal

import msgspec

from api.structs import SatsPerVbyte
from api.treasury_structs import AmountOrAll, BitcoinAddress
from fedimint.codec.json_types import (
    Hash256Hex,
    Msats,
    PublicKeyHex,
    Satoshis,
    Unsigned,
    Unsigned32,
)
from gateway.views import SystemTime

# Forms of web pages send numbers as text and leave them empty.
OptionalNumber = Unsigned | Annotated[str, msgspec.Meta(pattern="^\\s*[0-9]{0,18}\\s*\\Z")] | None
BitcoinOutPoint = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{64}:(0|[1-9][0-9]{0,9})\\Z")]
PaymentStatus = Literal["Pending", "Succeeded", "Failed"]


class CreateInvoiceForOperatorPayload(msgspec.Struct, frozen=True):
    """Body of POST `/create_bolt11_invoice_for_operator`; the answer is the invoice as a string."""

    amount_msats: Msats
    expiry_secs: Unsigned32 | None = None
    description: str | None = None


class PayInvoiceForOperatorPayload(msgspec.Struct, frozen=True):
    """Body of POST `/pay_invoice_for_operator`; the answer is the preimage in hex."""

    invoice: str


class CreateOfferPayload(msgspec.Struct, frozen=True):
    """Body of POST `/create_bolt12_offer_for_operator`."""

    amount: Msats | None = None
    description: str | None = None
    expiry_secs: Unsigned32 | None = None
    quantity: Unsigned | None = None


class PayOfferPayload(msgspec.Struct, frozen=True):
    """Body of POST `/pay_offer_for_operator`."""

    offer: str
    amount: Msats | None = None
    quantity: Unsigned | None = None
    payer_note: str | None = None


class GetInvoiceRequest(msgspec.Struct, frozen=True):
    """Body of POST `/get_invoice`."""

    payment_hash: Hash256Hex


class GetInvoiceResponse(msgspec.Struct, frozen=True):
    """Answer of POST `/get_invoice`, null when the node has no such invoice."""

    preimage: str | None
    payment_hash: str | None
    amount: int
    created_at: SystemTime
    status: PaymentStatus

    def __repr__(self) -> str:
        """Leave the preimage out."""
        return f"GetInvoiceResponse({self.payment_hash}, {self.status})"


class ListTransactionsPayload(msgspec.Struct, frozen=True):
    """Body of POST `/list_transactions`, in Unix seconds."""

    start_secs: Unsigned
    end_secs: Unsigned


class PaymentDetails(msgspec.Struct, frozen=True):
    """One payment of the node."""

    payment_hash: str | None
    preimage: str | None
    payment_kind: Literal["Bolt11", "Bolt12Offer", "Bolt12Refund", "Onchain"]
    amount: int
    direction: Literal["Outbound", "Inbound"]
    status: PaymentStatus
    timestamp_secs: int

    def __repr__(self) -> str:
        """Leave the preimage out."""
        return f"PaymentDetails({self.payment_kind}, {self.direction}, {self.amount} msat)"


class ListTransactionsResponse(msgspec.Struct, frozen=True):
    """Answer of POST `/list_transactions`, oldest first."""

    transactions: tuple[PaymentDetails, ...]


class SendOnchainRequest(msgspec.Struct, frozen=True):
    """Body of POST `/send_onchain`; the answer is the txid as a string."""

    address: BitcoinAddress
    amount: AmountOrAll
    fee_rate_sats_per_vbyte: SatsPerVbyte


class OpenChannelRequest(msgspec.Struct, frozen=True):
    """Body of POST `/open_channel`, which pushes nothing, and `/open_channel_with_push`.

    The answer is the funding txid as a string.
    """

    pubkey: PublicKeyHex
    host: str
    channel_size_sats: Satoshis
    push_amount_sats: Satoshis
    fee_rate_sats_per_vbyte: OptionalNumber = None
    base_fee_msat: OptionalNumber = None
    parts_per_million: OptionalNumber = None


class ConnectPeerRequest(msgspec.Struct, frozen=True):
    """Body of POST `/connect_peer`: `pubkey@host[:port]`."""

    node_address: str


class CloseChannelsWithPeerRequest(msgspec.Struct, frozen=True):
    """Body of POST `/close_channels_with_peer`."""

    pubkey: PublicKeyHex
    force: bool = False
    sats_per_vbyte: SatsPerVbyte | None = None


class CloseChannelsWithPeerResponse(msgspec.Struct, frozen=True):
    """How many channels began to close."""

    num_channels_closed: int


class SetChannelFeesRequest(msgspec.Struct, frozen=True):
    """Body of POST `/set_channel_fees`; the channel as `txid:vout`."""

    funding_outpoint: BitcoinOutPoint
    base_fee_msat: Unsigned
    parts_per_million: Unsigned


class ReplaceNodePayload(msgspec.Struct, frozen=True):
    """Body of POST `/replace_node`, which Rust does not have: the public key of the node that is gone.

    Without it nothing is done, and the answer says what it would mean.
    """

    gone_node: PublicKeyHex | None = None


class DismissPayload(msgspec.Struct, frozen=True):
    """Body of POST `/dismiss` and `/retry`, which Rust does not have: a stream as `/info` shows it."""

    stream: Annotated[str, msgspec.Meta(max_length=200)]


class DismissResponse(msgspec.Struct, frozen=True):
    """The stream and the state that it is in now."""

    stream: str
    state: str
