"""Facts, transactions and notes of real size, made without cryptography.

They are as random as real ones, too: a log keeps what repeats itself in less.
"""

import hashlib
from collections.abc import Iterator, Sequence

from fedimint.crypto.secrets import TWEAK_SIZE
from statemachines.items import HeldNote, Issue, Reservation, SignedTransaction
from statemachines.receive import ReceiveFacts
from statemachines.send import SendFacts

NODE = "02" + "ed" * 32
INVOICE_MSAT, CONTRACT_MSAT = 1_234_567, 1_240_000
#: Sizes of what real payments wrote: hex digits of contracts, letters of an invoice, bytes of a transaction.
CONTRACT_DIGITS, INCOMING_DIGITS, INVOICE_LETTERS = 280, 640, 330
TX_FIXED_BYTES, TX_OUTPUT_BYTES = 300, 70
EXPIRES_UNIX_S = 4_000_000_000
LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def digits(name: str, number: int, count: int) -> str:
    """So many hex digits, the same for the same name and number."""
    return hashlib.shake_256(f"{name} {number}".encode()).hexdigest((count + 1) // 2)[:count]


def outgoing(number: int, federation_id: str) -> SendFacts:
    """A contract like a real client's, and nobody else's."""
    return SendFacts(
        federation_id=federation_id,
        contract_id=digits("contract id", number, 64),
        txid=digits("txid", number, 64),
        out_idx=0,
        contract=digits("contract", number, CONTRACT_DIGITS),
        payment_hash=digits("hash", number, 64),
        invoice=invoice(number),
        invoice_msat=INVOICE_MSAT,
        invoice_expires_unix_s=EXPIRES_UNIX_S,
        contract_msat=CONTRACT_MSAT,
        minimum_msat=INVOICE_MSAT + 2_000,
        node=NODE,
    )


def incoming(number: int, federation_id: str) -> tuple[ReceiveFacts, str]:
    """What an invoice was asked for with, and the invoice."""
    facts = ReceiveFacts(
        federation_id=federation_id,
        contract_id=digits("incoming id", number, 64),
        contract=digits("incoming", number, INCOMING_DIGITS),
        payment_hash=digits("incoming hash", number, 64),
        invoice_msat=INVOICE_MSAT,
        contract_msat=INVOICE_MSAT - 10_000,
        contract_expires_unix_s=EXPIRES_UNIX_S,
        invoice_expires_unix_s=EXPIRES_UNIX_S,
        expiry_s=3_600,
        refund_worth_msat=0,
        description="",
    )
    return facts, invoice(number)


def invoice(number: int) -> str:
    """Letters of bech32, five bits each."""
    random = int(digits("invoice", number, INVOICE_LETTERS * 5 // 4 + 1), 16)
    return "".join(LETTERS[random >> 5 * index & 31] for index in range(INVOICE_LETTERS))


def signed(number: int, reservation: Reservation) -> SignedTransaction:
    """Built with tweaks of its own where the pool had none."""
    issues = tuple(
        Issue(issue.denomination, issue.tweak or tweak(number, index))
        for index, issue in enumerate(reservation.issues)
    )
    size = TX_FIXED_BYTES + TX_OUTPUT_BYTES * len(issues)
    encoded = bytes.fromhex(digits("transaction", number, 2 * size))
    return SignedTransaction(digits("own txid", number, 64), encoded, issues)


def tweak(number: int, index: int) -> str:
    return digits("tweak", number << 16 | index, 2 * TWEAK_SIZE)


def with_notes(issues: Sequence[Issue], numbers: Iterator[int]) -> tuple[HeldNote, ...]:
    """The notes that were asked for."""
    return tuple(note(issue, next(numbers)) for issue in issues)


def note(issue: Issue, number: int) -> HeldNote:
    """A note of this issue."""
    nonce, signature = digits("nonce", number, 66), digits("signature", number, 96)
    return HeldNote(issue.denomination, issue.tweak, nonce, signature)
