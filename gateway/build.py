"""Builds a federation transaction from its reservation: keys, blinding, signatures. Pure, run in a worker."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from errors import FatalError
from fedimint import lnv2, mintv2, transaction, walletv2
from fedimint.codec import secp
from fedimint.codec.wire_types import OutPoint, TransactionId
from fedimint.crypto import secrets
from fedimint.crypto.secrets import DerivableSecret
from fedimint.mintv2 import SpendableNote, notes, tweaks
from fedimint.mintv2.notes import Note, NoteRequest
from fedimint.transaction import DynItem
from fedimint.walletv2 import deposits
from statemachines.items import (
    Claim,
    ContractClaim,
    DepositClaim,
    ForeignNote,
    FundedContract,
    HeldNote,
    IncomingRefund,
    Issue,
    Output,
    PegOut,
    Reservation,
    SignedTransaction,
)

#: Random bytes for the transaction's nonce.
NONCE_SIZE = 8


class ModuleKeys(msgspec.Struct, frozen=True):
    """Instance ids and secrets of the modules; pickled to the worker, never written anywhere."""

    lnv2_id: int
    mint_id: int
    gateway_secret: bytes
    mint_secret: DerivableSecret
    wallet_id: int | None
    wallet_secret: DerivableSecret | None

    def __repr__(self) -> str:
        return "ModuleKeys(…)"


class Materials(msgspec.Struct, frozen=True):
    """What a reservation does not hold: the nonce, a random start for each issue without a tweak, foreign notes."""

    nonce: bytes
    tweak_starts: tuple[bytes, ...]
    foreign_notes: tuple[SpendableNote, ...]


def build(keys: ModuleKeys, reservation: Reservation, materials: Materials) -> SignedTransaction:
    """Sign what was reserved.

    Raises FatalError when a reserved note is not of these secrets, EncodeError when it grew too large.
    """
    issues = _with_tweaks(keys.mint_secret, reservation.issues, materials.tweak_starts)
    spends = [note_of(held) for held in reservation.spends]
    foreign = {note.note().nonce.hex(): note for note in materials.foreign_notes}
    inputs = [_claim_input(keys, claim, foreign) for claim in reservation.claims]
    inputs += [
        _Input(
            DynItem(keys.mint_id, mintv2.INPUT.encode(notes.mint_input(note))),
            notes.spend_secret(keys.mint_secret, note),
        )
        for note in spends
    ]
    outputs = [_output(keys, output) for output in reservation.outputs]
    outputs += [
        DynItem(keys.mint_id, mintv2.OUTPUT.encode(output))
        for output in notes.blinded_outputs(keys.mint_secret, note_requests(issues))
    ]
    signed = transaction.sign_transaction(
        [item.item for item in inputs],
        outputs,
        materials.nonce,
        [item.secret_key for item in inputs],
    )
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


class _Input(NamedTuple):
    """An input and the key that signs for it."""

    item: DynItem
    secret_key: bytes


def _claim_input(keys: ModuleKeys, claim: Claim, foreign: Mapping[str, SpendableNote]) -> _Input:
    match claim:
        case ContractClaim():
            witness = lnv2.Claim(bytes.fromhex(claim.preimage))
            return _contract_input(keys, lnv2.OutgoingInput(_out_point(claim), witness))
        case IncomingRefund():
            key = bytes.fromhex(claim.decryption_key)
            return _contract_input(keys, lnv2.IncomingInput(_out_point(claim), key))
        case ForeignNote():
            note = foreign[claim.nonce]
            spent = mintv2.INPUT.encode(mintv2.MintInput(note.note()))
            return _Input(DynItem(keys.mint_id, spent), note.secret_key)
        case DepositClaim():
            assert keys.wallet_secret is not None
            found = deposits.deposit_input(
                keys.wallet_secret, claim.address_index, claim.output_index, claim.fee_sat
            )
            return _Input(_wallet_item(keys, walletv2.INPUT.encode(found.input)), found.secret_key)


def _contract_input(keys: ModuleKeys, spent: lnv2.OutgoingInput | lnv2.IncomingInput) -> _Input:
    encoded = lnv2.INPUT.encode(lnv2.InputV0(spent))
    return _Input(DynItem(keys.lnv2_id, encoded), keys.gateway_secret)


def _out_point(claim: ContractClaim | IncomingRefund) -> OutPoint:
    return OutPoint(TransactionId(bytes.fromhex(claim.txid)), claim.out_idx)


def _output(keys: ModuleKeys, output: Output) -> DynItem:
    match output:
        case FundedContract():
            contract = lnv2.INCOMING_CONTRACT.decode(bytes.fromhex(output.contract))
            funded = lnv2.OutputV0(lnv2.IncomingOutput(contract))
            return DynItem(keys.lnv2_id, lnv2.OUTPUT.encode(funded))
        case PegOut():
            destination = walletv2.standard_script(bytes.fromhex(output.script))
            assert destination is not None
            paid = walletv2.WalletOutput(destination, output.value_sat, output.fee_sat)
            return _wallet_item(keys, walletv2.OUTPUT.encode(paid))


def _wallet_item(keys: ModuleKeys, encoded: bytes) -> DynItem:
    assert keys.wallet_id is not None
    return DynItem(keys.wallet_id, encoded)


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


def note_of(held: HeldNote) -> Note:
    """A note of the log as the client library has it."""
    return Note(
        held.denomination,
        bytes.fromhex(held.tweak),
        bytes.fromhex(held.nonce),
        bytes.fromhex(held.signature),
    )
