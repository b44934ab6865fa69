"""JSON forms of lnv2 contracts and of the requests clients send to a gateway.

Source: fedimint-lnv2-common src/gateway_api.rs and the serde derives of src/contracts.rs. Converting
to the types of `fedimint.lnv2` raises `DecodeError` on bad hex, keys off the curve and numbers
above 64 bits.
"""

import msgspec

from fedimint import lnv2
from fedimint.encoding import BYTES32, bytes_of_integers
from fedimint.errors import DecodeError
from fedimint.wire_types import (
    FEDERATION_ID,
    G1,
    G2,
    PUBLIC_KEY,
    SCHNORR_SIGNATURE,
    FederationId,
    OutPoint,
    OutPointJson,
    json_msat,
    json_u64,
)


class PaymentImageJson(msgspec.Struct, frozen=True, omit_defaults=True):
    """`{"Hash": hex}` or `{"Point": hex}`."""

    hash: str | None = msgspec.field(default=None, name="Hash")
    point: str | None = msgspec.field(default=None, name="Point")

    def decode(self) -> lnv2.PaymentImage:
        """Return the typed form."""
        if self.hash is not None and self.point is None:
            return lnv2.HashImage(BYTES32.decode_hex(self.hash))
        if self.point is not None and self.hash is None:
            return lnv2.PointImage(PUBLIC_KEY.decode_hex(self.point))
        raise DecodeError("a payment image is either a Hash or a Point")

    @classmethod
    def of(cls, image: lnv2.PaymentImage) -> "PaymentImageJson":
        """Return the JSON form."""
        if isinstance(image, lnv2.HashImage):
            return cls(hash=image.digest.hex())
        return cls(point=image.point.hex())


class OutgoingContractJson(msgspec.Struct, frozen=True):
    """An outgoing contract: `amount` in msat, `expiration` a block height, keys in hex."""

    payment_image: PaymentImageJson
    amount: int
    expiration: int
    claim_pk: str
    refund_pk: str
    ephemeral_pk: str

    def decode(self) -> lnv2.OutgoingContract:
        """Return the typed form."""
        return lnv2.OutgoingContract(
            self.payment_image.decode(),
            json_msat(self.amount),
            json_u64(self.expiration),
            PUBLIC_KEY.decode_hex(self.claim_pk),
            PUBLIC_KEY.decode_hex(self.refund_pk),
            PUBLIC_KEY.decode_hex(self.ephemeral_pk),
        )

    @classmethod
    def of(cls, contract: lnv2.OutgoingContract) -> "OutgoingContractJson":
        """Return the JSON form."""
        return cls(
            PaymentImageJson.of(contract.payment_image),
            contract.amount_msat,
            contract.expiration_block_height,
            contract.claim_pk.hex(),
            contract.refund_pk.hex(),
            contract.ephemeral_pk.hex(),
        )


class CommitmentJson(msgspec.Struct, frozen=True):
    """A commitment: `amount` in msat, `expiration` unix seconds (or an encoded fee), keys in hex."""

    payment_image: PaymentImageJson
    amount: int
    expiration: int
    claim_pk: str
    refund_pk: str
    ephemeral_pk: str

    def decode(self) -> lnv2.Commitment:
        """Return the typed form."""
        return lnv2.Commitment(
            self.payment_image.decode(),
            json_msat(self.amount),
            json_u64(self.expiration),
            PUBLIC_KEY.decode_hex(self.claim_pk),
            PUBLIC_KEY.decode_hex(self.refund_pk),
            PUBLIC_KEY.decode_hex(self.ephemeral_pk),
        )

    @classmethod
    def of(cls, commitment: lnv2.Commitment) -> "CommitmentJson":
        """Return the JSON form."""
        return cls(
            PaymentImageJson.of(commitment.payment_image),
            commitment.amount_msat,
            commitment.expiration_unix_s,
            commitment.claim_pk.hex(),
            commitment.refund_pk.hex(),
            commitment.ephemeral_pk.hex(),
        )


class CipherTextJson(msgspec.Struct, frozen=True):
    """A ciphertext: the masked preimage as 32 integers, G1 and G2 in hex."""

    encrypted_preimage: tuple[int, ...]
    pk: str
    signature: str

    def decode(self) -> lnv2.CipherText:
        """Return the typed form."""
        return lnv2.CipherText(
            bytes_of_integers(self.encrypted_preimage),
            G1.decode_hex(self.pk),
            G2.decode_hex(self.signature),
        )

    @classmethod
    def of(cls, ciphertext: lnv2.CipherText) -> "CipherTextJson":
        """Return the JSON form."""
        return cls(
            tuple(ciphertext.encrypted_preimage), ciphertext.pk.hex(), ciphertext.signature.hex()
        )


class IncomingContractJson(msgspec.Struct, frozen=True):
    """An incoming contract."""

    commitment: CommitmentJson
    ciphertext: CipherTextJson

    def decode(self) -> lnv2.IncomingContract:
        """Return the typed form."""
        return lnv2.IncomingContract(self.commitment.decode(), self.ciphertext.decode())

    @classmethod
    def of(cls, contract: lnv2.IncomingContract) -> "IncomingContractJson":
        """Return the JSON form."""
        return cls(CommitmentJson.of(contract.commitment), CipherTextJson.of(contract.ciphertext))


class LightningInvoiceJson(msgspec.Struct, frozen=True):
    """`{"Bolt11": "ln…"}`."""

    bolt11: str = msgspec.field(name="Bolt11")


class SendPayment(msgspec.Struct, frozen=True):
    """A request to pay an invoice against an outgoing contract; `auth` has 64 bytes."""

    federation_id: FederationId
    out_point: OutPoint
    contract: lnv2.OutgoingContract
    invoice: lnv2.LightningInvoice
    auth: bytes


class SendPaymentJson(msgspec.Struct, frozen=True):
    """Body of POST `/send_payment`."""

    federation_id: str
    outpoint: OutPointJson
    contract: OutgoingContractJson
    invoice: LightningInvoiceJson
    auth: str

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
    def of(cls, request: SendPayment) -> "SendPaymentJson":
        """Return the JSON form."""
        return cls(
            request.federation_id.hex(),
            OutPointJson.of(request.out_point),
            OutgoingContractJson.of(request.contract),
            LightningInvoiceJson(request.invoice.bolt11),
            request.auth.hex(),
        )


class InvoiceDescriptionJson(msgspec.Struct, frozen=True, omit_defaults=True):
    """`{"Direct": text}` or `{"Hash": hex}`."""

    direct: str | None = msgspec.field(default=None, name="Direct")
    hash: str | None = msgspec.field(default=None, name="Hash")

    def decode(self) -> str | bytes:
        """Return the text, or the 32 bytes of its hash."""
        if self.direct is not None and self.hash is None:
            return self.direct
        if self.hash is not None and self.direct is None:
            return BYTES32.decode_hex(self.hash)
        raise DecodeError("a description is either Direct or a Hash")


class CreateBolt11InvoiceJson(msgspec.Struct, frozen=True):
    """Body of POST `/create_bolt11_invoice`; `amount` in msat."""

    federation_id: str
    contract: IncomingContractJson
    amount: int
    description: InvoiceDescriptionJson
    expiry_secs: int
