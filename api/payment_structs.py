"""Requests and responses that pay and receive for clients of a federation, as Rust 0.13 writes them.

Sources: fedimint-lnv2-common/src/gateway_api.rs and contracts.rs, fedimint-gateway-common/src/lib.rs and
federation_status.rs. Amounts are msat.
"""

from typing import Annotated, Literal

import msgspec

from api.structs import (
    Hash256Hex,
    Msats,
    PaymentFee,
    PublicKeyHex,
    SchnorrSignatureHex,
    Unsigned,
    Unsigned32,
)

# Points of BLS12-381, compressed.
G1Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{96}\\Z")]
G2Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{192}\\Z")]
Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]
# A u64 to its last bit: contracts of LNURL receives write 2^64-1 less the gateway's fee here. msgspec knows no bound
# that high; what is above is refused when the contract is encoded.
Expiration = Annotated[int, msgspec.Meta(ge=0)]
# As serde writes `[u8; 32]`.
ThirtyTwoIntegers = Annotated[tuple[Byte, ...], msgspec.Meta(min_length=32, max_length=32)]


class RoutingInfo(msgspec.Struct, frozen=True):
    """Answer of POST `/routing_info`, whose body is the federation id as a JSON string.

    The deltas are in blocks. The answer is null when the federation has no lnv2 module.
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


class OutPoint(msgspec.Struct, frozen=True):
    """Where the contract was funded; `txid` is a federation transaction, not reversed."""

    txid: Hash256Hex
    out_idx: Unsigned


class PaymentImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`{"Hash": …}` or `{"Point": …}`, never both; no Lightning payment has a point today."""

    hash: Hash256Hex | None = msgspec.field(name="Hash", default=None)
    point: PublicKeyHex | None = msgspec.field(name="Point", default=None)

    def __post_init__(self) -> None:
        if (self.hash is None) == (self.point is None):
            raise ValueError("Expected exactly one of `Hash` and `Point`")


class OutgoingContract(msgspec.Struct, frozen=True):
    """The lnv2 contract that the sender funded; `amount` in msat, `expiration` a block height."""

    payment_image: PaymentImage
    amount: Msats
    expiration: Expiration
    claim_pk: PublicKeyHex
    refund_pk: PublicKeyHex
    ephemeral_pk: PublicKeyHex


class Bolt11Invoice(msgspec.Struct, frozen=True):
    """The variant `{"Bolt11": …}` of `LightningInvoice`, the only one there is."""

    bolt11: str = msgspec.field(name="Bolt11")


class SendPaymentPayload(msgspec.Struct, frozen=True):
    """Body of POST `/send_payment`; `auth` is a BIP-340 signature of the contract's refund key."""

    federation_id: Hash256Hex
    outpoint: OutPoint
    contract: OutgoingContract
    invoice: Bolt11Invoice
    auth: SchnorrSignatureHex


class SendPaymentOk(msgspec.Struct, frozen=True):
    """The preimage as Rust writes `[u8; 32]`: 32 integers."""

    ok: tuple[int, ...] = msgspec.field(name="Ok")

    def __repr__(self) -> str:
        return "SendPaymentOk(…)"


class SendPaymentErr(msgspec.Struct, frozen=True):
    """The forfeit signature, 128 hex characters."""

    err: str = msgspec.field(name="Err")


class Commitment(msgspec.Struct, frozen=True):
    """What the ciphertext of an incoming contract is bound to; `expiration` is in Unix seconds."""

    payment_image: PaymentImage
    amount: Msats
    expiration: Expiration
    claim_pk: PublicKeyHex
    refund_pk: PublicKeyHex
    ephemeral_pk: PublicKeyHex


class CipherText(msgspec.Struct, frozen=True):
    """The preimage, encrypted to the guardians."""

    encrypted_preimage: ThirtyTwoIntegers
    pk: G1Hex
    signature: G2Hex


class IncomingContract(msgspec.Struct, frozen=True):
    """The lnv2 contract that a paid invoice funds."""

    commitment: Commitment
    ciphertext: CipherText


class InvoiceDescription(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
    """`{"Direct": …}` or `{"Hash": …}`, never both."""

    direct: str | None = msgspec.field(name="Direct", default=None)
    hash: Hash256Hex | None = msgspec.field(name="Hash", default=None)

    def __post_init__(self) -> None:
        if (self.direct is None) == (self.hash is None):
            raise ValueError("Expected exactly one of `Direct` and `Hash`")


class CreateBolt11InvoicePayload(msgspec.Struct, frozen=True):
    """Body of POST `/create_bolt11_invoice`; `amount` is the invoice's. The answer is the invoice as a string."""

    federation_id: Hash256Hex
    contract: IncomingContract
    amount: Msats
    description: InvoiceDescription
    expiry_secs: Unsigned32


class VerifyQuery(msgspec.Struct, frozen=True):
    """What the URL of GET `/verify/{payment_hash}` says; `?wait` counts whatever its value."""

    payment_hash: Hash256Hex
    wait: bool = False


class VerifyResponse(msgspec.Struct, frozen=True):
    """Answer of GET `/verify/{payment_hash}` as LUD-21 wants it; `preimage` in hex once settled."""

    settled: bool
    preimage: str | None
    status: Literal["OK"] = "OK"


class LnurlError(msgspec.Struct, frozen=True):
    """A refusal as LNURL wants it (LUD-06)."""

    reason: str
    status: Literal["ERROR"] = "ERROR"


class ReceiveEcashPayload(msgspec.Struct, frozen=True):
    """Body of POST `/receive_ecash`: ecash as text, which whoever holds it can spend."""

    notes: str

    def __repr__(self) -> str:
        return "ReceiveEcashPayload(…)"


class ReceiveEcashResponse(msgspec.Struct, frozen=True):
    """What the ecash was worth once it was ours."""

    amount: int


class ModuleVersion(msgspec.Struct, frozen=True):
    """Consensus version of a module."""

    major: int
    minor: int


class FederationManaged(msgspec.Struct, frozen=True, tag_field="mode", tag="federation_managed"):
    """Guardians list the gateways of lnv2; there is nothing for a gateway to register."""


class ModuleAbsent(msgspec.Struct, frozen=True, tag_field="module_status", tag="absent"):
    """The federation has no such module, or this gateway does not use it."""


class ModuleSupported(msgspec.Struct, frozen=True, tag_field="module_status", tag="supported"):
    """The gateway pays and receives through this module."""

    consensus_version: ModuleVersion
    registration: FederationManaged


class Unserved(msgspec.Struct, frozen=True, tag_field="federation_status", tag="unserved"):
    """Answer of POST `/federation_status` for a federation that is not served. Rust refuses further fields."""

    federation_id: str


class Served(msgspec.Struct, frozen=True, tag_field="federation_status", tag="served"):
    """Answer of POST `/federation_status` for a served one; degraded is fewer guardians than a threshold."""

    federation_id: str
    connectivity: Literal["disconnected", "degraded", "connected"]
    lnv1: ModuleAbsent
    lnv2: ModuleAbsent | ModuleSupported
