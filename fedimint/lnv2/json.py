"""JSON forms of lnv2 contracts.

Source: the serde derives of fedimint-lnv2-common src/contracts.rs. msgspec refuses what has another shape; `decode`
then raises `DecodeError` for keys off the curve and integers above 64 bits.
"""

from typing import Self

import msgspec

from fedimint import lnv2
from fedimint.codec.encoding import BYTES32, bytes_of_integers
from fedimint.codec.json_types import (
    G1Hex,
    G2Hex,
    Hash256Hex,
    Msats,
    PublicKeyHex,
    ThirtyTwoIntegers,
    Unsigned64,
    json_msat,
    json_u64,
)
from fedimint.codec.wire_types import G1, G2, PUBLIC_KEY


class PaymentImageJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`{"Hash": hex}` or `{"Point": hex}`, never both; no Lightning payment has a point today."""

    hash: Hash256Hex | None = msgspec.field(default=None, name="Hash")
    point: PublicKeyHex | None = msgspec.field(default=None, name="Point")

    def __post_init__(self) -> None:
        if (self.hash is None) == (self.point is None):
            raise ValueError("Expected exactly one of `Hash` and `Point`")

    def decode(self) -> lnv2.PaymentImage:
        """Return the typed form."""
        if self.hash is not None:
            return lnv2.HashImage(BYTES32.decode_hex(self.hash))
        return lnv2.PointImage(PUBLIC_KEY.decode_hex(self.point or ""))

    @classmethod
    def of(cls, image: lnv2.PaymentImage) -> "PaymentImageJson":
        """Return the JSON form."""
        if isinstance(image, lnv2.HashImage):
            return cls(hash=image.digest.hex())
        return cls(point=image.point.hex())


class _TermsJson(msgspec.Struct, frozen=True):
    """What both kinds of contract say of themselves: `amount` in msat; what `expiration` counts is theirs."""

    payment_image: PaymentImageJson
    amount: Msats
    expiration: Unsigned64
    claim_pk: PublicKeyHex
    refund_pk: PublicKeyHex
    ephemeral_pk: PublicKeyHex

    def _typed(self) -> tuple[lnv2.PaymentImage, int, int, bytes, bytes, bytes]:
        return (
            self.payment_image.decode(),
            json_msat(self.amount),
            json_u64(self.expiration),
            PUBLIC_KEY.decode_hex(self.claim_pk),
            PUBLIC_KEY.decode_hex(self.refund_pk),
            PUBLIC_KEY.decode_hex(self.ephemeral_pk),
        )

    @classmethod
    def _of(cls, terms: lnv2.OutgoingContract | lnv2.Commitment, expiration: int) -> Self:
        return cls(
            PaymentImageJson.of(terms.payment_image),
            terms.amount_msat,
            expiration,
            terms.claim_pk.hex(),
            terms.refund_pk.hex(),
            terms.ephemeral_pk.hex(),
        )


class OutgoingContractJson(_TermsJson, frozen=True):
    """The contract that a sender funded: `expiration` is a block height."""

    def decode(self) -> lnv2.OutgoingContract:
        """Return the typed form."""
        return lnv2.OutgoingContract(*self._typed())

    @classmethod
    def of(cls, contract: lnv2.OutgoingContract) -> Self:
        """Return the JSON form."""
        return cls._of(contract, contract.expiration_block_height)


class CommitmentJson(_TermsJson, frozen=True):
    """What the ciphertext of an incoming contract is bound to: `expiration` is in Unix seconds.

    Contracts of LNURL receives have 2^64-1 less the gateway's fee as `expiration`.
    """

    def decode(self) -> lnv2.Commitment:
        """Return the typed form."""
        return lnv2.Commitment(*self._typed())

    @classmethod
    def of(cls, commitment: lnv2.Commitment) -> Self:
        """Return the JSON form."""
        return cls._of(commitment, commitment.expiration_unix_s)


class CipherTextJson(msgspec.Struct, frozen=True):
    """The preimage, encrypted to the guardians: masked as 32 integers, with G1 and G2 in hex."""

    encrypted_preimage: ThirtyTwoIntegers
    pk: G1Hex
    signature: G2Hex

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
    """The contract that a paid invoice funds."""

    commitment: CommitmentJson
    ciphertext: CipherTextJson

    def decode(self) -> lnv2.IncomingContract:
        """Return the typed form."""
        return lnv2.IncomingContract(self.commitment.decode(), self.ciphertext.decode())

    @classmethod
    def of(cls, contract: lnv2.IncomingContract) -> "IncomingContractJson":
        """Return the JSON form."""
        return cls(CommitmentJson.of(contract.commitment), CipherTextJson.of(contract.ciphertext))
