"""Transactions of our own: signing, size, ids, errors."""

import pytest

from devnet.guardians.transaction_rules import signature_error
from fedimint.codec import secp
from fedimint.codec.encoding import UnknownVariant
from fedimint.codec.errors import DecodeError, EncodeError
from fedimint.codec.wire_types import TransactionId
from fedimint.transaction import (
    MAX_TRANSACTION_BYTES,
    SUBMISSION_OUTCOME,
    TRANSACTION,
    Accepted,
    DynItem,
    InputRefused,
    InvalidSignature,
    InvalidWitnessLength,
    NaiveMultisig,
    OutputRefused,
    Rejected,
    SubmissionOutcome,
    Transaction,
    UnbalancedTransaction,
    UnsupportedSignatureScheme,
    sign_transaction,
)

SECRETS = (b"\x01" * 32, b"\x02" * 32)
INPUTS = (DynItem(2, b"ab"), DynItem(0, b""))
OUTPUTS = (DynItem(2, b"c"),)


def test_a_signed_transaction_verifies_and_reads_back() -> None:
    transaction = sign_transaction(INPUTS, OUTPUTS, bytes(8), SECRETS)
    assert signature_error(transaction, [secp.public_key(secret) for secret in SECRETS]) is None
    assert TRANSACTION.decode(TRANSACTION.encode(transaction)) == transaction
    assert TRANSACTION.encode(transaction).hex().startswith("0202026162000001020163" + "00" * 8)


def test_the_txid_covers_all_but_the_signatures() -> None:
    transaction = sign_transaction(INPUTS, OUTPUTS, bytes(8), SECRETS)
    unsigned = Transaction(INPUTS, OUTPUTS, bytes(8), NaiveMultisig(()))
    assert transaction.txid() == unsigned.txid()
    assert unsigned.txid() != Transaction(INPUTS, OUTPUTS, b"\x01" * 8, NaiveMultisig(())).txid()
    assert unsigned.txid() != Transaction(OUTPUTS, INPUTS, bytes(8), NaiveMultisig(())).txid()


def test_an_unknown_signature_scheme_is_kept_but_never_valid() -> None:
    transaction = Transaction((), (), bytes(8), UnknownVariant(3, b"x"))
    assert TRANSACTION.decode(TRANSACTION.encode(transaction)) == transaction
    assert signature_error(transaction, []) is not None


def test_keys_must_match_the_inputs() -> None:
    with pytest.raises(EncodeError, match="2 inputs need as many keys"):
        sign_transaction(INPUTS, OUTPUTS, bytes(8), SECRETS[:1])


def test_the_size_limit_is_exact() -> None:
    empty = len(
        TRANSACTION.encode(
            sign_transaction((), (DynItem(0, bytes(60_000 - 20_000)),), bytes(8), ())
        )
    )
    room = 40_000 + MAX_TRANSACTION_BYTES - empty
    fits = sign_transaction((), (DynItem(0, bytes(room)),), bytes(8), ())
    assert len(TRANSACTION.encode(fits)) == MAX_TRANSACTION_BYTES == 49_968
    with pytest.raises(EncodeError, match="at most 49968"):
        sign_transaction((), (DynItem(0, bytes(room + 1)),), bytes(8), ())


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Accepted(TransactionId(bytes(32))), "01" + "00" * 32),
        (Rejected(UnbalancedTransaction(1, 2, 3)), "000003010203"),
        (Rejected(InvalidSignature("a", "b", "", "d")), "00010701610162000164"),
        (Rejected(UnsupportedSignatureScheme(9)), "00020109"),
        (Rejected(InvalidWitnessLength()), "000300"),
        (Rejected(InputRefused(DynItem(2, b"\x01\x00"))), "00040402020100"),
        (Rejected(OutputRefused(DynItem(0, b"\x02\x00"))), "00050400020200"),
    ],
)
def test_answers_to_a_submission(outcome: SubmissionOutcome, text: str) -> None:
    assert SUBMISSION_OUTCOME.encode(outcome).hex() == text
    assert SUBMISSION_OUTCOME.decode_hex(text) == outcome


def test_an_unknown_answer_is_refused() -> None:
    with pytest.raises(DecodeError, match="unknown variant 6"):
        SUBMISSION_OUTCOME.decode_hex("000600")
