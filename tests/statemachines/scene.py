"""A log in memory with all machines on it, and the facts that the tests speak of."""

from collections.abc import Mapping

import msgspec

from engine.chain import Row
from engine.events import Event
from engine.fold import Machines
from engine.machine import Effect, Input, Machine, State
from fedimint.wire_types import FeeConsensus
from statemachines import ALL_MACHINES, send
from statemachines.ledger import Report, audit
from statemachines.send import RequestSend, SendFacts
from statemachines.items import HeldNote
from statemachines.transaction import wallet_of
from statemachines.wallet import FederationFees, OpenWallet, Wallet

FEDERATION = "fe" * 32
WALLET = wallet_of(FEDERATION)
EXPIRES_UNIX_S = 10_000
FEES = FederationFees(lnv2=FeeConsensus(1_000, 0), mint=FeeConsensus(100, 0))
FREE = FederationFees(lnv2=FeeConsensus(0, 0), mint=FeeConsensus(0, 0))
PREIMAGE = "aa" * 32
MACHINES = Machines(ALL_MACHINES)


def facts(
    number: int = 1, *, contract_msat: int = 1_100_000, invoice_msat: int = 1_000_000
) -> SendFacts:
    """A contract with 90,000 msat left for routing, unless said otherwise."""
    return SendFacts(
        federation_id=FEDERATION,
        contract_id=f"{number:064x}",
        txid="11" * 32,
        out_idx=number,
        contract="00",
        payment_hash=f"{number:064x}",
        invoice=f"lnbcrt{number}",
        invoice_msat=invoice_msat,
        invoice_expires_unix_s=EXPIRES_UNIX_S,
        contract_msat=contract_msat,
        minimum_msat=invoice_msat + 10_000,
    )


def note(tweak: str, denomination: int = 20) -> HeldNote:
    return HeldNote(denomination, tweak, f"nonce of {tweak} {denomination}", "5f")


def step(
    machine: Machine, state: State, input_: Input
) -> tuple[State, tuple[Event, ...], list[Input]]:
    """The state after, the events, and what others are told; checked against the table."""
    decision = machine.decide(state, input_)
    after = state
    for event in decision.events:
        after = machine.evolve(after, event)
    machine.check_step(state, input_, after)
    return after, decision.events, [tell.input for tell in decision.tells]


class Scene:
    """Decides as the engine does, one append after the other, and keeps the rows."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self.rows: list[Row] = []
        self.events: list[tuple[str, Event]] = []
        self._versions: dict[str, int] = {}

    def state(self, stream: str) -> State:
        return self.states.get(stream, MACHINES.of(stream).initial)

    def send(self, number: int = 1) -> State:
        return self.state(send.stream_of(facts(number).contract_id))

    @property
    def wallet(self) -> Wallet:
        state = self.state(WALLET)
        assert isinstance(state, Wallet)
        return state

    def wants(self, stream: str) -> Mapping[str, Effect]:
        return MACHINES.of(stream).wants(self.state(stream))

    def deliver(self, stream: str, input_: Input) -> None:
        """All events of the input and its tells, or none when something is refused."""
        decided: dict[str, State] = {}
        events: list[tuple[str, Event]] = []
        self._decide(decided, events, stream, input_)
        self.states |= decided
        first = len(self.rows) + 1
        for stream_, event in events:
            version = self._versions[stream_] = self._versions.get(stream_, 0) + 1
            encoded = MACHINES.codec.encode(event)
            self.rows.append(Row(len(self.rows) + 1, first, stream_, version, encoded, 1, 0))
        self.events += events

    def audit(self) -> Report:
        return audit(MACHINES, self.rows)

    def _decide(
        self,
        decided: dict[str, State],
        events: list[tuple[str, Event]],
        stream: str,
        input_: Input,
    ) -> None:
        machine = MACHINES.of(stream)
        before = decided.get(stream, self.state(stream))
        decision = machine.decide(before, input_)
        after = before
        for event in decision.events:
            after = machine.evolve(after, event)
            events.append((stream, event))
        machine.check_step(before, input_, after)
        decided[stream] = after
        for tell in decision.tells:
            self._decide(decided, events, tell.stream, tell.input)


def opened(fees: FederationFees = FEES) -> Scene:
    """A scene whose federation is joined."""
    scene = Scene()
    scene.deliver(WALLET, OpenWallet(federation_id=FEDERATION, fees=fees))
    return scene


def request(number: int = 1, **changes: int) -> RequestSend:
    asked = msgspec.structs.replace(facts(number), **changes)
    return RequestSend(facts=asked, other_network=False)
