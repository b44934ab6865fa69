"""Deposits in one federation: our addresses, and how far its list of outputs was scanned.

Addresses are ground ahead of need (about 65,536 tries each), in the order of their indices; the one to give away is the
first that nobody paid to. The federation lists every output in one order, and ours become deposits of their own
(`deposit.py`). The list is read no further than to the first payment to the last address known, so that after a
recovery no older deposit is passed over. Stream: `deposits/<federation id>`.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

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
from statemachines import deposit
from statemachines.deposit import DepositOutput, DepositSeen

#: Unused addresses kept: the one given away, and the next.
ADDRESSES_AHEAD: Final = 2


class DepositAddress(msgspec.Struct, frozen=True):
    """An address of ours: its index leads to its key, `script` is its scriptPubKey in hex."""

    index: int
    script: str


# --- states ----------------------------------------------------------------------------------------------------


class Closed(State, frozen=True):
    """The federation was never joined, or has no walletv2 module."""


class Watching(State, frozen=True):
    """`used` counts addresses that were paid to; `next_output` is the first of the list that was not looked at."""

    federation_id: str
    addresses: tuple[DepositAddress, ...] = ()
    used: int = 0
    next_output: int = 0

    @property
    def unused(self) -> tuple[DepositAddress, ...]:
        """Addresses that nobody paid to, the one to give away first."""
        return self.addresses[self.used :]


class Paused(State, frozen=True):
    """The federation is left; everything is kept for the day it is joined again."""

    watching: Watching


# --- inputs ----------------------------------------------------------------------------------------------------


class WatchDeposits(Input, frozen=True):
    """The federation is joined, or joined again."""

    federation_id: str


class PauseDeposits(Input, frozen=True):
    """The federation is left."""


class AddressGround(Input, frozen=True):
    address: DepositAddress


class OutputsScanned(Input, frozen=True):
    """The outputs before `next_output` were looked at. `found` are those on our addresses and unspent, in order.

    `used` counts the addresses that were ever paid to, spent outputs included.
    """

    next_output: int
    used: int
    found: tuple[DepositOutput, ...]


# --- events ----------------------------------------------------------------------------------------------------


class DepositsWatched(Event, frozen=True):
    kind: ClassVar[str] = "deposits.watched"
    federation_id: str


class DepositsPaused(Event, frozen=True):
    kind: ClassVar[str] = "deposits.paused"


class DepositsAddressGround(Event, frozen=True):
    kind: ClassVar[str] = "deposits.address_ground"
    address: DepositAddress


class DepositsScanned(Event, frozen=True):
    kind: ClassVar[str] = "deposits.scanned"
    next_output: int
    used: int


# --- effects ---------------------------------------------------------------------------------------------------


class GrindAddress(Effect, frozen=True):
    """Find the first index from `start` on that makes an address."""

    may_pay_twice: ClassVar[bool] = False
    federation_id: str
    start: int


class ScanOutputs(Effect, frozen=True):
    """Look at outputs from `next_output` on until one is ours; no further than the first on the last address."""

    may_pay_twice: ClassVar[bool] = False
    watching: Watching


def stream_of(federation_id: str) -> str:
    """The stream of a federation's deposits, given its id in hex."""
    return f"deposits/{federation_id}"


# --- transitions -----------------------------------------------------------------------------------------------


def _watch(_state: Closed | Paused, input_: WatchDeposits) -> Decision:
    return Decision(events=(DepositsWatched(federation_id=input_.federation_id),))


def _pause(_state: Watching, _input: PauseDeposits) -> Decision:
    return Decision(events=(DepositsPaused(),))


def _ground(state: Watching, input_: AddressGround) -> Decision:
    """Indices only rise, so a result that comes twice is taken once."""
    if input_.address.index < next_index(state):
        return Decision()
    return Decision(events=(DepositsAddressGround(address=input_.address),))


def _scanned(state: Watching, input_: OutputsScanned) -> Decision:
    """Each output is told once: what lies before `next_output` was told before."""
    if input_.next_output <= state.next_output:
        return Decision()
    scanned = DepositsScanned(next_output=input_.next_output, used=max(state.used, input_.used))
    tells = tuple(
        Tell(
            deposit.stream_of(state.federation_id, output.output_index),
            DepositSeen(federation_id=state.federation_id, output=output),
        )
        for output in input_.found
        if output.output_index >= state.next_output
    )
    return Decision(events=(scanned,), tells=tells)


def next_index(state: Watching) -> int:
    """The first address index that was never ground."""
    return state.addresses[-1].index + 1 if state.addresses else 0


def _wants(state: Watching) -> Mapping[str, Effect]:
    wanted: dict[str, Effect] = {}
    if len(state.unused) < ADDRESSES_AHEAD:
        wanted["grind"] = GrindAddress(federation_id=state.federation_id, start=next_index(state))
    if state.unused:
        wanted["scan"] = ScanOutputs(watching=state)
    return wanted


def _watched(state: State, event: DepositsWatched) -> Watching:
    return (
        state.watching if isinstance(state, Paused) else Watching(federation_id=event.federation_id)
    )


_RULES = table(
    {
        (Closed, WatchDeposits): Handle(_watch, to=(Watching,)),
        (Watching, PauseDeposits): Handle(_pause, to=(Paused,)),
        (Watching, AddressGround): Handle(_ground, to=(Watching,)),
        (Watching, OutputsScanned): Handle(_scanned, to=(Watching,)),
        (Paused, WatchDeposits): Handle(_watch, to=(Watching,)),
    },
    refused(
        (Closed, Paused),
        (AddressGround, OutputsScanned),
        "the gateway takes no bitcoin for this federation",
    ),
    ignored((Watching,), (WatchDeposits,), "it is watched already"),
    ignored((Closed, Paused), (PauseDeposits,), "nothing is watched"),
)

MACHINE = Machine(
    kind="deposits",
    initial=Closed(),
    states=(Closed, Watching, Paused),
    inputs=(WatchDeposits, PauseDeposits, AddressGround, OutputsScanned),
    rules=_RULES,
    evolvers={
        DepositsWatched: _watched,
        DepositsPaused: lambda state, _event: Paused(watching=state),
        DepositsAddressGround: lambda state, event: msgspec.structs.replace(
            state, addresses=(*state.addresses, event.address)
        ),
        DepositsScanned: lambda state, event: msgspec.structs.replace(
            state, next_output=event.next_output, used=event.used
        ),
    },
    wants_of={Watching: _wants},
)
