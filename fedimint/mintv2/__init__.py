"""Wire types of the mintv2 module: notes, inputs, outputs, the ecash text form, errors.

Source: fedimint-mintv2-common src/lib.rs; fedimint-mintv2-client src/ecash.rs.
"""

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
    pair,
    struct,
    vec,
)
from fedimint.codec.urls import SAFE_URL
from fedimint.codec.wire_types import (
    DENOMINATION,
    FEDERATION_ID,
    G1,
    HASH160,
    PEER_ID,
    PUBLIC_KEY,
    SECRET_KEY,
    FederationId,
    ModuleError,
    PeerId,
    consensus_hash,
    module_errors,
)

KIND = "mintv2"


class Note(msgspec.Struct, frozen=True):
    """Ecash worth 2^denomination msat: a nonce (public key, 33) and its signature (G1, 48)."""

    denomination: int
    nonce: bytes
    signature: bytes

    def amount_msat(self) -> int:
        """Return 2^denomination."""
        return 1 << self.denomination


NOTE: StructCodec[Note] = struct(Note, denomination=DENOMINATION, nonce=PUBLIC_KEY, signature=G1)


class MintInput(msgspec.Struct, frozen=True, tag="v0"):
    """Spends a note; signed by the key behind its nonce."""

    note: Note


class MintOutput(msgspec.Struct, frozen=True, tag="v0"):
    """Asks for a blind signature on `blinded_nonce` (G1, 48 bytes); the tweak has 16 bytes."""

    denomination: int
    blinded_nonce: bytes
    tweak: bytes

    def amount_msat(self) -> int:
        """Return 2^denomination."""
        return 1 << self.denomination


class OutputOutcome(msgspec.Struct, frozen=True):
    """The outcome of an output: empty, zero bytes; the shares come from `signature_shares`."""


Input = MintInput | UnknownVariant
Output = MintOutput | UnknownVariant

INPUT: Codec[Input] = enum({0: struct(MintInput, note=NOTE)}, extensible=True)
OUTPUT: Codec[Output] = enum(
    {0: struct(MintOutput, denomination=DENOMINATION, blinded_nonce=G1, tweak=fixed(16))},
    extensible=True,
)
OUTPUT_OUTCOME: StructCodec[OutputOutcome] = struct(OutputOutcome)
INPUT_ERROR: Codec[ModuleError] = module_errors(
    {
        0: ("UnknownInputVariant", U64),
        1: ("SpentCoin",),
        2: ("InvalidDenomination",),
        3: ("InvalidSignature",),
    }
)
OUTPUT_ERROR: Codec[ModuleError] = module_errors(
    {0: ("UnknownOutputVariant", U64), 1: ("InvalidDenomination",)}
)


class RecoveryOutput(msgspec.Struct, frozen=True, tag="output"):
    """A note issued: the hash160 of its blinded nonce, and its tweak of 16 bytes."""

    denomination: int
    nonce_hash: bytes
    tweak: bytes


class RecoveryInput(msgspec.Struct, frozen=True, tag="input"):
    """A note spent: the hash160 of its nonce."""

    nonce_hash: bytes


RecoveryItem = RecoveryOutput | RecoveryInput

RECOVERY_ITEMS: Codec[tuple[RecoveryItem, ...]] = vec(
    enum(
        {
            0: struct(
                RecoveryOutput, denomination=DENOMINATION, nonce_hash=HASH160, tweak=fixed(16)
            ),
            1: struct(RecoveryInput, nonce_hash=HASH160),
        }
    )
)
"""A slice of all inputs and outputs the mint has seen, in order; guardians agree on its sha256."""


class SpendableNote(msgspec.Struct, frozen=True):
    """A note with its secret key (32 bytes): money. Its repr shows the denomination alone."""

    denomination: int
    secret_key: bytes
    signature: bytes

    def __repr__(self) -> str:
        return f"SpendableNote(denomination={self.denomination}, …)"

    def amount_msat(self) -> int:
        """Return 2^denomination."""
        return 1 << self.denomination

    def note(self) -> Note:
        """Return the public note, with which this one is spent."""
        return Note(self.denomination, secp.public_key(self.secret_key), self.signature)


SPENDABLE_NOTE: StructCodec[SpendableNote] = struct(
    SpendableNote, denomination=DENOMINATION, secret_key=SECRET_KEY, signature=G1
)


class EcashMint(msgspec.Struct, frozen=True, tag="mint"):
    """The federation the notes are of."""

    federation_id: FederationId


class EcashNote(msgspec.Struct, frozen=True, tag="note"):
    """One note."""

    note: SpendableNote


class EcashInvite(msgspec.Struct, frozen=True, tag="invite"):
    """How to reach the federation: guardians and the URLs of their APIs."""

    peer_apis: tuple[tuple[PeerId, str], ...]
    federation_id: FederationId


class EcashApiSecret(msgspec.Struct, frozen=True, tag="api_secret"):
    """The secret that the federation's API asks for."""

    api_secret: str

    def __repr__(self) -> str:
        return "EcashApiSecret(…)"


class EcashUnit(msgspec.Struct, frozen=True, tag="unit"):
    """The unit of the amounts; written only when it is not bitcoin (0)."""

    unit: int


EcashField = EcashMint | EcashNote | EcashInvite | EcashApiSecret | EcashUnit | UnknownVariant

_ECASH_FIELD: Codec[EcashField] = enum(
    {
        0: struct(EcashMint, federation_id=FEDERATION_ID),
        1: struct(EcashNote, note=SPENDABLE_NOTE),
        2: struct(EcashInvite, peer_apis=vec(pair(PEER_ID, SAFE_URL)), federation_id=FEDERATION_ID),
        3: struct(EcashApiSecret, api_secret=STRING),
        4: struct(EcashUnit, unit=U64),
    },
    extensible=True,
)


class Ecash(msgspec.Struct, frozen=True):
    """Notes on their way from hand to hand. Unknown fields are kept."""

    fields: tuple[EcashField, ...]

    @classmethod
    def of(
        cls,
        federation_id: FederationId,
        notes: tuple[SpendableNote, ...],
        invite: EcashInvite | None = None,
    ) -> "Ecash":
        """Return ecash of bitcoin notes, in upstream's field order."""
        head: tuple[EcashField, ...] = (EcashMint(federation_id),)
        tail: tuple[EcashField, ...] = () if invite is None else (invite,)
        return cls((*head, *map(EcashNote, notes), *tail))

    @classmethod
    def parse(cls, text: str) -> "Ecash":
        """Read `fedimint` ‖ base32. Raises `DecodeError`, also on an invite code."""
        return ECASH.decode(base32.decode_prefixed(text))

    def to_text(self) -> str:
        """Return `fedimint` ‖ base32. It is money: never log it."""
        return base32.encode_prefixed(ECASH.encode(self))

    def notes(self) -> tuple[SpendableNote, ...]:
        """Return the notes in their order."""
        return tuple(field.note for field in self.fields if isinstance(field, EcashNote))

    def amount_msat(self) -> int:
        """Return the sum of the notes."""
        return sum(note.amount_msat() for note in self.notes())

    def federation_id(self) -> FederationId | None:
        """Return the federation named, by the mint field or else by the invite."""
        for kind in (EcashMint, EcashInvite):
            for field in self.fields:
                if isinstance(field, kind):
                    return field.federation_id
        return None

    def unit(self) -> int:
        """Return the unit of the amounts; 0 is bitcoin."""
        return next((field.unit for field in self.fields if isinstance(field, EcashUnit)), 0)

    def operation_id(self) -> bytes:
        """Return sha256 of the encoding, upstream's id of receiving it."""
        return consensus_hash(ECASH.encode(self))


ECASH: StructCodec[Ecash] = struct(Ecash, fields=vec(_ECASH_FIELD))
