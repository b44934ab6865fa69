"""Ecash that leaves a federation as bitcoin. Stream: `withdrawal/<id>`.

requested → signed → accepted by the federation → withdrawn(bitcoin txid)
    ├─ refused    └─ rejected: the notes are ours again
    └─ not signed in time: the notes are ours again
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

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
from statemachines.items import PegOut
from statemachines.outlook import (
    ANSWER_S,
    GUARDIANS_END,
    LET,
    OURSELVES,
    OpenState,
    Outlook,
    awaits_guardians,
    by_facts,
    within,
)
from statemachines.transaction import (
    SIGN_WITHIN_S,
    TransactionAbandoned,
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
    TransactionSigned,
    wallet_of,
)
from statemachines.wallet import FundingRefused, FundOutput


class WithdrawalFacts(msgspec.Struct, frozen=True, tag_field="module", tag="walletv2"):
    """`address` is for people, `script` (hex) is where the bitcoin goes; the fee is on top of the value."""

    federation_id: str
    address: str
    script: str
    value_sat: int
    fee_sat: int


# --- states ----------------------------------------------------------------------------------------------------


class New(State, frozen=True):
    """Nobody asked yet."""


class Funding(OpenState, frozen=True):
    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=within(ANSWER_S),
        federation_id=by_facts,
        waits_for=OURSELVES,
        what_to_do=LET,
        ended_by=GUARDIANS_END,
    )
    facts: WithdrawalFacts


class Submitted(OpenState, frozen=True):
    """The transaction's bytes are durable; the peg-out is its output 0."""

    outlook: ClassVar[Outlook] = awaits_guardians(ANSWER_S, by_facts)
    facts: WithdrawalFacts
    txid: str


class Accepted(OpenState, frozen=True):
    """The federation owes the bitcoin; its transaction is asked for."""

    outlook: ClassVar[Outlook] = awaits_guardians(
        ANSWER_S, by_facts, also="The bitcoin is owed already."
    )
    facts: WithdrawalFacts
    txid: str


class Withdrawn(State, frozen=True):
    facts: WithdrawalFacts
    txid: str
    bitcoin_txid: str


class WithdrawalRefused(State, frozen=True):
    """The notes do not pay for it; nothing was done."""

    facts: WithdrawalFacts
    available_msat: int


class WithdrawalRejected(State, frozen=True):
    """The federation refuses it for good, or it was not signed in time; the notes are ours again."""

    facts: WithdrawalFacts
    error: str


# --- inputs ----------------------------------------------------------------------------------------------------


class RequestWithdrawal(Input, frozen=True):
    """A request with a fee that was quoted just now, at `now_unix_s`."""

    id: str
    facts: WithdrawalFacts
    now_unix_s: int


class BitcoinTxidKnown(Input, frozen=True):
    """In the usual, reversed hex."""

    bitcoin_txid: str


# --- events ----------------------------------------------------------------------------------------------------


class WithdrawalRequested(Event, frozen=True):
    kind: ClassVar[str] = "withdrawal.requested"
    facts: WithdrawalFacts


class WithdrawalSigned(Event, frozen=True):
    kind: ClassVar[str] = "withdrawal.signed"
    txid: str


class WithdrawalAccepted(Event, frozen=True):
    kind: ClassVar[str] = "withdrawal.accepted"


class WithdrawalDone(Event, frozen=True):
    kind: ClassVar[str] = "withdrawal.done"
    bitcoin_txid: str


class WithdrawalNotFunded(Event, frozen=True):
    kind: ClassVar[str] = "withdrawal.not_funded"
    available_msat: int


class WithdrawalFailed(Event, frozen=True):
    kind: ClassVar[str] = "withdrawal.failed"
    error: str


# --- effects ---------------------------------------------------------------------------------------------------


class AskBitcoinTxid(Effect, frozen=True):
    """Ask the guardians which bitcoin transaction pays output 0."""

    may_pay_twice: ClassVar[bool] = False
    federation_id: str
    txid: str


def stream_of(withdrawal_id: str) -> str:
    """The stream of a withdrawal, given an id that is used once."""
    return f"withdrawal/{withdrawal_id}"


# --- transitions -----------------------------------------------------------------------------------------------


def _request(_state: New, input_: RequestWithdrawal) -> Decision:
    facts = input_.facts
    output = PegOut(facts.script, facts.value_sat, facts.fee_sat)
    told = FundOutput(
        parent=stream_of(input_.id),
        output=output,
        sign_by_unix_s=input_.now_unix_s + SIGN_WITHIN_S,
    )
    return Decision(
        events=(WithdrawalRequested(facts=facts),),
        tells=(Tell(wallet_of(facts.federation_id), told),),
    )


def _refused(_state: Funding, input_: FundingRefused) -> Decision:
    return Decision(events=(WithdrawalNotFunded(available_msat=input_.available_msat),))


def _signed(_state: Funding, input_: TransactionSigned) -> Decision:
    return Decision(events=(WithdrawalSigned(txid=input_.txid),))


def _accepted(_state: Submitted, _input: TransactionAccepted) -> Decision:
    return Decision(events=(WithdrawalAccepted(),))


def _rejected(_state: Submitted, input_: TransactionRejected) -> Decision:
    return Decision(events=(WithdrawalFailed(error=input_.error),))


def _abandoned(_state: Funding, _input: TransactionAbandoned) -> Decision:
    """The caller may have asked again since."""
    why = "it was not signed in time, so nothing of it left: decided long ago, or by a process that ended"
    return Decision(events=(WithdrawalFailed(error=why),))


def _done(_state: Accepted, input_: BitcoinTxidKnown) -> Decision:
    return Decision(events=(WithdrawalDone(bitcoin_txid=input_.bitcoin_txid),))


def _wants_txid(state: Accepted) -> Mapping[str, Effect]:
    return {"txid": AskBitcoinTxid(federation_id=state.facts.federation_id, txid=state.txid)}


_STATES: tuple[type[State], ...] = (
    New,
    Funding,
    Submitted,
    Accepted,
    Withdrawn,
    WithdrawalRefused,
    WithdrawalRejected,
)
_INPUTS: tuple[type[Input], ...] = (
    RequestWithdrawal,
    FundingRefused,
    TransactionSigned,
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
    TransactionAbandoned,
    BitcoinTxidKnown,
)
_RULES = table(
    {
        (New, RequestWithdrawal): Handle(_request, to=(Funding,)),
        (Funding, FundingRefused): Handle(_refused, to=(WithdrawalRefused,)),
        (Funding, TransactionSigned): Handle(_signed, to=(Submitted,)),
        (Funding, TransactionAbandoned): Handle(_abandoned, to=(WithdrawalRejected,)),
        (Submitted, TransactionAccepted): Handle(_accepted, to=(Accepted,)),
        (Submitted, TransactionRejected): Handle(_rejected, to=(WithdrawalRejected,)),
        (Accepted, BitcoinTxidKnown): Handle(_done, to=(Withdrawn,)),
    },
    refused(
        (New,),
        (
            FundingRefused,
            TransactionSigned,
            TransactionAccepted,
            TransactionFinished,
            TransactionRejected,
            TransactionAbandoned,
            BitcoinTxidKnown,
        ),
        "there is no such withdrawal",
    ),
    refused(
        (Funding, Submitted, Accepted, Withdrawn, WithdrawalRefused, WithdrawalRejected),
        (RequestWithdrawal,),
        "this withdrawal was asked for before",
    ),
    ignored(
        (Funding,),
        (TransactionAccepted, TransactionFinished, TransactionRejected, BitcoinTxidKnown),
        "its transaction is not signed yet, so no guardian has seen it",
    ),
    ignored(
        (Submitted,),
        (FundingRefused, TransactionSigned, TransactionAbandoned),
        "its transaction is signed already",
    ),
    ignored(
        (Submitted,),
        (TransactionFinished, BitcoinTxidKnown),
        "the federation has not accepted it yet, and says so first",
    ),
    ignored(
        (Accepted, Withdrawn),
        (
            FundingRefused,
            TransactionSigned,
            TransactionAccepted,
            TransactionRejected,
            TransactionAbandoned,
        ),
        "the federation accepted it before",
    ),
    ignored(
        (Accepted, Withdrawn),
        (TransactionFinished,),
        "its change is ecash again, which is the wallet's alone",
    ),
    ignored((Withdrawn,), (BitcoinTxidKnown,), "the bitcoin transaction is known already"),
    ignored(
        (WithdrawalRefused, WithdrawalRejected),
        (
            FundingRefused,
            TransactionSigned,
            TransactionAccepted,
            TransactionFinished,
            TransactionRejected,
            TransactionAbandoned,
            BitcoinTxidKnown,
        ),
        "the withdrawal has ended: nothing of it ever happens",
    ),
)


MACHINE = Machine(
    kind="withdrawal",
    initial=New(),
    states=_STATES,
    inputs=_INPUTS,
    rules=_RULES,
    evolvers={
        WithdrawalRequested: lambda _state, event: Funding(facts=event.facts),
        WithdrawalSigned: lambda state, event: Submitted(facts=state.facts, txid=event.txid),
        WithdrawalAccepted: lambda state, _event: Accepted(facts=state.facts, txid=state.txid),
        WithdrawalDone: lambda state, event: Withdrawn(
            facts=state.facts, txid=state.txid, bitcoin_txid=event.bitcoin_txid
        ),
        WithdrawalNotFunded: lambda state, event: WithdrawalRefused(
            facts=state.facts, available_msat=event.available_msat
        ),
        WithdrawalFailed: lambda state, event: WithdrawalRejected(
            facts=state.facts, error=event.error
        ),
    },
    wants_of={Accepted: _wants_txid},
    final=frozenset({Withdrawn, WithdrawalRefused, WithdrawalRejected}),
)
