"""Wire types of the lnv2 module: contracts, inputs, outputs, witnesses, errors.

Source: fedimint-lnv2-common src/lib.rs, src/contracts.rs; fedimint-tpe src/lib.rs.
"""

import hashlib

import msgspec

from fedimint.codec import secp
from fedimint.codec.encoding import (
    BYTES32,
    STRING,
    U64,
    Codec,
    StructCodec,
    UnknownVariant,
    enum,
    struct,
)
from fedimint.codec.wire_types import (
    AMOUNT_MSAT,
    G1,
    G2,
    OUT_POINT,
    PUBLIC_KEY,
    SCHNORR_SIGNATURE,
    ContractId,
    ModuleError,
    OutPoint,
    consensus_hash,
    module_errors,
)

KIND = "lnv2"


class HashImage(msgspec.Struct, frozen=True, tag="hash"):
    """The payment hash: sha256 of the preimage, 32 bytes."""

    digest: bytes


class PointImage(msgspec.Struct, frozen=True, tag="point"):
    """The payment point: the preimage is its secret key; 33 bytes."""

    point: bytes


PaymentImage = HashImage | PointImage

PAYMENT_IMAGE: Codec[PaymentImage] = enum(
    {0: struct(HashImage, digest=BYTES32), 1: struct(PointImage, point=PUBLIC_KEY)}
)


def is_preimage(image: PaymentImage, preimage: bytes) -> bool:
    """Tell whether `preimage` (32 bytes) opens `image`."""
    if isinstance(image, HashImage):
        return len(preimage) == 32 and hashlib.sha256(preimage).digest() == image.digest
    return secp.is_valid_secret(preimage) and secp.public_key(preimage) == image.point


class Commitment(msgspec.Struct, frozen=True):
    """What an incoming contract's ciphertext is bound to.

    `expiration_unix_s` holds 2^64-1 less the gateway fee (msat) for LNURL receives.
    """

    payment_image: PaymentImage
    amount_msat: int
    expiration_unix_s: int
    claim_pk: bytes
    refund_pk: bytes
    ephemeral_pk: bytes


COMMITMENT: StructCodec[Commitment] = struct(
    Commitment,
    payment_image=PAYMENT_IMAGE,
    amount_msat=AMOUNT_MSAT,
    expiration_unix_s=U64,
    claim_pk=PUBLIC_KEY,
    refund_pk=PUBLIC_KEY,
    ephemeral_pk=PUBLIC_KEY,
)


class CipherText(msgspec.Struct, frozen=True):
    """A threshold-encrypted preimage: 32 bytes masked, ephemeral key (G1), its signature (G2)."""

    encrypted_preimage: bytes
    pk: bytes
    signature: bytes


CIPHER_TEXT: StructCodec[CipherText] = struct(
    CipherText, encrypted_preimage=BYTES32, pk=G1, signature=G2
)


class IncomingContract(msgspec.Struct, frozen=True):
    """A contract that sells a preimage to its funder."""

    commitment: Commitment
    ciphertext: CipherText

    def contract_id(self) -> ContractId:
        """Return sha256 of the encoding."""
        return ContractId(consensus_hash(INCOMING_CONTRACT.encode(self)))

    def commitment_hash(self) -> bytes:
        """Return sha256 of the encoded commitment, which the ciphertext is bound to."""
        return consensus_hash(COMMITMENT.encode(self.commitment))


INCOMING_CONTRACT: StructCodec[IncomingContract] = struct(
    IncomingContract, commitment=COMMITMENT, ciphertext=CIPHER_TEXT
)


class OutgoingContract(msgspec.Struct, frozen=True):
    """A contract that pays a gateway for a preimage until `expiration_block_height`."""

    payment_image: PaymentImage
    amount_msat: int
    expiration_block_height: int
    claim_pk: bytes
    refund_pk: bytes
    ephemeral_pk: bytes

    def contract_id(self) -> ContractId:
        """Return sha256 of the encoding; also the message of a forfeit signature."""
        return ContractId(consensus_hash(OUTGOING_CONTRACT.encode(self)))


OUTGOING_CONTRACT: StructCodec[OutgoingContract] = struct(
    OutgoingContract,
    payment_image=PAYMENT_IMAGE,
    amount_msat=AMOUNT_MSAT,
    expiration_block_height=U64,
    claim_pk=PUBLIC_KEY,
    refund_pk=PUBLIC_KEY,
    ephemeral_pk=PUBLIC_KEY,
)


class Claim(msgspec.Struct, frozen=True, tag="claim"):
    """The gateway claims an outgoing contract with the preimage (32 bytes)."""

    preimage: bytes

    def __repr__(self) -> str:
        return "Claim(preimage=…)"


class Refund(msgspec.Struct, frozen=True, tag="refund"):
    """The sender takes an expired outgoing contract back."""


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """The sender takes an outgoing contract back with the gateway's forfeit signature."""

    forfeit_signature: bytes


OutgoingWitness = Claim | Refund | Cancel

OUTGOING_WITNESS: Codec[OutgoingWitness] = enum(
    {
        0: struct(Claim, preimage=BYTES32),
        1: struct(Refund),
        2: struct(Cancel, forfeit_signature=SCHNORR_SIGNATURE),
    }
)


class OutgoingInput(msgspec.Struct, frozen=True, tag="outgoing"):
    """Spends an outgoing contract; signed by its claim key (Claim) or refund key."""

    out_point: OutPoint
    witness: OutgoingWitness


class IncomingInput(msgspec.Struct, frozen=True, tag="incoming"):
    """Spends an incoming contract, with the aggregate decryption key (G1).

    Signed by the claim key if the key decrypts to the preimage, else by the refund key.
    """

    out_point: OutPoint
    aggregate_decryption_key: bytes

    def __repr__(self) -> str:
        return f"IncomingInput(out_point={self.out_point!r}, aggregate_decryption_key=…)"


LightningInputV0 = OutgoingInput | IncomingInput


class InputV0(msgspec.Struct, frozen=True, tag="v0"):
    """The only known version of an input."""

    inner: LightningInputV0


Input = InputV0 | UnknownVariant

_INPUT_V0: Codec[LightningInputV0] = enum(
    {
        0: struct(OutgoingInput, out_point=OUT_POINT, witness=OUTGOING_WITNESS),
        1: struct(IncomingInput, out_point=OUT_POINT, aggregate_decryption_key=G1),
    }
)
INPUT: Codec[Input] = enum({0: struct(InputV0, inner=_INPUT_V0)}, extensible=True)


class OutgoingOutput(msgspec.Struct, frozen=True, tag="outgoing"):
    """Funds an outgoing contract with its amount."""

    contract: OutgoingContract


class IncomingOutput(msgspec.Struct, frozen=True, tag="incoming"):
    """Funds an incoming contract with its amount."""

    contract: IncomingContract


LightningOutputV0 = OutgoingOutput | IncomingOutput


class OutputV0(msgspec.Struct, frozen=True, tag="v0"):
    """The only known version of an output."""

    inner: LightningOutputV0


Output = OutputV0 | UnknownVariant

_OUTPUT_V0: Codec[LightningOutputV0] = enum(
    {
        0: struct(OutgoingOutput, contract=OUTGOING_CONTRACT),
        1: struct(IncomingOutput, contract=INCOMING_CONTRACT),
    }
)
OUTPUT: Codec[Output] = enum({0: struct(OutputV0, inner=_OUTPUT_V0)}, extensible=True)


class OutputOutcome(msgspec.Struct, frozen=True):
    """The outcome of an output: empty, zero bytes."""


OUTPUT_OUTCOME: StructCodec[OutputOutcome] = struct(OutputOutcome)


class LightningInvoice(msgspec.Struct, frozen=True, tag="bolt11"):
    """A BOLT11 invoice as text (the only variant of the enum of this name)."""

    bolt11: str

    def auth_digest(self) -> bytes:
        """Return the 32 bytes the sender signs with the refund key in `/send_payment`."""
        return consensus_hash(LIGHTNING_INVOICE.encode(self))


LIGHTNING_INVOICE: Codec[LightningInvoice] = enum({0: struct(LightningInvoice, bolt11=STRING)})

INPUT_ERROR: Codec[ModuleError] = module_errors(
    {
        0: ("UnknownInputVariant", U64),
        1: ("UnknownContract",),
        2: ("InvalidPreimage",),
        3: ("Expired",),
        4: ("NotExpired",),
        5: ("InvalidDecryptionKey",),
        6: ("InvalidForfeitSignature",),
    }
)
OUTPUT_ERROR: Codec[ModuleError] = module_errors(
    {
        0: ("UnknownOutputVariant", U64),
        1: ("InvalidContract",),
        2: ("ContractExpired",),
    }
)
