"""Wire types of the ln module (v1): contracts, offers, inputs, outputs, gateway records, errors.

Source: fedimint-ln-common src/lib.rs, src/contracts/, src/route_hints.rs.
"""

import hashlib

import msgspec

from fedimint.codec.encoding import (
    BOOL,
    BYTES,
    BYTES32,
    U32,
    U64,
    Codec,
    StructCodec,
    UnknownVariant,
    enum,
    fixed,
    framed,
    option,
    struct,
)
from fedimint.codec.wire_types import (
    AMOUNT_MSAT,
    CONTRACT_ID,
    G1,
    G2,
    PUBLIC_KEY,
    SCHNORR_SIGNATURE,
    ContractId,
    ModuleError,
    consensus_hash,
    module_errors,
)

KIND = "ln"
_CANCELLATION_TAG = b"outgoing contract cancellation"


class EncryptedPreimage(msgspec.Struct, frozen=True):
    """A threshold_crypto ciphertext: u (G1, 48), w (G2, 96), v (33 bytes masked)."""

    u: bytes
    w: bytes
    v: bytes


class Pending(msgspec.Struct, frozen=True, tag="pending"):
    """Too few decryption shares yet."""


class PreimageKey(msgspec.Struct, frozen=True, tag="preimage_key"):
    """The decrypted key, 33 bytes: `Some(PreimageKey)` upstream. Its sha256 is the preimage."""

    key: bytes

    def __repr__(self) -> str:
        return "PreimageKey(…)"


class Invalid(msgspec.Struct, frozen=True, tag="invalid"):
    """The ciphertext did not hold the preimage of the hash."""


DecryptedPreimage = Pending | PreimageKey | Invalid


class IncomingContract(msgspec.Struct, frozen=True, tag="incoming"):
    """A contract that buys the preimage of `payment_hash` (32 bytes) from an offer."""

    payment_hash: bytes
    encrypted_preimage: EncryptedPreimage
    decrypted_preimage: DecryptedPreimage
    gateway_key: bytes

    def contract_id(self) -> ContractId:
        """Return the payment hash, which is the id."""
        return ContractId(self.payment_hash)


class OutgoingContract(msgspec.Struct, frozen=True, tag="outgoing"):
    """A contract that pays a gateway for the preimage until `timelock_block_height`."""

    payment_hash: bytes
    gateway_key: bytes
    timelock_block_height: int
    user_key: bytes
    cancelled: bool

    def contract_id(self) -> ContractId:
        """Return sha256 over all fields but `cancelled`."""
        out = bytearray()
        BYTES32.write(out, self.payment_hash)
        PUBLIC_KEY.write(out, self.gateway_key)
        U32.write(out, self.timelock_block_height)
        PUBLIC_KEY.write(out, self.user_key)
        return ContractId(hashlib.sha256(out).digest())

    def cancellation_digest(self) -> bytes:
        """Return the 32 bytes the gateway signs with its redeem key to give the money back."""
        return consensus_hash(BYTES.encode(_CANCELLATION_TAG) + self.contract_id())


Contract = IncomingContract | OutgoingContract


class Offer(msgspec.Struct, frozen=True, tag="offer"):
    """Offers the encrypted preimage of `payment_hash` for an amount."""

    amount_msat: int
    payment_hash: bytes
    encrypted_preimage: EncryptedPreimage
    expiry_unix_s: int | None


class ContractOutput(msgspec.Struct, frozen=True, tag="contract"):
    """Funds a contract."""

    amount_msat: int
    contract: Contract


class CancelOutgoing(msgspec.Struct, frozen=True, tag="cancel_outgoing"):
    """Lets the user take an outgoing contract back early; signed by the gateway."""

    contract_id: ContractId
    gateway_signature: bytes


LightningOutputV0 = ContractOutput | Offer | CancelOutgoing


class LightningInput(msgspec.Struct, frozen=True, tag="v0"):
    """Spends a contract, with the preimage (32 bytes) where an outgoing one is claimed."""

    contract_id: ContractId
    amount_msat: int
    preimage: bytes | None

    def __repr__(self) -> str:
        return f"LightningInput({self.contract_id.hex()}, amount_msat={self.amount_msat}, …)"


class OutputV0(msgspec.Struct, frozen=True, tag="v0"):
    """The only known version of an output."""

    inner: LightningOutputV0


class IncomingOutcome(msgspec.Struct, frozen=True, tag="incoming"):
    """How far the decryption is."""

    decrypted_preimage: DecryptedPreimage


class OutgoingOutcome(msgspec.Struct, frozen=True, tag="outgoing"):
    """Nothing to tell."""


class ContractOutcome(msgspec.Struct, frozen=True, tag="contract"):
    """The outcome of funding a contract."""

    contract_id: ContractId
    outcome: IncomingOutcome | OutgoingOutcome


class OfferOutcome(msgspec.Struct, frozen=True, tag="offer"):
    """The outcome of an offer: its id, the payment hash."""

    offer_id: bytes


class CancelOutcome(msgspec.Struct, frozen=True, tag="cancel_outgoing"):
    """The outcome of a cancellation."""

    contract_id: ContractId


LightningOutcomeV0 = ContractOutcome | OfferOutcome | CancelOutcome


class OutputOutcomeV0(msgspec.Struct, frozen=True, tag="v0"):
    """The only known version of an outcome."""

    inner: LightningOutcomeV0


Input = LightningInput | UnknownVariant
Output = OutputV0 | UnknownVariant
OutputOutcome = OutputOutcomeV0 | UnknownVariant


def _ciphertext_codec() -> Codec[EncryptedPreimage]:
    # A byte string of u ‖ w ‖ v in which v is whatever is left: threshold_crypto's own form.
    def write(out: bytearray, value: EncryptedPreimage) -> None:
        G1.write(out, value.u)
        G2.write(out, value.w)
        out += value.v

    return framed(
        Codec(
            write,
            lambda reader: EncryptedPreimage(
                G1.read(reader), G2.read(reader), reader.take(reader.remaining())
            ),
        )
    )


ENCRYPTED_PREIMAGE: Codec[EncryptedPreimage] = _ciphertext_codec()
DECRYPTED_PREIMAGE: Codec[DecryptedPreimage] = enum(
    {0: struct(Pending), 1: struct(PreimageKey, key=fixed(33)), 2: struct(Invalid)}
)
INCOMING_CONTRACT: StructCodec[IncomingContract] = struct(
    IncomingContract,
    payment_hash=BYTES32,
    encrypted_preimage=ENCRYPTED_PREIMAGE,
    decrypted_preimage=DECRYPTED_PREIMAGE,
    gateway_key=PUBLIC_KEY,
)
OUTGOING_CONTRACT: StructCodec[OutgoingContract] = struct(
    OutgoingContract,
    payment_hash=BYTES32,
    gateway_key=PUBLIC_KEY,
    timelock_block_height=U32,
    user_key=PUBLIC_KEY,
    cancelled=BOOL,
)
CONTRACT: Codec[Contract] = enum({0: INCOMING_CONTRACT, 1: OUTGOING_CONTRACT})
OFFER: StructCodec[Offer] = struct(
    Offer,
    amount_msat=AMOUNT_MSAT,
    payment_hash=BYTES32,
    encrypted_preimage=ENCRYPTED_PREIMAGE,
    expiry_unix_s=option(U64),
)
CONTRACT_OUTPUT: StructCodec[ContractOutput] = struct(
    ContractOutput, amount_msat=AMOUNT_MSAT, contract=CONTRACT
)
_OUTPUT_V0: Codec[LightningOutputV0] = enum(
    {
        0: CONTRACT_OUTPUT,
        1: OFFER,
        2: struct(CancelOutgoing, contract_id=CONTRACT_ID, gateway_signature=SCHNORR_SIGNATURE),
    }
)
_CONTRACT_OUTCOME: Codec[IncomingOutcome | OutgoingOutcome] = enum(
    {0: struct(IncomingOutcome, decrypted_preimage=DECRYPTED_PREIMAGE), 1: struct(OutgoingOutcome)}
)
_OUTCOME_V0: Codec[LightningOutcomeV0] = enum(
    {
        0: struct(ContractOutcome, contract_id=CONTRACT_ID, outcome=_CONTRACT_OUTCOME),
        1: struct(OfferOutcome, offer_id=BYTES32),
        2: struct(CancelOutcome, contract_id=CONTRACT_ID),
    }
)
INPUT: Codec[Input] = enum(
    {
        0: struct(
            LightningInput,
            contract_id=CONTRACT_ID,
            amount_msat=AMOUNT_MSAT,
            preimage=option(BYTES32),
        )
    },
    extensible=True,
)
OUTPUT: Codec[Output] = enum({0: struct(OutputV0, inner=_OUTPUT_V0)}, extensible=True)
OUTPUT_OUTCOME: Codec[OutputOutcome] = enum(
    {0: struct(OutputOutcomeV0, inner=_OUTCOME_V0)}, extensible=True
)
INPUT_ERROR: Codec[ModuleError] = module_errors(
    {
        0: ("UnknownContract", CONTRACT_ID),
        1: ("InsufficientFunds", AMOUNT_MSAT, AMOUNT_MSAT),
        2: ("MissingPreimage",),
        3: ("InvalidPreimage",),
        4: ("ContractNotReady",),
        5: ("UnknownInputVariant", U64),
    }
)
OUTPUT_ERROR: Codec[ModuleError] = module_errors(
    {
        0: ("UnknownContract", CONTRACT_ID),
        1: ("ZeroOutput",),
        2: ("InvalidEncryptedPreimage",),
        3: ("DuplicateEncryptedPreimage",),
        4: ("InsufficientIncomingFunding", AMOUNT_MSAT, AMOUNT_MSAT),
        5: ("NoOffer", BYTES32),
        6: ("NotOutgoingContract",),
        7: ("InvalidCancellationSignature",),
        8: ("UnknownOutputVariant", U64),
        9: ("ContractAlreadyFunded", CONTRACT_ID),
        10: ("OfferForFundedContract", CONTRACT_ID),
        11: ("EncryptedPreimageMismatch",),
        12: ("PreDecryptedIncomingContract",),
    }
)
