"""One federation transaction, staged so that its bytes are never made twice.

    Reserve → Reserved → built → Signed → accepted → Accepted → collected → Finished
                                     └─ rejected by a threshold → Rejected

Append 1 reserves what goes in and which tweaks it uses; append 2 holds the signed bytes and what they ask the mint
for. Only then do bytes leave, as often as it takes. Stream: `tx/<federation>-<number>`.
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from engine.events import Event
from engine.machine import (
    Decision,
    Effect,
    Handle,
    Ignore,
    Input,
    Machine,
    Refuse,
    State,
    Tell,
)

# --- facts -----------------------------------------------------------------------------------------------------


class ContractClaim(msgspec.Struct, frozen=True, tag=True):
    """An outgoing lnv2 contract claimed with its preimage (hex). `amount_msat` is the contract's."""

    txid: str
    out_idx: int
    amount_msat: int
    preimage: str


class HeldNote(msgspec.Struct, frozen=True):
    """A mintv2 note of ours: its key follows from mnemonic, denomination and tweak. All fields but one are hex."""

    denomination: int
    tweak: str
    nonce: str
    signature: str

    @property
    def amount_msat(self) -> int:
        return 1 << self.denomination


class Issue(msgspec.Struct, frozen=True):
    """A note to be issued. An empty `tweak` (hex) means that the pool was empty: one is ground when building."""

    denomination: int
    tweak: str


class Reservation(msgspec.Struct, frozen=True):
    """Everything that decides a transaction but its nonce.

    `tx` is the stream of the transaction, `parent` the stream that is told what becomes of it.
    """

    tx: str
    parent: str
    federation_id: str
    claims: tuple[ContractClaim, ...]
    spends: tuple[HeldNote, ...]
    issues: tuple[Issue, ...]
    input_fee_msat: int
    output_fee_msat: int


class SignedTransaction(msgspec.Struct, frozen=True):
    """The consensus encoding with signatures, its id (hex), and the issues with every tweak filled in."""

    txid: str
    encoded: bytes
    issues: tuple[Issue, ...]


# --- states ----------------------------------------------------------------------------------------------------


class Unborn(State, frozen=True):
    """Nothing is reserved."""


class Reserved(State, frozen=True):
    reservation: Reservation


class Signed(State, frozen=True):
    reservation: Reservation
    signed: SignedTransaction


class Accepted(State, frozen=True):
    """In consensus; the notes it issued are not collected yet."""

    reservation: Reservation
    signed: SignedTransaction


class Finished(State, frozen=True):
    """Accepted, notes collected. `lost_msat` is the worth of notes that no threshold signed validly."""

    txid: str
    received_msat: int
    lost_msat: int


class Rejected(State, frozen=True):
    """A threshold of guardians gave the same error: it can never be accepted."""

    txid: str
    error: str


# --- inputs ----------------------------------------------------------------------------------------------------


class Reserve(Input, frozen=True):
    reservation: Reservation


class Built(Input, frozen=True):
    signed: SignedTransaction


class SubmissionAccepted(Input, frozen=True):
    """A threshold of guardians says that the transaction is in consensus."""


class SubmissionRejected(Input, frozen=True):
    """A threshold of guardians gave one and the same error, here in words."""

    error: str


class NotesCollected(Input, frozen=True):
    """The notes that verify; `lost_msat` is the worth of those that do not."""

    notes: tuple[HeldNote, ...]
    lost_msat: int


# --- what parents are told ---------------------------------------------------------------------------------------


class TransactionSigned(Input, frozen=True):
    """Bytes and txid are decided; they become durable in this append."""

    tx: str
    txid: str


class TransactionFinished(Input, frozen=True):
    tx: str
    notes: tuple[HeldNote, ...]
    lost_msat: int


class TransactionRejected(Input, frozen=True):
    """Nothing of it happened, and nothing ever will."""

    tx: str
    error: str
    is_claim: bool


# --- events ----------------------------------------------------------------------------------------------------


class TxReserved(Event, frozen=True):
    kind: ClassVar[str] = "tx.reserved"
    reservation: Reservation


class TxSigned(Event, frozen=True):
    kind: ClassVar[str] = "tx.signed"
    signed: SignedTransaction


class TxAccepted(Event, frozen=True):
    kind: ClassVar[str] = "tx.accepted"


class TxCollected(Event, frozen=True):
    kind: ClassVar[str] = "tx.collected"
    notes: tuple[HeldNote, ...]
    lost_msat: int


class TxRejected(Event, frozen=True):
    kind: ClassVar[str] = "tx.rejected"
    error: str


# --- effects ---------------------------------------------------------------------------------------------------


class BuildTransaction(Effect, frozen=True):
    """Derive keys, blind, sign: from the reservation's facts alone."""

    reservation: Reservation


class SubmitTransaction(Effect, frozen=True):
    """Submit and resubmit the bytes until a threshold decides."""

    federation_id: str
    txid: str
    encoded: bytes


class CollectNotes(Effect, frozen=True):
    """Fetch signature shares of the outputs from index 0 on, in the order of `issues`, and unblind."""

    federation_id: str
    txid: str
    issues: tuple[Issue, ...]


# --- transitions -----------------------------------------------------------------------------------------------


def stream_of(federation_id: str, number: int) -> str:
    """The stream of a wallet's transaction, counted from 1."""
    return f"tx/{federation_id}-{number}"


def wallet_of(federation_id: str) -> str:
    """The stream of a federation's wallet (`statemachines/wallet.py`)."""
    return f"wallet/{federation_id}"


def _reserve(_state: Unborn, input_: Reserve) -> Decision:
    return Decision(events=(TxReserved(reservation=input_.reservation),))


def _built(state: Reserved, input_: Built) -> Decision:
    told = TransactionSigned(tx=state.reservation.tx, txid=input_.signed.txid)
    return Decision(
        events=(TxSigned(signed=input_.signed),),
        tells=(Tell(state.reservation.parent, told),),
    )


def _accepted(_state: Signed, _input: SubmissionAccepted) -> Decision:
    return Decision(events=(TxAccepted(),))


def _rejected(state: Signed, input_: SubmissionRejected) -> Decision:
    reservation = state.reservation
    told = TransactionRejected(
        tx=reservation.tx, error=input_.error, is_claim=bool(reservation.claims)
    )
    return Decision(
        events=(TxRejected(error=input_.error),),
        tells=_tell_both(reservation, told),
    )


def _collected(state: Accepted, input_: NotesCollected) -> Decision:
    told = TransactionFinished(
        tx=state.reservation.tx, notes=input_.notes, lost_msat=input_.lost_msat
    )
    return Decision(
        events=(TxCollected(notes=input_.notes, lost_msat=input_.lost_msat),),
        tells=_tell_both(state.reservation, told),
    )


def _tell_both(reservation: Reservation, told: Input) -> tuple[Tell, ...]:
    """The wallet first, since the parent may end with this."""
    wallet = wallet_of(reservation.federation_id)
    streams = (wallet,) if reservation.parent == wallet else (wallet, reservation.parent)
    return tuple(Tell(stream, told) for stream in streams)


def _wants_build(state: Reserved) -> Mapping[str, Effect]:
    return {"build": BuildTransaction(reservation=state.reservation)}


def _wants_submission(state: Signed) -> Mapping[str, Effect]:
    signed = state.signed
    federation_id = state.reservation.federation_id
    return {
        "submit": SubmitTransaction(
            federation_id=federation_id, txid=signed.txid, encoded=signed.encoded
        )
    }


def _wants_notes(state: Accepted) -> Mapping[str, Effect]:
    return {
        "collect": CollectNotes(
            federation_id=state.reservation.federation_id,
            txid=state.signed.txid,
            issues=state.signed.issues,
        )
    }


_LATE = Ignore("a repeated result")
_EARLY = Ignore("a result of nothing that was asked for")

MACHINE = Machine(
    kind="tx",
    initial=Unborn(),
    states=(Unborn, Reserved, Signed, Accepted, Finished, Rejected),
    inputs=(Reserve, Built, SubmissionAccepted, SubmissionRejected, NotesCollected),
    events=(TxReserved, TxSigned, TxAccepted, TxCollected, TxRejected),
    rules={
        (Unborn, Reserve): Handle(_reserve, to=(Reserved,)),
        (Reserved, Built): Handle(_built, to=(Signed,)),
        (Signed, SubmissionAccepted): Handle(_accepted, to=(Accepted,)),
        (Signed, SubmissionRejected): Handle(_rejected, to=(Rejected,)),
        (Accepted, NotesCollected): Handle(_collected, to=(Finished,)),
        **{
            (state, Reserve): Refuse("this transaction is already reserved")
            for state in (Reserved, Signed, Accepted, Finished, Rejected)
        },
        **{
            (Unborn, input_): _EARLY
            for input_ in (Built, SubmissionAccepted, SubmissionRejected, NotesCollected)
        },
        **{
            (Reserved, input_): _EARLY
            for input_ in (SubmissionAccepted, SubmissionRejected, NotesCollected)
        },
        (Signed, Built): _LATE,
        (Signed, NotesCollected): _EARLY,
        (Accepted, Built): _LATE,
        (Accepted, SubmissionAccepted): _LATE,
        (Accepted, SubmissionRejected): Ignore("accepted by a threshold before"),
        **{
            (state, input_): _LATE
            for state in (Finished, Rejected)
            for input_ in (Built, SubmissionAccepted, SubmissionRejected, NotesCollected)
        },
    },
    evolvers={
        TxReserved: lambda _state, event: Reserved(reservation=event.reservation),
        TxSigned: lambda state, event: Signed(reservation=state.reservation, signed=event.signed),
        TxAccepted: lambda state, _event: Accepted(
            reservation=state.reservation, signed=state.signed
        ),
        TxCollected: lambda state, event: Finished(
            txid=state.signed.txid,
            received_msat=sum(note.amount_msat for note in event.notes),
            lost_msat=event.lost_msat,
        ),
        TxRejected: lambda state, event: Rejected(txid=state.signed.txid, error=event.error),
    },
    wants_of={Reserved: _wants_build, Signed: _wants_submission, Accepted: _wants_notes},
    final=frozenset({Finished, Rejected}),
)
