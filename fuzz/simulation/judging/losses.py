"""Losses in a log: each must be explained by a recorded fault, or not be worth its fees.

A contract whose claim a federation refused stays in it, and notes that it refused stay good; both are counted, so that
in the end nobody's books hide more than these.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from engine.chain import StoredStep
from engine.events import Event
from fuzz.simulation.judging.lost_logs import LostLogs
from fuzz.simulation.judging.recorded_faults import Wrongs
from statemachines import (
    completion,
    deposit,
    federation,
    receive,
    receive_rules,
    send,
    transaction,
    wallet,
)

#: More than a claim costs that does not wait for cheaper times.
WORTH_CLAIMING_SAT = 2_000


@dataclass
class Losses:
    """Follows one log beside the auditor."""

    wrongs: Wrongs
    lost: LostLogs
    written_off_msat: int = 0
    """What may be in the account of losses."""
    stuck_msat: Counter[str] = field(default_factory=Counter)
    """What stays in contracts that nobody takes any more, by federation."""
    dead_notes_msat: Counter[str] = field(default_factory=Counter)
    """Notes that the log has given up and the federation has not, by federation."""
    _txids: dict[str, str] = field(default_factory=dict)
    _rejected: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def inspect(self, step: StoredStep, before: Any) -> Iterator[str]:
        """Take one event; yield what must not have happened."""
        self.written_off_msat += _given_up_msat(step.event, before)
        match step.event:
            case transaction.TxSigned(txid=txid):
                self._txids[step.row.stream] = txid
            case transaction.TxRejected():
                self._rejected[before.reservation.parent].append(before.signed.txid)
            case wallet.NotesLost(amount_msat=amount_msat) if spent_msat := self.lost.spent_msat(
                step.event, before
            ):  # with what was beside them and is not worth a fee
                self.dead_notes_msat[before.federation_id] += amount_msat - spent_msat
                self.written_off_msat += amount_msat
            case wallet.NotesLost(tx=tx, amount_msat=amount_msat):
                self.dead_notes_msat[before.federation_id] += amount_msat
                yield from self._forgive(
                    amount_msat, self._is_wronged(self._txids[tx]), f"6: notes of {tx} are lost"
                )
            case send.SendClaimRejected() | receive.ReceiveRefundLost() if self._is_gone(step):
                self.written_off_msat += before.facts.contract_msat
            case send.SendClaimRejected(tx=tx):
                is_outlived = before.facts.contract_id in self.wrongs.outlived
                yield from self._contract_lost(
                    before, is_outlived or self._is_wronged(self._txids[tx])
                )
            case receive.ReceiveRefundLost():
                yield from self._contract_lost(before, self._is_refund_lost(before, step))
            case deposit.DepositDropped():
                yield from self._dropped(before, step.row.stream)
            case completion.CompletionRejected():
                yield from self._contradicted(before)

    def _is_gone(self, step: StoredStep) -> bool:
        """A contract that lost events took, or that its receiver may take since the operator gave it up."""
        given_up = getattr(step.event, "reason", "") == receive_rules.GIVEN_UP
        return given_up or self.lost.have_claimed(step.row.stream)

    def _is_wronged(self, txid: str) -> bool:
        return txid in self.wrongs.refused

    def _is_refund_lost(self, before: Any, step: StoredStep) -> bool:
        if isinstance(before, receive.Decrypting):
            return not before.facts.refund_worth_msat
        return any(map(self._is_wronged, self._rejected[step.row.stream]))

    def _contract_lost(self, before: Any, is_forgiven: bool) -> Iterator[str]:
        facts = before.facts
        self.stuck_msat[facts.federation_id] += facts.contract_msat
        what = f"5: {facts.contract_msat} msat of {facts.payment_hash} are given up"
        yield from self._forgive(facts.contract_msat, is_forgiven, what)

    def _dropped(self, before: deposit.Found, stream: str) -> Iterator[str]:
        output = before.output
        is_taken = (before.federation_id, output.output_index) in self.wrongs.taken
        is_forgiven = (
            is_taken or self.lost.have_claimed(stream) or output.value_sat < WORTH_CLAIMING_SAT
        )
        yield from self._forgive(1_000 * output.value_sat, is_forgiven, f"{stream} is dropped")

    def _contradicted(self, before: Any) -> Iterator[str]:
        payment_hash = before.payment_hash
        is_bought = isinstance(before, completion.Settling)
        wrongs = self.wrongs.given_up if is_bought else self.wrongs.forgotten
        what = f"4: the node contradicts the answer to {payment_hash}"
        lost_msat = before.amount_msat if is_bought else 0
        yield from self._forgive(lost_msat, payment_hash in wrongs, what)

    def _forgive(self, amount_msat: int, is_forgiven: bool, what: str) -> Iterator[str]:
        """Nobody is charged for what the log need not have lost: the books then show it, too."""
        if is_forgiven:
            self.written_off_msat += amount_msat
        else:
            yield f"{what}, and nobody is to blame but the gateway"


def _given_up_msat(event: Event, before: Any) -> int:
    """What the operator gives up with a federation, and finds again on coming back."""
    if isinstance(event, federation.FederationGivenUp):
        return event.written_off_msat
    if isinstance(event, federation.FederationJoined) and isinstance(before, federation.Left):
        return -before.written_off_msat
    return 0
