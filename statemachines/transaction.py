"""One federation transaction, staged so that its bytes are never made twice.

    Reserve → Reserved → built → Signed → accepted → Accepted → collected → Finished
                   └─ abandoned      └─ rejected by a threshold → Rejected

Append 1 reserves what goes in and which tweaks it uses; append 2 holds the signed bytes and what they ask the mint
for. Only then do bytes leave, as often as it takes. Until append 2 nothing has left: a decision that somebody waits for
is abandoned when it was not signed within seconds, or not by the process that took it.

Stream: `tx/<federation>-<number>`.
"""

from collections.abc import Mapping
from typing import ClassVar

from engine.events import Event
from engine.machine import (
    Decision,
    Effect,
    Handle,
    Input,
    Machine,
    State,
    Tell,
    ignored,
    refused,
    table,
)
from errors import FatalError
from statemachines.items import ForeignNote, HeldNote, Issue, Reservation, SignedTransaction
from statemachines.outlook import (
    ANSWER_S,
    GUARDIANS_END,
    LET,
    OURSELVES,
    OpenState,
    Outlook,
    awaits_guardians,
    by_reservation,
    within,
)

#: How long after its decision a transaction may be signed that pays for what others may take back meanwhile. Building
#: takes a second, and a minute of blocks is the margin of what it pays for.
SIGN_WITHIN_S = 30

# --- states ----------------------------------------------------------------------------------------------------


class Unborn(State, frozen=True):
    """Nothing is reserved."""


class Reserved(OpenState, frozen=True):
    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=within(ANSWER_S),
        federation_id=by_reservation,
        waits_for=OURSELVES,
        what_to_do=LET,
        ended_by=GUARDIANS_END,
    )
    reservation: Reservation


class Signed(OpenState, frozen=True):
    outlook: ClassVar[Outlook] = awaits_guardians(ANSWER_S, by_reservation)
    reservation: Reservation
    signed: SignedTransaction


class Accepted(OpenState, frozen=True):
    """In consensus; the notes it issued are not collected yet."""

    outlook: ClassVar[Outlook] = awaits_guardians(ANSWER_S, by_reservation)
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


class Abandoned(State, frozen=True):
    """Never signed: nothing left."""


class GivenUp(State, frozen=True):
    """Signed, and never sent again: its federation was given up. Perhaps it was accepted nevertheless."""

    txid: str


# --- inputs ----------------------------------------------------------------------------------------------------


class Reserve(Input, frozen=True):
    reservation: Reservation


class Built(Input, frozen=True):
    """`now_unix_s` is the moment in which the bytes would become durable."""

    signed: SignedTransaction
    now_unix_s: int


class BuildAbandoned(Input, frozen=True):
    """It must no longer be signed: it took too long, or its process ended, and the keys of foreign notes with it."""


class GiveUpTransaction(Input, frozen=True):
    """The operator gave its federation up, and the payment it belongs to has an end."""


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


class TransactionAccepted(Input, frozen=True):
    """In consensus: its outputs are there."""

    tx: str
    txid: str


class TransactionAbandoned(Input, frozen=True):
    """It was never signed and nothing of it left; its notes are free, its tweaks are not used again."""

    tx: str


class TransactionFinished(Input, frozen=True):
    tx: str
    notes: tuple[HeldNote, ...]
    lost_msat: int


class TransactionRejected(Input, frozen=True):
    """Nothing of it happened, and nothing ever will. `is_reissue`: notes were all that went in and came out."""

    tx: str
    error: str
    is_reissue: bool


# --- events ----------------------------------------------------------------------------------------------------


class TxReserved(Event, frozen=True):
    kind: ClassVar[str] = "tx.reserved"
    reservation: Reservation


class TxSigned(Event, frozen=True, omit_defaults=True):
    """The bytes, and the tweaks (hex) of issues for which the pool had none, in their order."""

    kind: ClassVar[str] = "tx.signed"
    txid: str
    encoded: bytes
    ground: tuple[str, ...] = ()


class TxAbandoned(Event, frozen=True):
    kind: ClassVar[str] = "tx.abandoned"


class TxGivenUp(Event, frozen=True):
    kind: ClassVar[str] = "tx.given_up"


class TxAccepted(Event, frozen=True):
    kind: ClassVar[str] = "tx.accepted"


class TxCollected(Event, frozen=True):
    """The wallet's event of the same append has the notes."""

    kind: ClassVar[str] = "tx.collected"
    received_msat: int
    lost_msat: int


class TxRejected(Event, frozen=True):
    kind: ClassVar[str] = "tx.rejected"
    error: str


# --- effects ---------------------------------------------------------------------------------------------------


class BuildTransaction(Effect, frozen=True):
    """Derive keys, blind, sign: from the reservation's facts alone, but for the keys of foreign notes."""

    #: If it has outputs: claims, and notes that become notes of ours, bring once what is ours once.
    may_pay_twice: ClassVar[bool] = True
    reservation: Reservation


class SubmitTransaction(Effect, frozen=True):
    """Submit and resubmit the bytes until a threshold decides."""

    #: The same bytes again are the same transaction.
    may_pay_twice: ClassVar[bool] = False
    federation_id: str
    txid: str
    encoded: bytes


class CollectNotes(Effect, frozen=True):
    """Fetch signature shares of the outputs from index `start` on, in the order of `issues`, and unblind."""

    may_pay_twice: ClassVar[bool] = False
    federation_id: str
    txid: str
    issues: tuple[Issue, ...]
    start: int


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
    """The first bytes count, if they come in time."""
    if has_aged(state.reservation, input_.now_unix_s):
        return _abandon(state.reservation)
    signed = input_.signed
    told = TransactionSigned(tx=state.reservation.tx, txid=signed.txid)
    asked = zip(state.reservation.issues, signed.issues, strict=True)
    ground = tuple(built.tweak for issue, built in asked if not issue.tweak)
    return Decision(
        events=(TxSigned(txid=signed.txid, encoded=signed.encoded, ground=ground),),
        tells=(Tell(state.reservation.parent, told),),
    )


def has_aged(reservation: Reservation, now_unix_s: int) -> bool:
    """Whether what it pays for may be over by now. What is ours, and notes for notes, can wait for any time."""
    return bool(reservation.sign_by_unix_s) and now_unix_s > reservation.sign_by_unix_s


def _abandoned(state: Reserved, _input: BuildAbandoned) -> Decision:
    """Claims of what is ours are never given up, and only foreign notes can be missing: they come without ours."""
    reservation = state.reservation
    is_foreign = not reservation.spends and any(
        isinstance(claim, ForeignNote) for claim in reservation.claims
    )
    if not (reservation.sign_by_unix_s or is_foreign):
        raise FatalError(f"{reservation.tx} is ours to sign at any time")
    return _abandon(reservation)


def _give_up_reserved(state: Reserved, _input: GiveUpTransaction) -> Decision:
    return _abandon(state.reservation)


def _give_up(state: Signed, _input: GiveUpTransaction) -> Decision:
    """Its notes are free again. Guardians may have accepted it: they are asked when the federation is joined again."""
    told = TransactionAbandoned(tx=state.reservation.tx)
    return Decision(events=(TxGivenUp(),), tells=_tell_both(state.reservation, told))


def _abandon(reservation: Reservation) -> Decision:
    told = TransactionAbandoned(tx=reservation.tx)
    return Decision(events=(TxAbandoned(),), tells=_tell_both(reservation, told))


def _accepted(state: Signed, _input: SubmissionAccepted) -> Decision:
    told = TransactionAccepted(tx=state.reservation.tx, txid=state.signed.txid)
    return Decision(events=(TxAccepted(),), tells=(Tell(state.reservation.parent, told),))


def _rejected(state: Signed, input_: SubmissionRejected) -> Decision:
    reservation = state.reservation
    is_reissue = reservation.parent == wallet_of(reservation.federation_id)
    told = TransactionRejected(tx=reservation.tx, error=input_.error, is_reissue=is_reissue)
    return Decision(
        events=(TxRejected(error=input_.error),),
        tells=_tell_both(reservation, told),
    )


def _collected(state: Accepted, input_: NotesCollected) -> Decision:
    received_msat = sum(note.amount_msat for note in input_.notes)
    told = TransactionFinished(
        tx=state.reservation.tx, notes=input_.notes, lost_msat=input_.lost_msat
    )
    return Decision(
        events=(TxCollected(received_msat=received_msat, lost_msat=input_.lost_msat),),
        tells=_tell_both(state.reservation, told),
    )


def _tell_both(reservation: Reservation, told: Input) -> tuple[Tell, ...]:
    """The wallet first, since the parent may end with this."""
    wallet = wallet_of(reservation.federation_id)
    streams = (wallet,) if reservation.parent == wallet else (wallet, reservation.parent)
    return tuple(Tell(stream, told) for stream in streams)


def _signed(state: Reserved, event: TxSigned) -> Signed:
    ground = iter(event.ground)
    issues = tuple(
        issue if issue.tweak else Issue(issue.denomination, next(ground))
        for issue in state.reservation.issues
    )
    signed = SignedTransaction(event.txid, event.encoded, issues)
    return Signed(reservation=state.reservation, signed=signed)


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
            start=len(state.reservation.outputs),
        )
    }


_FINAL = (Finished, Rejected, Abandoned, GivenUp)
_BUILDING = (Built, BuildAbandoned)
_SUBMISSION = (SubmissionAccepted, SubmissionRejected)
_RULES = table(
    {
        (Unborn, Reserve): Handle(_reserve, to=(Reserved,)),
        (Reserved, Built): Handle(_built, to=(Signed, Abandoned)),
        (Reserved, BuildAbandoned): Handle(_abandoned, to=(Abandoned,)),
        (Reserved, GiveUpTransaction): Handle(_give_up_reserved, to=(Abandoned,)),
        (Signed, GiveUpTransaction): Handle(_give_up, to=(GivenUp,)),
        (Signed, SubmissionAccepted): Handle(_accepted, to=(Accepted,)),
        (Signed, SubmissionRejected): Handle(_rejected, to=(Rejected,)),
        (Accepted, NotesCollected): Handle(_collected, to=(Finished,)),
    },
    refused(
        (Reserved, Signed, Accepted, *_FINAL),
        (Reserve,),
        "this transaction is already reserved",
    ),
    ignored(
        (Unborn,),
        (*_BUILDING, GiveUpTransaction, *_SUBMISSION, NotesCollected),
        "nothing is reserved, so nothing was asked for",
    ),
    ignored(
        (Reserved, Abandoned),
        (*_SUBMISSION, NotesCollected),
        "it is not signed, so no guardian has seen it",
    ),
    ignored(
        (Signed, Accepted, Finished, Rejected, GivenUp),
        _BUILDING,
        "it is signed already, and its first bytes stay",
    ),
    ignored((Signed,), (NotesCollected,), "it is not known to be accepted, so it issued no notes"),
    ignored((Accepted, Finished), _SUBMISSION, "a threshold accepted it before"),
    ignored((Accepted, Finished), (GiveUpTransaction,), "its outputs are there already"),
    ignored((Finished,), (NotesCollected,), "its notes are collected already"),
    ignored(
        (Rejected,),
        (GiveUpTransaction, *_SUBMISSION, NotesCollected),
        "a threshold rejected it before: nothing of it ever happens",
    ),
    ignored(
        (Abandoned,),
        (*_BUILDING, GiveUpTransaction),
        "it is abandoned already: bytes that come now are thrown away",
    ),
    ignored(
        (GivenUp,),
        (GiveUpTransaction, *_SUBMISSION, NotesCollected),
        "it is given up already: what became of it is asked when the federation is joined again",
    ),
)

MACHINE = Machine(
    kind="tx",
    initial=Unborn(),
    states=(Unborn, Reserved, Signed, Accepted, Finished, Rejected, Abandoned, GivenUp),
    inputs=(
        Reserve,
        Built,
        BuildAbandoned,
        GiveUpTransaction,
        SubmissionAccepted,
        SubmissionRejected,
        NotesCollected,
    ),
    rules=_RULES,
    evolvers={
        TxReserved: lambda _state, event: Reserved(reservation=event.reservation),
        TxSigned: _signed,
        TxAbandoned: lambda _state, _event: Abandoned(),
        TxGivenUp: lambda state, _event: GivenUp(txid=state.signed.txid),
        TxAccepted: lambda state, _event: Accepted(
            reservation=state.reservation, signed=state.signed
        ),
        TxCollected: lambda state, event: Finished(
            txid=state.signed.txid,
            received_msat=event.received_msat,
            lost_msat=event.lost_msat,
        ),
        TxRejected: lambda state, event: Rejected(txid=state.signed.txid, error=event.error),
    },
    wants_of={Reserved: _wants_build, Signed: _wants_submission, Accepted: _wants_notes},
    final=frozenset(_FINAL),
)
