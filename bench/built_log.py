"""Fills a gateway's log with payments by running its machines, with made-up answers and no signatures.

Events, states, tells and read models are those of production, and so are the sizes of what stands in for contracts,
invoices, transactions and notes.
"""

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.stand_ins import NODE, digits, incoming, outgoing, signed, tweak, with_notes
from engine.chain import Row, StoredStep, verified
from engine.fold import Position, fold
from engine.machine import Input, State
from engine.storage.store import Store
from gateway.log import machines, read_models
from migrations import SchemaSteps
from statemachines import completion, receive, send, transaction, wallet
from statemachines.transaction import Built, NotesCollected, Reserve, SubmissionAccepted, wallet_of

#: Rows in one transaction: as many as the journal takes.
ROWS_PER_COMMIT = 2_000
TWEAKS_AT_A_TIME = 8
NOW_UNIX_US = 1_800_000_000_000_000


class BuiltLog:
    """The log of a gateway that has joined a federation; nobody else may have it open."""

    def __init__(self, data_dir: Path) -> None:
        self._machines = machines()
        self._store = Store(data_dir, SchemaSteps(), read_models())
        self._known = fold(self._machines, verified(self._store.rows()), keep_final=False)
        self._position = self._store.head.position
        self._steps: list[StoredStep] = []
        self._reserved: list[Reserve] = []
        self._numbers = itertools.count(self._position)

    def close(self) -> None:
        self._commit()
        self._store.close()

    def add_tweaks(self, federation_id: str) -> None:
        """As many as are ground at a time, when the pool has room: then a transaction finds its tweaks there."""
        stream = wallet_of(federation_id)
        state = self._state(stream)
        assert isinstance(state, wallet.Wallet)
        if len(state.tweaks) < wallet.TWEAK_POOL_SIZE:
            number = next(self._numbers)
            tweaks = tuple(tweak(number, index) for index in range(TWEAKS_AT_A_TIME))
            self.tell(stream, wallet.AddTweaks(tweaks=tweaks))

    def finished_send(self, federation_id: str) -> None:
        """Paid, and its contract claimed."""
        stream = self.open_send(federation_id)
        self.tell(
            stream,
            send.PaymentSucceeded(
                preimage=digits("preimage", next(self._numbers), 64), routing_fee_msat=1_000
            ),
        )
        self._end_transactions()

    def finished_receive(self, federation_id: str) -> None:
        """Funded, decrypted, settled, and its change collected."""
        stream = self.open_receive(federation_id)
        state = self._state(stream)
        assert isinstance(state, receive.Invoiced)
        facts = state.facts
        self.tell(
            stream,
            receive.HtlcHeld(
                amount_msat=facts.invoice_msat, deadline_blocks=100, now_unix_s=0, refusal=None
            ),
        )
        self._end_transactions()
        self.tell(stream, receive.Decrypted(preimage=digits("preimage", next(self._numbers), 64)))
        self.tell(completion.stream_of(facts.payment_hash), completion.NodeConfirmed())

    def open_send(self, federation_id: str) -> str:
        """In flight at the node; its stream."""
        facts = outgoing(next(self._numbers), federation_id)
        stream = send.stream_of(facts.contract_id)
        self.tell(stream, send.RequestSend(facts=facts, other_network=False))
        self.tell(stream, send.BudgetMeasured(node=NODE, remaining_blocks=1_000, now_unix_s=0))
        self.tell(stream, send.SeenInFlight())
        return stream

    def open_receive(self, federation_id: str) -> str:
        """An invoice that nobody has paid; its stream."""
        facts, invoice = incoming(next(self._numbers), federation_id)
        stream = receive.stream_of(facts.payment_hash)
        self.tell(stream, receive.RequestReceive(facts=facts))
        self.tell(stream, receive.InvoiceCreated(invoice=invoice))
        return stream

    def tell(self, stream: str, input_: Input) -> None:
        """Decide like the engine does, with everything that is told in turn, as one append."""
        first = self._position + 1
        self._decide(first, stream, input_)
        if len(self._steps) >= ROWS_PER_COMMIT:
            self._commit()

    def _decide(self, first: int, stream: str, input_: Input) -> None:
        machine, known = self._machines.of(stream), self._known.get(stream)
        state, version = (known.state, known.version) if known else (machine.initial, 0)
        if isinstance(input_, Reserve):
            self._reserved.append(input_)
        decision = machine.decide(state, input_)
        for event in decision.events:
            state, version, self._position = (
                machine.evolve(state, event),
                version + 1,
                self._position + 1,
            )
            encoded = self._machines.codec.encode(event)
            row = Row(
                self._position, first, stream, version, encoded, self._store.epoch, NOW_UNIX_US
            )
            self._steps.append(StoredStep(row, event, state, machine.is_final(state)))
            self._known[stream] = Position(state, version, self._position)
        for tell in decision.tells:
            self._decide(first, tell.stream, tell.input)

    def _end_transactions(self) -> None:
        while self._reserved:
            reservation = self._reserved.pop(0).reservation
            self.tell(
                reservation.tx, Built(signed=signed(next(self._numbers), reservation), now_unix_s=0)
            )
            self.tell(reservation.tx, SubmissionAccepted())
            state = self._state(reservation.tx)
            assert isinstance(state, transaction.Accepted)
            notes = with_notes(state.signed.issues, self._numbers)
            self.tell(reservation.tx, NotesCollected(notes=notes, lost_msat=0))

    def _state(self, stream: str) -> State:
        return self._known[stream].state

    def _commit(self) -> None:
        if self._steps:
            self._store.append(self._steps)
        for step in self._steps:
            if step.final:
                self._known.pop(step.row.stream, None)
        self._steps.clear()


def fill(log: BuiltLog, federation_id: str, *, finished: int, open_now: int) -> None:
    """So many payments of both kinds by turns; what is left open comes spread among the others."""
    kinds: Iterable[tuple[Callable[[str], object], Callable[[str], object]]] = itertools.cycle(
        ((log.finished_send, log.open_send), (log.finished_receive, log.open_receive))
    )
    every = max(1, finished // max(1, open_now))
    opened = 0
    for number, (finish, leave_open) in zip(range(finished), kinds, strict=False):
        log.add_tweaks(federation_id)
        finish(federation_id)
        if number % every == 0 and opened < open_now:
            leave_open(federation_id)
            opened += 1
