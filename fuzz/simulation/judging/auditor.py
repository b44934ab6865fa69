"""Checks docs/money.md from outside: follows the log as it grows, and every outgoing call.

Nothing here asks the gateway: the auditor folds the committed rows itself, and looks at the node, the guardians and
the answers from outside. Whatever it finds wrong becomes a sentence that begins with the number of
the promise.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from backends.lightning import InFlight, Succeeded
from backends.simulated.node import SimulatedNode
from engine.chain import Row, StoredStep
from engine.fold import Machines, Position
from engine.machine import State
from engine.quarantine import QuarantineLifted, StreamQuarantined, subject_of
from fedimint.codec import bolt11
from fuzz.inputs.magnitudes import absurd_numbers
from fuzz.simulation.judging.conditions import Conditions
from fuzz.simulation.judging.losses import Losses
from fuzz.simulation.judging.lost_logs import LostLogs
from fuzz.simulation.judging.moments import Moments
from fuzz.simulation.judging.recorded_faults import Wrongs
from fuzz.simulation.judging.stakes import at_stake_msat
from gateway.log import machines
from statemachines import (
    completion,
    gift,
    image,
    ledger,
    operator_payment,
    receive,
    send,
    transaction,
)
from statemachines.identity import IndexTaken
from statemachines.send import stream_of as send_stream

#: Of a receive whose contract is bought or being bought: its payer may not be refunded.
_BOUGHT = (receive.Funding, receive.Decrypting, receive.Received)

#: Of a payment whose routing and amount are booked.
_PAID = (send.Paid, send.Claiming, send.Claimed, send.ClaimRejected, operator_payment.Paid)


@dataclass
class Auditor:
    """Follows one log over all lives of a gateway, beside the node of this gateway."""

    node: SimulatedNode
    moments: Moments
    wrongs: Wrongs
    problems: list[str] = field(default_factory=list)
    position: int = 0
    given: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    """Ecash given away: msat by nonce, by federation."""
    lifted: Counter[str] = field(default_factory=Counter)
    """How often the quarantine of a stream was ended."""
    _machines: Machines = field(default_factory=machines)
    _known: dict[str, Position] = field(default_factory=dict)
    _books: ledger.Auditor = field(default_factory=ledger.Auditor)
    _images: dict[str, str] = field(default_factory=dict)
    lost: LostLogs = field(default_factory=LostLogs)
    _tweaks: dict[tuple[str, str], str] = field(default_factory=dict)
    _reserved_before: set[str] = field(default_factory=set)
    _signed: set[str] = field(default_factory=set)
    _funded: set[str] = field(default_factory=set)
    _dispatched: set[tuple[str, int]] = field(default_factory=set)
    _indices: dict[str, str] = field(default_factory=dict)
    _lines: list[tuple[str, str]] = field(default_factory=list)
    _to_complete: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.losses = Losses(self.wrongs, self.lost)
        self._conditions = Conditions(self.state_of, self._at_stake_msat, self.wrongs.given_up)

    # --- the log ---

    def committed(self, step: StoredStep) -> None:
        """An `engine.Observer.committed`: a row is durable now."""
        self._take(step.row)

    def catch_up(self, rows: Iterable[Row]) -> None:
        """Read what became durable in the moment that the last life died."""
        for row in rows:
            self._take(row)

    def goes_on_from(self, rows: Sequence[Row]) -> None:
        """Another log has taken the place of this one, which is lost: one restored from its backup, or an empty one.

        What of this log is in the other was judged before. What is not is remembered: keys and calls of lost events
        may not be used again, and what they moved the books can only know from outside (`lost_logs.py`).
        """
        self.lost.remember(self.states(), self.given)
        told, self.problems = self.problems, []
        self._lines = [(f"lost {line}", key) for line, key in self._lines]
        self._known, self._books = {}, ledger.Auditor()
        self._images, self._indices = {}, {}
        self._signed, self._funded, self._to_complete = set(), set(), {}
        self.given = defaultdict(dict)
        self.losses = Losses(self.wrongs, self.lost)
        self._conditions = Conditions(self.state_of, self._at_stake_msat, self.wrongs.given_up)
        self.position = 0
        for row in rows:
            self._take(row)
        self.problems = told
        self._reserved_before = {
            stream
            for stream, state in self.states().items()
            if isinstance(state, transaction.Reserved)
        }

    def balances(self) -> dict[str, int]:
        """The books at rest, in msat by account; what is wrong with them becomes a problem, too."""
        self._note(self._books.finish())
        for payment_hash in self._to_complete:
            self._check(False, f"4: {payment_hash} is funded and nothing answers its HTLCs")
        return self._books.balances

    def states(self) -> dict[str, State]:
        """The durable state of every stream."""
        return {stream: position.state for stream, position in self._known.items()}

    def state_of(self, stream: str) -> State:
        """The durable state of a stream."""
        known = self._known.get(stream)
        return known.state if known is not None else self._machines.of(stream).initial

    def _take(self, row: Row) -> None:
        if row.position <= self.position:
            return
        self.position = row.position
        before: Any = self.state_of(row.stream)
        step = self._machines.step(self._known, row)
        self._known[row.stream] = Position.after(step)
        self._note(self._books.inspect(before, step))
        seconds = row.recorded_unix_us / 1_000_000
        key = row.stream.partition("/")[2]
        self._lines.append((f"{row.position:5} {seconds:.3f} {row.stream} {row.kind}", key))
        for problem in absurd_numbers(step.event):
            self._check(False, f"9: {row.stream} {row.kind}: {problem}")
        self._judge(step, before)
        for problem in self.losses.inspect(step, before):
            self._check(False, problem)
        moments = self.moments.of(row.recorded_unix_us)
        for problem in self._conditions.inspect(step, before, moments):
            self._check(False, problem)
        if isinstance(step.event, gift.GiftGiven):
            notes = {note.nonce: note.amount_msat for note in step.event.notes}
            self.given[before.facts.federation_id] |= notes

    def _judge(self, step: StoredStep, before: Any) -> None:
        row = step.row
        match step.event:
            case StreamQuarantined(where=where, fault=fault):
                self._check(
                    subject_of(row.stream) in self.wrongs.mistaken,
                    f"10: {row.stream} stopped by a mistake in {where}: {fault}",
                )
            case QuarantineLifted():
                self.lifted[subject_of(row.stream)] += 1
            case image.ImageClaimed(operation=operation):
                self._once(self._images, row.stream, operation)
            case transaction.TxSigned(encoded=encoded):
                self._signed.add(encoded.hex())
                self.lost.signed(step.event, before, self.state_of)
                self._tweaks_are_new(row.stream, step.state)
            case send.SendCancelling() | send.SendCancelled():
                self._can_never_settle(step.state)
            case receive.ReceiveFunding():
                self._may_be_funded(step.state, row.append)
            case completion.CompletionBegun(payment_hash=payment_hash):
                funded_in = self._to_complete.pop(payment_hash, row.append)
                self._check(
                    funded_in == row.append, f"4: {payment_hash} was funded in another append"
                )
            case IndexTaken(federation_id=federation_id, index=index):
                self._once(self._indices, str(index), federation_id)

    def _once(self, known: dict[str, str], key: str, value: str) -> None:
        self._check(key not in known, f"1: {key} was given to {known.get(key)} and to {value}")
        known[key] = value

    def _tweaks_are_new(self, tx: str, state: State) -> None:
        """But for what a backup had reserved: signed anew, at most one of both is accepted."""
        federation = tx.partition("/")[2].partition("-")[0]
        assert isinstance(state, transaction.Signed)
        for tweak in (issue.tweak for issue in state.signed.issues):
            user = self._tweaks.setdefault((federation, tweak), "")
            is_the_same = user == tx and tx in self._reserved_before
            self._check(not user or is_the_same, f"5: {tx} uses the tweak {tweak} again")
            self._tweaks[federation, tweak] = tx

    def _can_never_settle(self, state: State) -> None:
        assert isinstance(state, send.Cancelling | send.Cancelled)
        facts = state.facts
        record = self.wrongs.payment(self.node, facts.payment_hash)
        if self._operation_of(facts.payment_hash) == send_stream(facts.contract_id):
            self._check(
                not isinstance(record, InFlight | Succeeded),
                f"2: {facts.contract_id} was given back while the node says {record}",
            )
        if facts.is_swap:
            receiver = self.state_of(receive.stream_of(facts.payment_hash))
            self._check(
                not isinstance(receiver, _BOUGHT)
                or receiver.payer not in {send_stream(facts.contract_id), receive.UNKNOWN_PAYER},
                f"2: the swap {facts.contract_id} was given back while its receiver is funded",
            )

    def _may_be_funded(self, state: State, append: int) -> None:
        assert isinstance(state, receive.Funding)
        facts = state.facts
        self._check(
            facts.payment_hash not in self._funded, f"4: {facts.payment_hash} was funded twice"
        )
        self._funded.add(facts.payment_hash)
        self._check(
            facts.payment_hash not in self.wrongs.of_another_gateway,
            f"4: {facts.payment_hash} was funded for an invoice of another gateway",
        )
        if state.payer:
            return
        self._to_complete[facts.payment_hash] = append

    def trace(self, problems: Iterable[str]) -> tuple[str, ...]:
        """Every row that the problems speak of, as `position time stream event`; all of them if none is named."""
        told = " ".join(problems)
        named = [line for line, key in self._lines if key in told]
        return tuple(named or [line for line, _key in self._lines])

    def has_signed(self, encoded: str) -> bool:
        """Whether a transaction (hex) is the gateway's."""
        return encoded in self._signed

    def spent_unbooked_msat(self) -> int:
        """What somebody spent at the node by hand, and no payment of the gateway's took for its own."""
        return sum(
            self.wrongs.spent_by_hand_msat(self.node, payment_hash)
            for payment_hash in self.wrongs.paid_by_hand
            if not isinstance(self._paying(payment_hash), _PAID)
        )

    # --- the ports ---

    def pay_leaves(self, invoice: str, max_fee_msat: int, max_delay_blocks: int) -> None:
        """The gateway calls its node to pay."""
        payment_hash = bolt11.decode(invoice).payment_hash.hex()
        operation, state = self._operation_of(payment_hash), self._paying(payment_hash)
        budgets = (max_fee_msat, max_delay_blocks)
        match state:
            case send.Dispatching(intent=intent):
                self._check(
                    budgets == (intent.max_fee_msat, intent.max_delay_blocks),
                    f"3: {operation} is called with {budgets}, intended was {intent}",
                )
                call = (operation, intent.attempt)
                self._check(call not in self._dispatched, f"3: {call} was called twice")
                self._dispatched.add(call)
            case operator_payment.Paying():
                pass
            case _:
                self._check(
                    False,
                    f"3: {payment_hash} is called without an intent, in {type(state).__name__}",
                )

    def settle_leaves(self, payment_hash: bytes, preimage: bytes) -> None:
        """The gateway gives its node a preimage."""
        state = self.state_of(completion.stream_of(payment_hash.hex()))
        self._check(
            isinstance(state, completion.Settling | completion.Settled)
            and state.preimage == preimage.hex()
            and hashlib.sha256(preimage).digest() == payment_hash,
            f"4: {payment_hash.hex()} is settled in {type(state).__name__}",
        )

    def cancel_leaves(self, payment_hash: bytes) -> None:
        """The gateway has its node cancel HTLCs."""
        is_anothers = payment_hash.hex() in self.wrongs.of_another_gateway
        self._check(not is_anothers, f"4: {payment_hash.hex()} of another gateway is cancelled")
        state = self.state_of(receive.stream_of(payment_hash.hex()))
        if isinstance(state, _BOUGHT) and not state.payer:
            self._check(False, f"4: {payment_hash.hex()} is cancelled in {type(state).__name__}")

    def bytes_leave(self, encoded: str) -> None:
        """The gateway submits a transaction (hex)."""
        self._check(
            encoded in self._signed, "8: bytes of a transaction left before they were durable"
        )

    def preimage_leaves(self, contract_id: str) -> None:
        """A sender has the preimage."""
        state = self.state_of(send_stream(contract_id))
        self._check(
            isinstance(state, send.Claiming | send.Claimed | send.ClaimRejected),
            f"8: the preimage of {contract_id} left in {type(state).__name__}",
        )

    def forfeit_leaves(self, contract_id: str) -> None:
        """A sender may take the contract back."""
        state = self.state_of(send_stream(contract_id))
        self._check(
            isinstance(state, send.Cancelled),
            f"8: the forfeit of {contract_id} left in {type(state).__name__}",
        )

    def ecash_leaves(self, nonces: Iterable[str]) -> None:
        """The operator has ecash as text."""
        given = self.lost.given.union(*self.given.values())
        for nonce in nonces:
            self._check(nonce in given, f"8: the note {nonce} left before it was spent")

    def _at_stake_msat(self, federation_id: str) -> int:
        return at_stake_msat(federation_id, self.states().values(), self._books.balances)

    def _paying(self, payment_hash: str) -> State | None:
        operation = self._operation_of(payment_hash)
        return self.state_of(operation) if operation else None

    def _operation_of(self, payment_hash: str) -> str:
        """Whose the payment is: the operator's, if they asked for it once a client's had ended without preimage."""
        state = self.state_of(image.stream_of(payment_hash))
        if not isinstance(state, image.Claimed):
            return ""
        operators = operator_payment.stream_of(payment_hash)
        was_given_up = isinstance(self.state_of(state.operation), send.Cancelled)
        return operators if was_given_up and operators in self._known else state.operation

    def _note(self, problems: Iterable[str]) -> None:
        for problem in problems:
            self._check(False, f"7: {problem}")

    def _check(self, holds: object, problem: str) -> None:
        if not holds and problem not in self.problems:
            self.problems.append(problem)
