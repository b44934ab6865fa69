"""A federation that this gateway serves, on which terms, and whether it still does.

Leaving keeps wallet and deposits in the log: who joins again finds his ecash. Stream: `federation/<federation id>`.
"""

from typing import ClassVar

import msgspec

from engine.events import Event
from engine.machine import Decision, Handle, Ignore, Input, Machine, Refuse, Rule, State, Tell
from errors import ConflictError
from statemachines import deposits
from statemachines.items import HeldNote
from statemachines.reserving import FederationFees
from statemachines.transaction import wallet_of
from statemachines.wallet import OpenWallet, RecoverNotes

#: Notes in one event of a recovery; an event has a bounded size.
RECOVERED_NOTES_PER_EVENT = 500


class Fee(msgspec.Struct, frozen=True):
    """Base in msat plus a share of the amount."""

    base_msat: int
    parts_per_million: int


class FederationFacts(msgspec.Struct, frozen=True):
    """What joining fixes, and the fees to begin with. `client_config` is the JSON that a threshold gave."""

    federation_id: str
    invite_code: str
    client_config: bytes
    module_fees: FederationFees
    lightning_fee: Fee
    transaction_fee: Fee


class NotJoined(State, frozen=True):
    """Never joined."""


class Joined(State, frozen=True):
    """Served under `index`, on these facts with the fees of now."""

    facts: FederationFacts
    index: int
    receive_enabled: bool = True


class Left(State, frozen=True):
    """Not served any more; what its wallet holds is kept."""

    facts: FederationFacts
    index: int


class Join(Input, frozen=True):
    """Told by the gateway's identity, which gives the index. `recovered` are notes of the federation's history."""

    facts: FederationFacts
    index: int
    recovered: tuple[HeldNote, ...] = ()


class SetTerms(Input, frozen=True):
    """New terms for payments accepted from now on."""

    lightning_fee: Fee
    transaction_fee: Fee
    receive_enabled: bool


class Leave(Input, frozen=True):
    """Stop serving it; the caller made sure that nothing of it is under way."""


class FederationJoined(Event, frozen=True):
    kind: ClassVar[str] = "federation.joined"
    facts: FederationFacts
    index: int


class TermsSet(Event, frozen=True):
    kind: ClassVar[str] = "federation.terms_set"
    lightning_fee: Fee
    transaction_fee: Fee
    receive_enabled: bool


class FederationLeft(Event, frozen=True):
    kind: ClassVar[str] = "federation.left"


def stream_of(federation_id: str) -> str:
    """The stream of a federation, given its id in hex."""
    return f"federation/{federation_id}"


def _join(_state: NotJoined | Left, input_: Join) -> Decision:
    facts = input_.facts
    wallet = wallet_of(facts.federation_id)
    tells = [Tell(wallet, OpenWallet(federation_id=facts.federation_id, fees=facts.module_fees))]
    for start in range(0, len(input_.recovered), RECOVERED_NOTES_PER_EVENT):
        notes = input_.recovered[start : start + RECOVERED_NOTES_PER_EVENT]
        tells.append(Tell(wallet, RecoverNotes(notes=notes)))
    if facts.module_fees.wallet is not None:
        watch = deposits.WatchDeposits(federation_id=facts.federation_id)
        tells.append(Tell(deposits.stream_of(facts.federation_id), watch))
    return Decision(events=(FederationJoined(facts=facts, index=input_.index),), tells=tuple(tells))


def _set_terms(state: Joined, input_: SetTerms) -> Decision:
    terms = TermsSet(
        lightning_fee=input_.lightning_fee,
        transaction_fee=input_.transaction_fee,
        receive_enabled=input_.receive_enabled,
    )
    return Decision() if _with_terms(state, terms) == state else Decision(events=(terms,))


def _leave(state: Joined, _input: Leave) -> Decision:
    paused = Tell(deposits.stream_of(state.facts.federation_id), deposits.PauseDeposits())
    return Decision(events=(FederationLeft(),), tells=(paused,))


def _with_terms(state: Joined, event: TermsSet) -> Joined:
    facts = msgspec.structs.replace(
        state.facts, lightning_fee=event.lightning_fee, transaction_fee=event.transaction_fee
    )
    return Joined(facts=facts, index=state.index, receive_enabled=event.receive_enabled)


_NOT_SERVED = Refuse("the gateway does not serve this federation", ConflictError)
_RULES: dict[tuple[type[State], type[Input]], Rule] = {
    (NotJoined, Join): Handle(_join, to=(Joined,)),
    (NotJoined, SetTerms): _NOT_SERVED,
    (NotJoined, Leave): _NOT_SERVED,
    (Joined, Join): Refuse("the gateway serves this federation already", ConflictError),
    (Joined, SetTerms): Handle(_set_terms, to=(Joined,)),
    (Joined, Leave): Handle(_leave, to=(Left,)),
    (Left, Join): Handle(_join, to=(Joined,)),
    (Left, SetTerms): _NOT_SERVED,
    (Left, Leave): Ignore("it is left already"),
}

MACHINE = Machine(
    kind="federation",
    initial=NotJoined(),
    states=(NotJoined, Joined, Left),
    inputs=(Join, SetTerms, Leave),
    events=(FederationJoined, TermsSet, FederationLeft),
    rules=_RULES,
    evolvers={
        FederationJoined: lambda _state, event: Joined(facts=event.facts, index=event.index),
        TermsSet: _with_terms,
        FederationLeft: lambda state, _event: Left(facts=state.facts, index=state.index),
    },
)
