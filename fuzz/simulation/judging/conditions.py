"""What must be true in the moment in which a gateway commits money, or refuses to.

Said a second time, by an observer: contracts and invoices are decoded anew, fees are those that the log had set when
a payment was accepted, and heights, HTLCs and times are those outside. None of the machines' rules is asked. Each
sentence begins with the number of a promise of docs/money.md.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.chain import StoredStep
from engine.machine import State
from fedimint import lnv2
from fedimint.codec import bolt11
from fuzz.simulation.judging.moments import Moment
from statemachines import federation, receive, send, transaction
from statemachines.items import FundedContract

#: Blocks that an HTLC at our node must have until its timelock: 36 within which the node claims on chain, and 2 more.
HTLC_BLOCKS_MIN = 38
#: Blocks that a sender's contract must have beyond the HTLC that it pays for.
CONTRACT_BLOCKS_MIN = 144
#: What may be at stake in a federation for which the operator has set nothing: 0.05 bitcoin.
CAP_MSAT = 5_000_000_000
#: Seconds that a receiver must have to claim what is funded.
RECEIVER_S_MIN = 60.0
#: What is not signed by then is decided anew, or given up; a second more, since the gateway counts whole ones.
SIGNED_WITHIN_S = 31.0
#: What the gateway's clock may be wrong by, and what was measured may be old when it is decided on.
CLOCK_S, MEASURED_S = 50.0, 60.0


class Decided(NamedTuple):
    """When something was decided, by the gateway's clock, and by which of its lives."""

    epoch: int
    unix_s: float


@dataclass
class Conditions:
    """Judges the steps of one log. `state_of` gives the durable state of a stream before them.

    `at_stake_msat` is what is at stake in a federation, by its id, after them.
    """

    state_of: Callable[[str], State]
    at_stake_msat: Callable[[str], int]
    given_up: Collection[str]
    """Payment hashes of HTLCs that others took from the node."""
    _earned_msat: dict[str, int] = field(default_factory=dict)
    """What the gateway asked for itself when it accepted a payment, by stream."""
    _decided: dict[str, Decided] = field(default_factory=dict)
    """The fundings that were decided, by the streams of their transactions."""
    _fees: defaultdict[str, list[tuple[float, federation.Fee]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """The fees that every federation ever had, each with the time from which on, by stream."""

    def inspect(self, step: StoredStep, before: Any, moments: Sequence[Moment]) -> Iterator[str]:
        """Take one step, decided in one of these moments; yield what must not have happened."""
        stream, now_s = step.row.stream, step.row.recorded_unix_us / 1_000_000
        self._remember(step, now_s)
        match step.event:
            case transaction.TxSigned() if stream in self._decided:
                yield from self._is_fresh(step, now_s)
            case receive.ReceiveRegistered(facts=facts):
                yield from self._receiver_pays(stream, facts)
            case receive.ReceiveFunding(payer=payer):
                yield from self._receiver_is_served(before.facts)
                yield from _receiver_waits(before.facts, now_s)
                if not payer:
                    yield from _any_of(
                        moments, lambda moment: _may_fund(before.facts, moment, self.given_up)
                    )
            case send.SendDispatching(intent=intent):
                yield from self._sender_pays(stream, before.facts, intent.max_fee_msat)
                delay = intent.max_delay_blocks
                yield from _any_of(moments, lambda moment: _may_call(before.facts, moment, delay))
                yield from self._is_trusted(before.facts)
            case send.SendSwapping() if not isinstance(before, send.Unanswered):
                # Otherwise it was found funded after a restore.
                yield from self._sender_pays(stream, before.facts, 0)
                yield from _any_of(moments, lambda moment: _may_call(before.facts, moment, 0))
                yield from self._is_trusted(before.facts)

    def _remember(self, step: StoredStep, now_s: float) -> None:
        stream, state = step.row.stream, step.state
        match step.event:
            case transaction.TxReserved(reservation=reservation):
                if any(isinstance(output, FundedContract) for output in reservation.outputs):
                    self._decided[stream] = Decided(step.row.epoch, now_s)
            case federation.FederationJoined() | federation.TermsSet():
                assert isinstance(state, federation.Joined)
                self._fees[stream].append((now_s, state.facts.transaction_fee))
            case receive.ReceiveRegistered(facts=facts):
                self._earned_msat[stream] = self._asked_msat(facts, facts.invoice_msat, now_s)
            case send.SendAccepted(facts=facts):
                invoice_msat = bolt11.decode(facts.invoice).amount_msat or 0
                self._earned_msat[stream] = self._asked_msat(facts, invoice_msat, now_s)

    def _is_fresh(self, step: StoredStep, now_s: float) -> Iterator[str]:
        """What was decided to be funded is signed by the process that decided it, before the world has changed."""
        decided = self._decided[step.row.stream]
        if step.row.epoch != decided.epoch:
            yield f"4: {step.row.stream} was decided by an earlier process, and is signed nevertheless"
        elif now_s - decided.unix_s > SIGNED_WITHIN_S:
            yield f"4: {step.row.stream} is signed {now_s - decided.unix_s:.0f} s after it was decided"

    def _is_trusted(self, facts: send.SendFacts) -> Iterator[str]:
        """The sender's federation refused no claim, and our stake there is within the cap."""
        served = self.state_of(federation.stream_of(facts.federation_id))
        if not isinstance(served, federation.Joined):
            yield f"9: {facts.contract_id} is paid for a federation that is not served"
            return
        if served.trust.refused_claim is not None:
            yield f"9: {facts.contract_id} is paid after {served.trust.refused_claim.stream} was refused"
        cap_msat = CAP_MSAT if served.trust.cap_msat is None else served.trust.cap_msat
        at_stake_msat = self.at_stake_msat(facts.federation_id)
        if at_stake_msat > cap_msat:
            yield f"9: {facts.contract_id} is paid with {at_stake_msat} of {cap_msat} msat at stake"

    def _asked_msat(
        self, facts: send.SendFacts | receive.ReceiveFacts, amount_msat: int, now_s: float
    ) -> int:
        """The gateway's fee for a payment of this amount: the least of what it asked for while it was being asked."""
        known = self._fees[federation.stream_of(facts.federation_id)]
        older = [fee for from_s, fee in known if from_s < now_s - MEASURED_S]
        fees = older[-1:] + [fee for from_s, fee in known if from_s >= now_s - MEASURED_S]
        return min(fee.base_msat + amount_msat * fee.parts_per_million // 1_000_000 for fee in fees)

    def _receiver_is_served(self, facts: receive.ReceiveFacts) -> Iterator[str]:
        served = self.state_of(federation.stream_of(facts.federation_id))
        if not isinstance(served, federation.Joined):
            yield f"4: {facts.payment_hash} was funded in a federation that is not served"
        elif not served.receive_enabled:
            yield f"4: {facts.payment_hash} was funded where receiving is switched off"

    def _receiver_pays(self, stream: str, facts: receive.ReceiveFacts) -> Iterator[str]:
        contract = lnv2.INCOMING_CONTRACT.decode(bytes.fromhex(facts.contract))
        earned_msat = facts.invoice_msat - contract.commitment.amount_msat
        asked_msat = self._earned_msat[stream]
        if earned_msat < asked_msat:
            yield f"7: {stream} leaves {earned_msat} msat, the gateway asks for {asked_msat}"

    def _sender_pays(self, stream: str, facts: send.SendFacts, routing_msat: int) -> Iterator[str]:
        """What the gateway must keep of the contract is not for the route."""
        contract = lnv2.OUTGOING_CONTRACT.decode(bytes.fromhex(facts.contract))
        invoice_msat = bolt11.decode(facts.invoice).amount_msat or 0
        left_msat = contract.amount_msat - invoice_msat - self._earned_msat[stream]
        if not 0 <= routing_msat <= left_msat:
            yield f"3: {stream} leaves {left_msat} msat, and routing may cost {routing_msat}"


def _receiver_waits(facts: receive.ReceiveFacts, now_s: float) -> Iterator[str]:
    """By the gateway's own clock, for HTLCs and swaps; the clock outside judges how wrong that may be."""
    contract = lnv2.INCOMING_CONTRACT.decode(bytes.fromhex(facts.contract))
    left_s = contract.commitment.expiration_unix_s - now_s
    if left_s <= RECEIVER_S_MIN - 1:  # whole seconds are counted
        yield f"4: {facts.payment_hash} was funded with {left_s:.0f} s left for its receiver"


def _may_fund(
    facts: receive.ReceiveFacts, moment: Moment, given_up: Collection[str]
) -> Iterator[str]:
    """For HTLCs that the node holds, long enough, for a contract that its receiver can still claim."""
    what = facts.payment_hash
    held = moment.held.get(what)
    if held is None and what in given_up:
        return
    if held is None:
        yield f"4: {what} was funded, and the node held no HTLC for it"
        return
    if not facts.invoice_msat <= held.amount_msat <= 2 * facts.invoice_msat:
        yield f"4: {what} was funded for {facts.invoice_msat} msat, {held.amount_msat} were locked"
    left_blocks = held.timelock_height - moment.height + moment.new_blocks
    if left_blocks < HTLC_BLOCKS_MIN:
        yield f"4: {what} was funded with {left_blocks} blocks until its HTLC's timelock"
    contract = lnv2.INCOMING_CONTRACT.decode(bytes.fromhex(facts.contract))
    left_s = contract.commitment.expiration_unix_s - moment.unix_s
    if left_s < RECEIVER_S_MIN - CLOCK_S:
        yield f"4: {what} was funded {left_s:.0f} s before its contract expires"


def _may_call(facts: send.SendFacts, moment: Moment, delay_blocks: int) -> Iterator[str]:
    """HTLCs must be over before the contract is, and the invoice be good; 0 blocks for a swap, which has no HTLC."""
    contract = lnv2.OUTGOING_CONTRACT.decode(bytes.fromhex(facts.contract))
    block_count = moment.height + 1 - moment.new_blocks
    left = contract.expiration_block_height - block_count
    if max(1, delay_blocks) > left - CONTRACT_BLOCKS_MIN:  # also a swap leaves one block at least
        yield f"3: {facts.contract_id} has {left} blocks, and a call may take {delay_blocks}"
    late_s = moment.unix_s - bolt11.decode(facts.invoice).expires_unix_s
    if late_s > CLOCK_S + MEASURED_S:
        yield f"3: {facts.contract_id} is paid {late_s:.0f} s after its invoice had expired"


def _any_of(moments: Sequence[Moment], judge: Callable[[Moment], Iterator[str]]) -> Iterator[str]:
    """What is wrong, unless nothing was in one of the moments."""
    found = [list(judge(moment)) for moment in moments]
    if all(found):
        yield from found[-1] if found else ()
