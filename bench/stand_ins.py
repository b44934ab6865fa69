"""Facts, transactions and notes as large as real ones, that no cryptography was spent on."""

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


def outgoing(number: int, federation_id: str) -> SendFacts:
    """A contract like a real client's, and nobody else's."""
    return SendFacts(
        federation_id=federation_id,
        contract_id=f"{number:064x}",
        txid=f"{number * 3:064x}",
        out_idx=0,
        contract="c" * CONTRACT_DIGITS,
        payment_hash=f"{number * 7:064x}",
        invoice="l" * INVOICE_LETTERS,
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
        contract_id=f"{number * 5:064x}",
        contract="c" * INCOMING_DIGITS,
        payment_hash=f"{number * 11 + 1:064x}",
        invoice_msat=INVOICE_MSAT,
        contract_msat=INVOICE_MSAT - 10_000,
        contract_expires_unix_s=EXPIRES_UNIX_S,
        invoice_expires_unix_s=EXPIRES_UNIX_S,
        expiry_s=3_600,
        refund_worth_msat=0,
        description="",
    )
    return facts, f"{number:0{INVOICE_LETTERS}}"


def signed(number: int, reservation: Reservation) -> SignedTransaction:
    """Built with tweaks of its own where the pool had none."""
    issues = tuple(
        Issue(issue.denomination, issue.tweak or tweak(number, index))
        for index, issue in enumerate(reservation.issues)
    )
    encoded = bytes(TX_FIXED_BYTES + TX_OUTPUT_BYTES * len(issues))
    return SignedTransaction(f"{number * 13:064x}", encoded, issues)


def tweak(number: int, index: int) -> str:
    return (number << 16 | index).to_bytes(TWEAK_SIZE).hex()


def with_notes(issues: Sequence[Issue], numbers: Iterator[int]) -> tuple[HeldNote, ...]:
    """The notes that were asked for."""
    return tuple(
        HeldNote(issue.denomination, issue.tweak, f"{next(numbers):066x}", "5f" * 48)
        for issue in issues
    )
