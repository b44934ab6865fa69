"""Ecash that the operator gives away as text. Stream: `gift/<id>`.

Notes that fit the amount exactly leave the wallet at once; else a transaction makes such notes first. The text is made
of the notes' keys whenever it is asked for: no event holds it.
"""

from typing import ClassVar

import msgspec

from engine.events import Event
from engine.machine import Decision, Handle, Input, Machine, State, Tell, ignored, refused, table
from statemachines.items import HeldNote
from statemachines.outlook import (
    TRANSACTION_S,
    OpenState,
    Outlook,
    awaits_guardians,
    by_facts,
)
from statemachines.transaction import (
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
    TransactionSigned,
    wallet_of,
)
from statemachines.wallet import FundingRefused, NotesSpent, SpendNotes


class GiftFacts(msgspec.Struct, frozen=True):
    """`amount_msat` is a multiple of 512."""

    id: str
    federation_id: str
    amount_msat: int


class New(State, frozen=True):
    """Nobody asked yet."""


class Preparing(OpenState, frozen=True):
    """Notes of the right amounts are being made, or are there in the next step."""

    outlook: ClassVar[Outlook] = awaits_guardians(TRANSACTION_S, by_facts)
    facts: GiftFacts


class Given(State, frozen=True):
    """These notes belong to the holder of their text."""

    facts: GiftFacts
    notes: tuple[HeldNote, ...]


class GiftRefused(State, frozen=True):
    facts: GiftFacts
    reason: str


class RequestGift(Input, frozen=True):
    facts: GiftFacts


class GiftRequested(Event, frozen=True):
    kind: ClassVar[str] = "gift.requested"
    facts: GiftFacts


class GiftGiven(Event, frozen=True):
    kind: ClassVar[str] = "gift.given"
    notes: tuple[HeldNote, ...]


class GiftFailed(Event, frozen=True):
    kind: ClassVar[str] = "gift.failed"
    reason: str


def stream_of(gift_id: str) -> str:
    """The stream of a gift, given an id that is used once."""
    return f"gift/{gift_id}"


def _request(_state: New, input_: RequestGift) -> Decision:
    return Decision(
        events=(GiftRequested(facts=input_.facts),), tells=(_ask_for_notes(input_.facts),)
    )


def _ask_for_notes(facts: GiftFacts) -> Tell:
    asked = SpendNotes(parent=stream_of(facts.id), amount_msat=facts.amount_msat)
    return Tell(wallet_of(facts.federation_id), asked)


def _given(_state: Preparing, input_: NotesSpent) -> Decision:
    return Decision(events=(GiftGiven(notes=input_.notes),))


def _made(state: Preparing, _input: TransactionFinished) -> Decision:
    """The wallet was told first and has the notes by now."""
    return Decision(tells=(_ask_for_notes(state.facts),))


def _refused(state: Preparing, input_: FundingRefused) -> Decision:
    why = (
        f"the ecash held brings {input_.available_msat} msat, "
        f"not enough for {state.facts.amount_msat} msat and the federation's fees"
    )
    return Decision(events=(GiftFailed(reason=why),))


def _rejected(_state: Preparing, input_: TransactionRejected) -> Decision:
    return Decision(events=(GiftFailed(reason=f"the federation refused: {input_.error}"),))


_STATES: tuple[type[State], ...] = (New, Preparing, Given, GiftRefused)
_INPUTS: tuple[type[Input], ...] = (
    RequestGift,
    NotesSpent,
    FundingRefused,
    TransactionSigned,
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
)
_TRANSACTION = (TransactionSigned, TransactionAccepted, TransactionFinished, TransactionRejected)
_RULES = table(
    {
        (New, RequestGift): Handle(_request, to=(Preparing,)),
        (Preparing, NotesSpent): Handle(_given, to=(Given,)),
        (Preparing, FundingRefused): Handle(_refused, to=(GiftRefused,)),
        (Preparing, TransactionFinished): Handle(_made, to=(Preparing,)),
        (Preparing, TransactionRejected): Handle(_rejected, to=(GiftRefused,)),
    },
    refused((New,), (NotesSpent, FundingRefused, *_TRANSACTION), "nobody asked for this ecash"),
    refused((Preparing, Given, GiftRefused), (RequestGift,), "this ecash was asked for before"),
    ignored(
        (Preparing,),
        (TransactionSigned, TransactionAccepted),
        "the notes are there only at the end of the transaction that makes them",
    ),
    ignored(
        (Given, GiftRefused),
        (NotesSpent, FundingRefused, *_TRANSACTION),
        "the gift has ended: its notes are given, or none ever will be",
    ),
)


MACHINE = Machine(
    kind="gift",
    initial=New(),
    states=_STATES,
    inputs=_INPUTS,
    rules=_RULES,
    evolvers={
        GiftRequested: lambda _state, event: Preparing(facts=event.facts),
        GiftGiven: lambda state, event: Given(facts=state.facts, notes=event.notes),
        GiftFailed: lambda state, event: GiftRefused(facts=state.facts, reason=event.reason),
    },
    final=frozenset({Given, GiftRefused}),
)
