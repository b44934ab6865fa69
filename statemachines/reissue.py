"""Ecash that somebody gave us as text: it is ours once its notes are reissued.

The keys of these notes are in no event. Should the process end before the transaction is signed, nothing left it, the
notes are still the giver's, who may hand them in again. Stream: `reissue/<ecash id>`.
"""

from typing import ClassVar

import msgspec

from engine.events import Event
from engine.machine import Decision, Handle, Input, Machine, State, Tell, ignored, refused, table
from statemachines.items import ForeignNote
from statemachines.outlook import (
    TRANSACTION_S,
    OpenState,
    Outlook,
    awaits_guardians,
    by_facts,
)
from statemachines.transaction import (
    TransactionAbandoned,
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
    TransactionSigned,
    wallet_of,
)
from statemachines.wallet import ClaimInputs


class ReissueFacts(msgspec.Struct, frozen=True):
    """`id` is the hash of the ecash text's content, in hex."""

    id: str
    federation_id: str
    notes: tuple[ForeignNote, ...]

    @property
    def amount_msat(self) -> int:
        """Face value; what is credited is less the federation's fees."""
        return sum(note.amount_msat for note in self.notes)

    @property
    def nonces(self) -> tuple[str, ...]:
        """The notes by nonce, in hex."""
        return tuple(note.nonce for note in self.notes)


class New(State, frozen=True):
    """Nobody gave us this."""


class Reissuing(OpenState, frozen=True):
    outlook: ClassVar[Outlook] = awaits_guardians(TRANSACTION_S, by_facts)
    facts: ReissueFacts


class Abandoned(State, frozen=True):
    """The process ended before anything was signed; the same ecash may be handed in again."""

    facts: ReissueFacts


class Reissued(State, frozen=True):
    facts: ReissueFacts
    received_msat: int


class ReissueRejected(State, frozen=True):
    """The federation refuses the notes, most likely since they are spent."""

    facts: ReissueFacts
    error: str


class RequestReissue(Input, frozen=True):
    """Ecash whose notes were checked; their keys are in memory."""

    facts: ReissueFacts


class ReissueRequested(Event, frozen=True):
    kind: ClassVar[str] = "reissue.requested"
    facts: ReissueFacts


class ReissueAbandoned(Event, frozen=True):
    kind: ClassVar[str] = "reissue.abandoned"


class ReissueDone(Event, frozen=True):
    kind: ClassVar[str] = "reissue.done"
    received_msat: int


class ReissueFailed(Event, frozen=True):
    kind: ClassVar[str] = "reissue.failed"
    error: str


def stream_of(ecash_id: str) -> str:
    """The stream of a reissue, given the id of the ecash in hex."""
    return f"reissue/{ecash_id}"


def _request(_state: New | Abandoned, input_: RequestReissue) -> Decision:
    facts = input_.facts
    told = ClaimInputs(parent=stream_of(facts.id), claims=facts.notes)
    return Decision(
        events=(ReissueRequested(facts=facts),),
        tells=(Tell(wallet_of(facts.federation_id), told),),
    )


def _abandoned(_state: Reissuing, _input: TransactionAbandoned) -> Decision:
    return Decision(events=(ReissueAbandoned(),))


def _finished(_state: Reissuing, input_: TransactionFinished) -> Decision:
    received_msat = sum(note.amount_msat for note in input_.notes)
    return Decision(events=(ReissueDone(received_msat=received_msat),))


def _rejected(_state: Reissuing, input_: TransactionRejected) -> Decision:
    return Decision(events=(ReissueFailed(error=input_.error),))


_STATES: tuple[type[State], ...] = (New, Reissuing, Abandoned, Reissued, ReissueRejected)
_INPUTS: tuple[type[Input], ...] = (
    RequestReissue,
    TransactionSigned,
    TransactionAccepted,
    TransactionAbandoned,
    TransactionFinished,
    TransactionRejected,
)
_TRANSACTION = (
    TransactionSigned,
    TransactionAccepted,
    TransactionAbandoned,
    TransactionFinished,
    TransactionRejected,
)
_RULES = table(
    {
        (New, RequestReissue): Handle(_request, to=(Reissuing,)),
        (Abandoned, RequestReissue): Handle(_request, to=(Reissuing,)),
        (Reissuing, TransactionAbandoned): Handle(_abandoned, to=(Abandoned,)),
        (Reissuing, TransactionFinished): Handle(_finished, to=(Reissued,)),
        (Reissuing, TransactionRejected): Handle(_rejected, to=(ReissueRejected,)),
    },
    refused((New,), _TRANSACTION, "nobody gave us this ecash"),
    ignored(
        (Reissuing, Reissued, ReissueRejected),
        (RequestReissue,),
        "the same ecash again: the caller is told how it ends, or ended",
    ),
    ignored(
        (Reissuing,),
        (TransactionSigned, TransactionAccepted),
        "the ecash is ours only at the end of its transaction",
    ),
    ignored(
        (Abandoned,),
        _TRANSACTION,
        "no transaction is under way: the last one was never signed, the next is not asked for yet",
    ),
    ignored((Reissued, ReissueRejected), _TRANSACTION, "the reissue has ended"),
)


MACHINE = Machine(
    kind="reissue",
    initial=New(),
    states=_STATES,
    inputs=_INPUTS,
    rules=_RULES,
    evolvers={
        ReissueRequested: lambda _state, event: Reissuing(facts=event.facts),
        ReissueAbandoned: lambda state, _event: Abandoned(facts=state.facts),
        ReissueDone: lambda state, event: Reissued(
            facts=state.facts, received_msat=event.received_msat
        ),
        ReissueFailed: lambda state, event: ReissueRejected(facts=state.facts, error=event.error),
    },
    final=frozenset({Reissued, ReissueRejected}),
)
