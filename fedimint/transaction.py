"""Federation transactions: form, id, signing, size limit, and the answers to a submission.

Source: fedimint-core src/transaction.rs, src/core.rs. Inputs and outputs stay the raw bytes of
their module, so an unknown module or version never fails to decode; `fedimint.modules` reads them.
`submit_transaction` carries both ways in the form of `encoding.to_module_json`.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from fedimint.codec import secp
from fedimint.codec.encoding import (
    BOOL,
    BYTES,
    STRING,
    U64,
    Codec,
    Reader,
    StructCodec,
    UnknownVariant,
    enum,
    fixed,
    struct,
    vec,
)
from fedimint.codec.errors import EncodeError
from fedimint.codec.wire_types import AMOUNT_MSAT, SCHNORR_SIGNATURE, TRANSACTION_ID, TransactionId

MAX_TRANSACTION_BYTES = 50_000 - 32
"""Largest encoded transaction that fits into a consensus unit (`Transaction::MAX_TX_SIZE`)."""


class DynItem(msgspec.Struct, frozen=True):
    """An input, output, outcome or error of the module with this instance id, as raw bytes."""

    module_instance_id: int
    body: bytes


DYN_ITEM: StructCodec[DynItem] = struct(DynItem, module_instance_id=U64, body=BYTES)
DYN_ITEMS = vec(DYN_ITEM)
NONCE = fixed(8)


class NaiveMultisig(msgspec.Struct, frozen=True, tag="naive_multisig"):
    """One BIP-340 signature (64 bytes) over the txid for each input, in their order."""

    signatures: tuple[bytes, ...]


TransactionSignature = NaiveMultisig | UnknownVariant

_SIGNATURES: Codec[TransactionSignature] = enum(
    {0: struct(NaiveMultisig, signatures=vec(SCHNORR_SIGNATURE))}, extensible=True
)


class Transaction(msgspec.Struct, frozen=True):
    """A federation transaction; `nonce` has 8 bytes."""

    inputs: tuple[DynItem, ...]
    outputs: tuple[DynItem, ...]
    nonce: bytes
    signatures: TransactionSignature

    def __repr__(self) -> str:
        counts = f"{len(self.inputs)} inputs, {len(self.outputs)} outputs"
        return f"Transaction({self.txid().hex()}, {counts})"

    def txid(self) -> TransactionId:
        """Return the id, which does not cover the signatures."""
        return transaction_id(self.inputs, self.outputs, self.nonce)


TRANSACTION: StructCodec[Transaction] = struct(
    Transaction, inputs=DYN_ITEMS, outputs=DYN_ITEMS, nonce=NONCE, signatures=_SIGNATURES
)


def transaction_id(
    inputs: Sequence[DynItem], outputs: Sequence[DynItem], nonce: bytes
) -> TransactionId:
    """Return sha256 of the encoded inputs, outputs and nonce."""
    out = bytearray()
    DYN_ITEMS.write(out, tuple(inputs))
    DYN_ITEMS.write(out, tuple(outputs))
    NONCE.write(out, nonce)
    return TransactionId(hashlib.sha256(out).digest())


def sign_transaction(
    inputs: Sequence[DynItem],
    outputs: Sequence[DynItem],
    nonce: bytes,
    secret_keys: Sequence[bytes],
) -> Transaction:
    """Return the transaction with input i signed by `secret_keys[i]` (32 bytes).

    Raises `EncodeError` when the keys do not match the inputs in number, or when the encoding is
    above `MAX_TRANSACTION_BYTES`.
    """
    if len(secret_keys) != len(inputs):
        raise EncodeError(f"{len(inputs)} inputs need as many keys, not {len(secret_keys)}")
    txid = transaction_id(inputs, outputs, nonce)
    signatures = tuple(secp.sign_schnorr(secret, txid) for secret in secret_keys)
    transaction = Transaction(tuple(inputs), tuple(outputs), nonce, NaiveMultisig(signatures))
    check_size(transaction)
    return transaction


def check_size(transaction: Transaction) -> None:
    """Raise `EncodeError` when the transaction is too large for consensus."""
    size = len(TRANSACTION.encode(transaction))
    if size > MAX_TRANSACTION_BYTES:
        raise EncodeError(f"the transaction has {size} bytes, at most {MAX_TRANSACTION_BYTES} fit")


class UnbalancedTransaction(msgspec.Struct, frozen=True, tag="unbalanced"):
    """Outputs and fees exceed the inputs; all zero means that a sum overflowed."""

    inputs_msat: int
    outputs_msat: int
    fee_msat: int


class InvalidSignature(msgspec.Struct, frozen=True, tag="invalid_signature"):
    """A signature is wrong; all four are hex text."""

    transaction_hex: str
    txid_hex: str
    signature_hex: str
    key_hex: str


class UnsupportedSignatureScheme(msgspec.Struct, frozen=True, tag="unsupported_scheme"):
    """The federation does not know this variant of signatures."""

    variant: int


class InvalidWitnessLength(msgspec.Struct, frozen=True, tag="invalid_witness_length"):
    """The number of signatures is wrong, or an input failed its stateless check."""


class InputRefused(msgspec.Struct, frozen=True, tag="input_refused"):
    """A module refused an input; `error` holds that module's error enum."""

    error: DynItem


class OutputRefused(msgspec.Struct, frozen=True, tag="output_refused"):
    """A module refused an output; `error` holds that module's error enum."""

    error: DynItem


TransactionError = (
    UnbalancedTransaction
    | InvalidSignature
    | UnsupportedSignatureScheme
    | InvalidWitnessLength
    | InputRefused
    | OutputRefused
)

TRANSACTION_ERROR: Codec[TransactionError] = enum(
    {
        0: struct(
            UnbalancedTransaction,
            inputs_msat=AMOUNT_MSAT,
            outputs_msat=AMOUNT_MSAT,
            fee_msat=AMOUNT_MSAT,
        ),
        1: struct(
            InvalidSignature,
            transaction_hex=STRING,
            txid_hex=STRING,
            signature_hex=STRING,
            key_hex=STRING,
        ),
        2: struct(UnsupportedSignatureScheme, variant=U64),
        3: struct(InvalidWitnessLength),
        4: struct(InputRefused, error=DYN_ITEM),
        5: struct(OutputRefused, error=DYN_ITEM),
    }
)


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """The transaction is in consensus."""

    txid: TransactionId


class Rejected(msgspec.Struct, frozen=True, tag="rejected"):
    """This guardian holds the transaction invalid; only a threshold of equal ones is final."""

    error: TransactionError


SubmissionOutcome = Accepted | Rejected


def _write_outcome(out: bytearray, outcome: SubmissionOutcome) -> None:
    BOOL.write(out, isinstance(outcome, Accepted))
    if isinstance(outcome, Accepted):
        TRANSACTION_ID.write(out, outcome.txid)
    else:
        TRANSACTION_ERROR.write(out, outcome.error)


def _read_outcome(reader: Reader) -> SubmissionOutcome:
    if BOOL.read(reader):
        return Accepted(TRANSACTION_ID.read(reader))
    return Rejected(TRANSACTION_ERROR.read(reader))


SUBMISSION_OUTCOME: Codec[SubmissionOutcome] = Codec(_write_outcome, _read_outcome)
