"""The gateway API: what lnv2 clients and gateways say to each other over HTTP.

Source: fedimint-lnv2-common src/gateway_api.rs, and what the Rust gateway 0.13 was recorded to answer. A body is first
JSON, of which msgspec refuses another shape, and then typed: `decode` raises `DecodeError` for keys off the curve and
integers above 64 bits.
"""

from typing import Final

import msgspec

from errors import ConfigError, PeerError
from fedimint import lnv2
from fedimint.codec.encoding import BYTES32, bytes_of_integers
from fedimint.codec.errors import DecodeError
from fedimint.codec.json_types import (
    Hash256Hex,
    Msats,
    OutPointJson,
    SchnorrSignatureHex,
    Unsigned32,
    json_msat,
)
from fedimint.codec.wire_types import FEDERATION_ID, SCHNORR_SIGNATURE, FederationId, OutPoint
from fedimint.lnv2.json import IncomingContractJson, OutgoingContractJson

_U64_MAX: Final = (1 << 64) - 1


# --- `/routing_info` ---


class PaymentFee(msgspec.Struct, frozen=True):
    """`base` in msat plus a share of the amount; every step saturates at 64 bits, as upstream's does."""

    base: int
    parts_per_million: int

    def __add__(self, other: "PaymentFee") -> "PaymentFee":
        return PaymentFee(self.base + other.base, self.parts_per_million + other.parts_per_million)

    def fee_msat(self, amount_msat: int) -> int:
        """Return the absolute fee on an amount."""
        relative_msat = min(amount_msat * self.parts_per_million, _U64_MAX) // 1_000_000
        return min(relative_msat + self.base, _U64_MAX)

    def add_to(self, amount_msat: int) -> int:
        """Return the amount with the fee on top, msat: what a sender's contract must hold."""
        return min(amount_msat + self.fee_msat(amount_msat), _U64_MAX)

    def subtract_from(self, amount_msat: int) -> int:
        """Return what the fee leaves of the amount, msat: what a receiver's contract holds; 0 when it takes all."""
        return max(0, amount_msat - self.fee_msat(amount_msat))


#: Clients refuse a gateway that asks for more, so it must not start with more.
SEND_FEE_LIMIT = PaymentFee(100_000, 15_000)
RECEIVE_FEE_LIMIT = PaymentFee(50_000, 5_000)


def check_limits(lightning: PaymentFee, transaction: PaymentFee) -> None:
    """Raises ConfigError, in upstream's words, for fees that every client would refuse."""
    if not _within(lightning + transaction, SEND_FEE_LIMIT):
        raise ConfigError(f"Total Send fees exceeded {_text(SEND_FEE_LIMIT)}")
    if not _within(transaction, RECEIVE_FEE_LIMIT):
        raise ConfigError(f"Transaction fees exceeded RECEIVE LIMIT {_text(RECEIVE_FEE_LIMIT)}")


def _within(fee: PaymentFee, limit: PaymentFee) -> bool:
    return fee.base <= limit.base and fee.parts_per_million <= limit.parts_per_million


def _text(fee: PaymentFee) -> str:
    return f"{fee.base} msat,{fee.parts_per_million}"


class RoutingInfo(msgspec.Struct, frozen=True):
    """Answer of POST `/routing_info`, whose body is the federation id as a JSON string.

    Keys are hex, the deltas are in blocks. The answer is null when the federation has no lnv2 module.
    """

    lightning_public_key: str
    lightning_alias: str
    module_public_key: str
    send_fee_minimum: PaymentFee
    send_fee_default: PaymentFee
    expiration_delta_minimum: int
    expiration_delta_default: int
    receive_fee: PaymentFee
    receive_enabled: bool

    def send_fee(self, payee: bytes) -> PaymentFee:
        """Return the fee for an invoice signed by `payee`; the gateway's own are swaps."""
        return self.send_fee_minimum if self._is_own(payee) else self.send_fee_default

    def expiration_delta_blocks(self, payee: bytes) -> int:
        """Return how long a contract for an invoice signed by `payee` has to last."""
        if self._is_own(payee):
            return self.expiration_delta_minimum
        return self.expiration_delta_default

    def _is_own(self, payee: bytes) -> bool:
        return payee.hex() == self.lightning_public_key


def parse_routing_info(json: bytes) -> RoutingInfo | None:
    """Read the answer to `/routing_info`, null for an unserved federation. Raises PeerError."""
    try:
        return msgspec.json.decode(json, type=RoutingInfo | None)
    except msgspec.DecodeError as error:
        raise PeerError(f"the gateway's routing info is malformed: {error}") from error


# --- `/send_payment` ---


class LightningInvoiceJson(msgspec.Struct, frozen=True):
    """The variant `{"Bolt11": "ln…"}` of `LightningInvoice`, the only one there is."""

    bolt11: str = msgspec.field(name="Bolt11")


class SendPayment(msgspec.Struct, frozen=True):
    """A request to pay an invoice against an outgoing contract; `auth` has 64 bytes."""

    federation_id: FederationId
    out_point: OutPoint
    contract: lnv2.OutgoingContract
    invoice: lnv2.LightningInvoice
    auth: bytes


class SendPaymentPayload(msgspec.Struct, frozen=True):
    """Body of POST `/send_payment`; `auth` is a BIP-340 signature of the contract's refund key."""

    federation_id: Hash256Hex
    outpoint: OutPointJson
    contract: OutgoingContractJson
    invoice: LightningInvoiceJson
    auth: SchnorrSignatureHex

    def decode(self) -> SendPayment:
        """Return the typed form."""
        return SendPayment(
            FEDERATION_ID.decode_hex(self.federation_id),
            self.outpoint.to_out_point(),
            self.contract.decode(),
            lnv2.LightningInvoice(self.invoice.bolt11),
            SCHNORR_SIGNATURE.decode_hex(self.auth),
        )

    @classmethod
    def of(cls, request: SendPayment) -> "SendPaymentPayload":
        """Return the JSON form."""
        return cls(
            request.federation_id.hex(),
            OutPointJson.of(request.out_point),
            OutgoingContractJson.of(request.contract),
            LightningInvoiceJson(request.invoice.bolt11),
            request.auth.hex(),
        )


class Paid(msgspec.Struct, frozen=True):
    """The gateway says that it paid: 32 bytes, which a client still has to check."""

    preimage: bytes

    def __repr__(self) -> str:
        return "Paid(preimage=…)"


class Forfeited(msgspec.Struct, frozen=True):
    """The gateway gives the contract up for good: 64 bytes that return it to its sender, who still has to check."""

    signature: bytes

    def __repr__(self) -> str:
        return "Forfeited(signature=…)"


class SendPaymentOk(msgspec.Struct, frozen=True):
    """The preimage as Rust writes `[u8; 32]`: 32 integers."""

    ok: tuple[int, ...] = msgspec.field(name="Ok")

    def __repr__(self) -> str:
        return "SendPaymentOk(…)"


class SendPaymentErr(msgspec.Struct, frozen=True):
    """The forfeit signature, 128 hex characters."""

    err: str = msgspec.field(name="Err")


def send_answer(outcome: Paid | Forfeited) -> SendPaymentOk | SendPaymentErr:
    """Return the JSON form of how a payment ended."""
    if isinstance(outcome, Paid):
        return SendPaymentOk(tuple(outcome.preimage))
    return SendPaymentErr(outcome.signature.hex())


def parse_send_answer(json: bytes) -> Paid | Forfeited:
    """Read the success body of `/send_payment`. Raises PeerError."""
    try:
        if json.lstrip().startswith(b'{"Ok"'):
            return Paid(bytes_of_integers(msgspec.json.decode(json, type=SendPaymentOk).ok))
        signature = msgspec.json.decode(json, type=SendPaymentErr).err
        return Forfeited(SCHNORR_SIGNATURE.decode_hex(signature))
    except (msgspec.DecodeError, DecodeError) as error:
        raise PeerError("the gateway's answer to a payment is malformed") from error


# --- `/create_bolt11_invoice` ---


class InvoiceDescriptionJson(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
    """`{"Direct": text}` or `{"Hash": hex}`, never both."""

    direct: str | None = msgspec.field(default=None, name="Direct")
    hash: Hash256Hex | None = msgspec.field(default=None, name="Hash")

    def __post_init__(self) -> None:
        if (self.direct is None) == (self.hash is None):
            raise ValueError("Expected exactly one of `Direct` and `Hash`")

    def decode(self) -> str | bytes:
        """Return the text, or the 32 bytes of its hash."""
        return BYTES32.decode_hex(self.hash) if self.hash is not None else self.direct or ""


class CreateInvoice(msgspec.Struct, frozen=True):
    """A request for an invoice whose payment funds the contract; `description` is a text, or its hash of 32 bytes."""

    federation_id: FederationId
    contract: lnv2.IncomingContract
    amount_msat: int
    description: str | bytes
    expiry_s: int


class CreateBolt11InvoicePayload(msgspec.Struct, frozen=True):
    """Body of POST `/create_bolt11_invoice`; `amount` is the invoice's, msat. The answer is the invoice as a string."""

    federation_id: Hash256Hex
    contract: IncomingContractJson
    amount: Msats
    description: InvoiceDescriptionJson
    expiry_secs: Unsigned32

    def decode(self) -> CreateInvoice:
        """Return the typed form."""
        return CreateInvoice(
            FEDERATION_ID.decode_hex(self.federation_id),
            self.contract.decode(),
            json_msat(self.amount),
            self.description.decode(),
            self.expiry_secs,
        )
