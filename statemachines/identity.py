"""Which gateway this log belongs to, and the indices it has given out. Stream: `gateway/self`."""

from typing import ClassVar

from engine.events import Event
from engine.machine import Decision, Handle, Input, Machine, Refuse, State, Tell
from errors import ConfigError, ConflictError
from statemachines.federation import FederationFacts, Join
from statemachines.federation import stream_of as federation_stream
from statemachines.items import HeldNote

STREAM = "gateway/self"


class Unfounded(State, frozen=True):
    """A new log."""


class Founded(State, frozen=True):
    """`mnemonic_fingerprint` tells mnemonics apart and leads back to none; `federations` counts indices given out."""

    network: str
    mnemonic_fingerprint: str
    federations: int = 0


class Start(Input, frozen=True):
    """The process starts with this network and mnemonic."""

    network: str
    mnemonic_fingerprint: str


class JoinFederation(Input, frozen=True):
    """Join with the next index. `recovered` are notes of ours that the federation's history holds."""

    facts: FederationFacts
    recovered: tuple[HeldNote, ...] = ()


class GatewayFounded(Event, frozen=True):
    kind: ClassVar[str] = "gateway.founded"
    network: str
    mnemonic_fingerprint: str


class IndexTaken(Event, frozen=True):
    """`index` is this federation's; an index is never given to another (it is its short channel id in LNv1)."""

    kind: ClassVar[str] = "gateway.index_taken"
    federation_id: str
    index: int


def _found(_state: Unfounded, input_: Start) -> Decision:
    founded = GatewayFounded(
        network=input_.network, mnemonic_fingerprint=input_.mnemonic_fingerprint
    )
    return Decision(events=(founded,))


def _start(state: Founded, input_: Start) -> Decision:
    if state.network != input_.network:
        raise ConfigError(
            f"this data directory belongs to a gateway on {state.network}, not {input_.network}: "
            "choose its network or another data directory"
        )
    if state.mnemonic_fingerprint != input_.mnemonic_fingerprint:
        raise ConfigError(
            "this data directory belongs to a gateway with another mnemonic: "
            "give that one or choose another data directory"
        )
    return Decision()


def _join(state: Founded, input_: JoinFederation) -> Decision:
    facts, index = input_.facts, state.federations + 1
    join = Join(facts=facts, index=index, recovered=input_.recovered)
    return Decision(
        events=(IndexTaken(federation_id=facts.federation_id, index=index),),
        tells=(Tell(federation_stream(facts.federation_id), join),),
    )


def _founded(_state: Unfounded, event: GatewayFounded) -> Founded:
    return Founded(network=event.network, mnemonic_fingerprint=event.mnemonic_fingerprint)


def _index_taken(state: Founded, event: IndexTaken) -> Founded:
    return Founded(
        network=state.network,
        mnemonic_fingerprint=state.mnemonic_fingerprint,
        federations=event.index,
    )


MACHINE = Machine(
    kind="gateway",
    initial=Unfounded(),
    states=(Unfounded, Founded),
    inputs=(Start, JoinFederation),
    events=(GatewayFounded, IndexTaken),
    rules={
        (Unfounded, Start): Handle(_found, to=(Founded,)),
        (Unfounded, JoinFederation): Refuse("the gateway has not started yet", ConflictError),
        (Founded, Start): Handle(_start, to=(Founded,)),
        (Founded, JoinFederation): Handle(_join, to=(Founded,)),
    },
    evolvers={GatewayFounded: _founded, IndexTaken: _index_taken},
)
