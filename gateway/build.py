"""Building a federation transaction from its reservation: keys, blinding, signatures. Pure, run in a worker."""

from collections.abc import Sequence

import msgspec

from errors import FatalError
from fedimint import lnv2, mintv2, notes, secp, secrets, transaction, tweaks
from fedimint.notes import Note, NoteRequest
from fedimint.secrets import DerivableSecret
from fedimint.transaction import DynItem
from fedimint.wire_types import OutPoint, TransactionId
from statemachines.items import ContractClaim, HeldNote, Issue, Reservation, SignedTransaction

#: Random bytes for the transaction's nonce.
NONCE_SIZE = 8


class ModuleKeys(msgspec.Struct, frozen=True):
    """Instance ids and secrets of the two modules; pickled to the worker, never written anywhere."""

    lnv2_id: int
    mint_id: int
    gateway_secret: bytes
    mint_secret: DerivableSecret

    def __repr__(self) -> str:
        return "ModuleKeys(…)"


def build(
    keys: ModuleKeys, reservation: Reservation, nonce: bytes, fresh_tweaks: Sequence[bytes]
) -> SignedTransaction:
    """Sign what was reserved. `fresh_tweaks` are random 16-byte starts, one for each issue without a tweak.

    Raises FatalError when a reserved note is not of these secrets, EncodeError when it grew too large.
    """
    issues = _with_tweaks(keys.mint_secret, reservation.issues, fresh_tweaks)
    spends = [_note(held) for held in reservation.spends]
    inputs = [_claim_input(keys, claim) for claim in reservation.claims]
    inputs += [DynItem(keys.mint_id, mintv2.INPUT.encode(notes.mint_input(n))) for n in spends]
    signing = [keys.gateway_secret] * len(reservation.claims)
    signing += [notes.spend_secret(keys.mint_secret, note) for note in spends]
    outputs = [
        DynItem(keys.mint_id, mintv2.OUTPUT.encode(output))
        for output in notes.blinded_outputs(keys.mint_secret, note_requests(issues))
    ]
    signed = transaction.sign_transaction(inputs, outputs, nonce, signing)
    encoded = transaction.TRANSACTION.encode(signed)
    return SignedTransaction(signed.txid().hex(), encoded, issues)


def warm_up() -> None:
    """Nothing; running it makes a worker load this module before anybody waits for it."""


def held_note(note: Note) -> HeldNote:
    """A collected note as the log stores it."""
    return HeldNote(note.denomination, note.tweak.hex(), note.nonce.hex(), note.signature.hex())


def note_requests(issues: Sequence[Issue]) -> tuple[NoteRequest, ...]:
    """What was asked of the mint, in the order of the outputs."""
    return tuple(NoteRequest(issue.denomination, bytes.fromhex(issue.tweak)) for issue in issues)


def sign_forfeit(gateway_secret: secp.SecretKey, contract_id: bytes) -> bytes:
    """The signature (64 bytes) that gives an outgoing contract back (fedimint-lnv2-common src/contracts.rs)."""
    return secp.sign_schnorr(gateway_secret, contract_id)


def _claim_input(keys: ModuleKeys, claim: ContractClaim) -> DynItem:
    out_point = OutPoint(TransactionId(bytes.fromhex(claim.txid)), claim.out_idx)
    witness = lnv2.Claim(bytes.fromhex(claim.preimage))
    spending = lnv2.InputV0(lnv2.OutgoingInput(out_point, witness))
    return DynItem(keys.lnv2_id, lnv2.INPUT.encode(spending))


def _with_tweaks(
    mint_secret: DerivableSecret, issues: Sequence[Issue], fresh_tweaks: Sequence[bytes]
) -> tuple[Issue, ...]:
    starts = iter(fresh_tweaks)
    tweak_filter = secrets.mintv2_tweak_filter(mint_secret)
    filled = tuple(
        issue
        if issue.tweak
        else Issue(issue.denomination, tweaks.grind(tweak_filter, next(starts)).hex())
        for issue in issues
    )
    if len({issue.tweak for issue in filled}) != len(filled):
        raise FatalError("a tweak would be used twice")
    return filled


def _note(held: HeldNote) -> Note:
    return Note(
        held.denomination,
        bytes.fromhex(held.tweak),
        bytes.fromhex(held.nonce),
        bytes.fromhex(held.signature),
    )
