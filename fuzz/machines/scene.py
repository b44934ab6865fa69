"""A log in memory with all machines on it, and facts of payments for walks and tests."""

from collections.abc import Mapping

import msgspec

from engine.chain import Row
from engine.events import Event
from engine.fold import Machines
from engine.machine import Effect, Input, Machine, State
from fedimint.codec.wire_types import FeeConsensus
from statemachines import ALL_MACHINES, receive, send, transaction
from statemachines.items import HeldNote, Issue, Reservation, SignedTransaction
from statemachines.ledger import Report, audit
from statemachines.receive import ReceiveFacts
from statemachines.reserving import FederationFees
from statemachines.send import RequestSend, SendFacts
from statemachines.transaction import (
    Built,
    NotesCollected,
    SubmissionAccepted,
    SubmissionRejected,
    wallet_of,
)
from statemachines.wallet import OpenWallet, RecoverNotes, Wallet

FEDERATION = "fe" * 32
OTHER = "0d" * 32
NODE = "02" + "ed" * 32
OTHER_NODE = "03" + "0d" * 32
WALLET = wallet_of(FEDERATION)
EXPIRES_UNIX_S = 10_000
CONTRACT_EXPIRES_UNIX_S = 20_000
FEES = FederationFees(lnv2=FeeConsensus(1_000, 0), mintv2=FeeConsensus(100, 0))
BITCOIN_FEES = FederationFees(lnv2=FEES.lnv2, mintv2=FEES.mintv2, walletv2=FeeConsensus(100_000, 0))
FREE = FederationFees(lnv2=FeeConsensus(0, 0), mintv2=FeeConsensus(0, 0))
PREIMAGE = "aa" * 32
MACHINES = Machines(ALL_MACHINES)


def facts(
    number: int = 1,
    *,
    contract_msat: int = 1_100_000,
    invoice_msat: int = 1_000_000,
    federation_id: str = FEDERATION,
    is_swap: bool = False,
) -> SendFacts:
    """A contract with 90,000 msat left for routing, unless said otherwise."""
    return SendFacts(
        federation_id=federation_id,
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
        is_swap=is_swap,
        node=NODE,
    )


def receive_facts(
    number: int = 1,
    *,
    federation_id: str = FEDERATION,
    invoice_msat: int = 1_000_000,
    refund_worth_msat: int = 979_000,
) -> ReceiveFacts:
    """An invoice of which the gateway keeps 20,000 msat; `facts` of the same number pay it."""
    return ReceiveFacts(
        federation_id=federation_id,
        contract_id=f"{number:064x}",
        contract=f"contract {number}",
        payment_hash=f"{number:064x}",
        invoice_msat=invoice_msat,
        contract_msat=invoice_msat - 20_000,
        contract_expires_unix_s=CONTRACT_EXPIRES_UNIX_S,
        invoice_expires_unix_s=EXPIRES_UNIX_S,
        expiry_s=3_600,
        refund_worth_msat=refund_worth_msat,
        description="coffee",
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

    def receive(self, number: int = 1) -> State:
        return self.state(receive.stream_of(receive_facts(number).payment_hash))

    def last_append(self) -> list[str]:
        """What the newest append wrote."""
        return [row.kind for row in self.rows if row.append == self.rows[-1].append]

    def hold(self, *notes: HeldNote, federation_id: str = FEDERATION) -> None:
        """The wallet comes by these notes."""
        self.deliver(wallet_of(federation_id), RecoverNotes(notes=notes))

    def reservation(self, tx: str) -> Reservation:
        state = self.state(tx)
        assert isinstance(
            state, transaction.Reserved | transaction.Signed | transaction.Accepted
        ), state
        return state.reservation

    def build(self, tx: str) -> None:
        """Sign it; tweaks that are missing are ground."""
        issues = tuple(
            issue if issue.tweak else Issue(issue.denomination, f"ground {number} of {tx}")
            for number, issue in enumerate(self.reservation(tx).issues)
        )
        self.deliver(
            tx, Built(signed=SignedTransaction(txid_of(tx), b"bytes", issues), now_unix_s=5_000)
        )

    def accept(self, tx: str) -> None:
        self.build(tx)
        self.deliver(tx, SubmissionAccepted())

    def reject(self, tx: str) -> None:
        self.build(tx)
        self.deliver(tx, SubmissionRejected(error="no"))

    def collect(self, tx: str) -> None:
        """All notes that it issued."""
        state = self.state(tx)
        assert isinstance(state, transaction.Accepted)
        notes = tuple(note(issue.tweak, issue.denomination) for issue in state.signed.issues)
        self.deliver(tx, NotesCollected(notes=notes, lost_msat=0))

    def finish(self, tx: str) -> None:
        self.accept(tx)
        self.collect(tx)

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


def opened_both(fees: FederationFees = FEES) -> Scene:
    """A scene with two federations and a note of about 1,048,576 msat three times in each."""
    scene = opened(fees)
    scene.deliver(wallet_of(OTHER), OpenWallet(federation_id=OTHER, fees=fees))
    for federation_id in (FEDERATION, OTHER):
        notes = [note(f"{federation_id[:2]} {number}") for number in range(3)]
        scene.hold(*notes, federation_id=federation_id)
    return scene


def txid_of(tx: str) -> str:
    """The txid that `Scene.build` gives a transaction."""
    return f"txid of {tx}"


def request(number: int = 1, **changes: int | str) -> RequestSend:
    asked = msgspec.structs.replace(facts(number), **changes)
    return RequestSend(facts=asked, other_network=False)
