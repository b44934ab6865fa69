"""A federation that this gateway serves. Stream: `federation/<federation id>`."""

from typing import ClassVar

import msgspec

from engine.events import Event
from engine.machine import Decision, Handle, Input, Machine, Refuse, State, Tell
from errors import ConflictError
from statemachines.transaction import wallet_of
from statemachines.wallet import FederationFees, OpenWallet


class Fee(msgspec.Struct, frozen=True):
    """Base in msat plus a share of the amount."""

    base_msat: int
    parts_per_million: int


class FederationFacts(msgspec.Struct, frozen=True):
    """What joining fixes. `client_config` is the JSON that a threshold of guardians gave."""

    federation_id: str
    invite_code: str
    client_config: bytes
    module_fees: FederationFees
    lightning_fee: Fee
    transaction_fee: Fee


class NotJoined(State, frozen=True):
    """Never joined."""


class Joined(State, frozen=True):
    """Served; `index` is the federation's for ever."""

    facts: FederationFacts
    index: int


class Join(Input, frozen=True):
    """Told by the gateway's identity, which gives the index."""

    facts: FederationFacts
    index: int


class FederationJoined(Event, frozen=True):
    kind: ClassVar[str] = "federation.joined"
    facts: FederationFacts
    index: int


def stream_of(federation_id: str) -> str:
    """The stream of a federation, given its id in hex."""
    return f"federation/{federation_id}"


def _join(_state: NotJoined, input_: Join) -> Decision:
    facts = input_.facts
    opening = OpenWallet(federation_id=facts.federation_id, fees=facts.module_fees)
    return Decision(
        events=(FederationJoined(facts=facts, index=input_.index),),
        tells=(Tell(wallet_of(facts.federation_id), opening),),
    )


def _joined(_state: State, event: FederationJoined) -> Joined:
    return Joined(facts=event.facts, index=event.index)


MACHINE = Machine(
    kind="federation",
    initial=NotJoined(),
    states=(NotJoined, Joined),
    inputs=(Join,),
    events=(FederationJoined,),
    rules={
        (NotJoined, Join): Handle(_join, to=(Joined,)),
        (Joined, Join): Refuse("the gateway serves this federation already", ConflictError),
    },
    evolvers={FederationJoined: _joined},
)
