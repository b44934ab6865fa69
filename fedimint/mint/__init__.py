"""Wire types of the mint module (v1): notes, inputs, outputs, the out-of-band text form, errors.

Source: fedimint-mint-common src/lib.rs; fedimint-mint-client src/oob.rs.
"""

import base64
import binascii

import msgspec

from fedimint.codec import base32, secp
from fedimint.codec.encoding import (
    STRING,
    U64,
    Codec,
    StructCodec,
    UnknownVariant,
    enum,
    fixed,
    mapping,
    pair,
    struct,
    vec,
)
from fedimint.codec.errors import DecodeError
from fedimint.codec.urls import SAFE_URL
from fedimint.codec.wire_types import (
    AMOUNT_MSAT,
    FEDERATION_ID,
    G1,
    PEER_ID,
    PUBLIC_KEY,
    SECRET_KEY,
    FederationId,
    ModuleError,
    PeerId,
    module_errors,
)

KIND = "mint"


class Note(msgspec.Struct, frozen=True):
    """Ecash without its amount: a nonce (public key, 33) and its signature (G1, 48)."""

    nonce: bytes
    signature: bytes


class MintInput(msgspec.Struct, frozen=True, tag="v0"):
    """Spends a note of this tier; signed by the key behind its nonce."""

    amount_msat: int
    note: Note


class MintOutput(msgspec.Struct, frozen=True, tag="v0"):
    """Asks for a blind signature of this tier on `blind_nonce` (G1, 48 bytes)."""

    amount_msat: int
    blind_nonce: bytes


class OutputOutcomeV0(msgspec.Struct, frozen=True, tag="v0"):
    """One guardian's share of the blind signature (G1, 48 bytes)."""

    blind_signature_share: bytes


Input = MintInput | UnknownVariant
Output = MintOutput | UnknownVariant
OutputOutcome = OutputOutcomeV0 | UnknownVariant

NOTE: StructCodec[Note] = struct(Note, nonce=PUBLIC_KEY, signature=G1)
INPUT: Codec[Input] = enum(
    {0: struct(MintInput, amount_msat=AMOUNT_MSAT, note=NOTE)}, extensible=True
)
OUTPUT: Codec[Output] = enum(
    {0: struct(MintOutput, amount_msat=AMOUNT_MSAT, blind_nonce=G1)}, extensible=True
)
OUTPUT_OUTCOME: Codec[OutputOutcome] = enum(
    {0: struct(OutputOutcomeV0, blind_signature_share=G1)}, extensible=True
)
INPUT_ERROR: Codec[ModuleError] = module_errors(
    {
        0: ("SpentCoin",),
        1: ("InvalidAmountTier", AMOUNT_MSAT),
        2: ("InvalidSignature",),
        3: ("UnknownInputVariant", U64),
    }
)
OUTPUT_ERROR: Codec[ModuleError] = module_errors(
    {
        0: ("InvalidAmountTier", AMOUNT_MSAT),
        1: ("UnknownOutputVariant", U64),
        2: ("BlindNonceAlreadyUsed",),
    }
)


class SpendableNote(msgspec.Struct, frozen=True):
    """A signature with the secret key (32 bytes) of the nonce it signs: money."""

    signature: bytes
    secret_key: bytes

    def __repr__(self) -> str:
        return "SpendableNote(…)"

    def note(self) -> Note:
        """Return the public note, with which this one is spent."""
        return Note(secp.public_key(self.secret_key), self.signature)


class NotesPart(msgspec.Struct, frozen=True, tag="notes"):
    """The notes, by their amount in msat."""

    notes: dict[int, tuple[SpendableNote, ...]]


class PrefixPart(msgspec.Struct, frozen=True, tag="prefix"):
    """The first four bytes of the federation id."""

    federation_id_prefix: bytes


class InvitePart(msgspec.Struct, frozen=True, tag="invite"):
    """How to reach the federation: guardians and the URLs of their APIs."""

    peer_apis: tuple[tuple[PeerId, str], ...]
    federation_id: FederationId


class ApiSecretPart(msgspec.Struct, frozen=True, tag="api_secret"):
    """The secret that the federation's API asks for."""

    api_secret: str

    def __repr__(self) -> str:
        return "ApiSecretPart(…)"


OobPart = NotesPart | PrefixPart | InvitePart | ApiSecretPart | UnknownVariant

SPENDABLE_NOTE: StructCodec[SpendableNote] = struct(
    SpendableNote, signature=G1, secret_key=SECRET_KEY
)
_OOB_PART: Codec[OobPart] = enum(
    {
        0: struct(NotesPart, notes=mapping(AMOUNT_MSAT, vec(SPENDABLE_NOTE))),
        1: struct(PrefixPart, federation_id_prefix=fixed(4)),
        2: struct(InvitePart, peer_apis=vec(pair(PEER_ID, SAFE_URL)), federation_id=FEDERATION_ID),
        3: struct(ApiSecretPart, api_secret=STRING),
    },
    extensible=True,
)


class OobNotes(msgspec.Struct, frozen=True):
    """Notes on their way from hand to hand (`OOBNotes`). Unknown parts are kept."""

    parts: tuple[OobPart, ...]

    @classmethod
    def of(
        cls, federation_id: FederationId, notes: dict[int, tuple[SpendableNote, ...]]
    ) -> "OobNotes":
        """Return the notes with the federation's prefix, in upstream's order of parts."""
        return cls((PrefixPart(federation_id[:4]), NotesPart(notes)))

    @classmethod
    def parse(cls, text: str) -> "OobNotes":
        """Read base64 (URL-safe or not) or `fedimint` ‖ base32; spaces do not matter.

        Raises `DecodeError`, also when there are no notes or no federation is named.
        """
        notes = OOB_NOTES.decode(_text_to_bytes("".join(text.split())))
        if notes.amount_msat() == 0:
            raise DecodeError("out-of-band notes without any note")
        if notes.federation_id_prefix() is None:
            raise DecodeError("out-of-band notes that name no federation")
        return notes

    def to_text(self) -> str:
        """Return the text form, URL-safe base64. It is money: never log it."""
        return base64.urlsafe_b64encode(OOB_NOTES.encode(self)).decode()

    def notes(self) -> dict[int, tuple[SpendableNote, ...]]:
        """Return the notes by amount in msat, over all parts."""
        merged: dict[int, tuple[SpendableNote, ...]] = {}
        for part in self.parts:
            if isinstance(part, NotesPart):
                for amount_msat, notes in part.notes.items():
                    merged[amount_msat] = merged.get(amount_msat, ()) + notes
        return merged

    def amount_msat(self) -> int:
        """Return the sum of the notes."""
        return sum(amount_msat * len(notes) for amount_msat, notes in self.notes().items())

    def federation_id_prefix(self) -> bytes | None:
        """Return four bytes: the prefix named, or that of the invite's federation."""
        for part in self.parts:
            if isinstance(part, PrefixPart):
                return part.federation_id_prefix
        for part in self.parts:
            if isinstance(part, InvitePart):
                return part.federation_id[:4]
        return None


OOB_NOTES: StructCodec[OobNotes] = struct(OobNotes, parts=vec(_OOB_PART))


def _text_to_bytes(text: str) -> bytes:
    if base32.has_prefix(text):
        return base32.decode_prefixed(text)
    try:
        padded = text.replace("-", "+").replace("_", "/")
        return base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError):
        raise DecodeError("out-of-band notes are base64 or fedimint base32 text") from None
