"""The promises that no path may break: about decisions, about the world outside, about the end.

The promises are those of docs/money.md, by number, in words of their own; nothing here asks the gateway's rules.
"""

from collections.abc import Iterator
from typing import cast

from engine.events import Event
from engine.machine import kind_of
from fuzz.explore import facts
from fuzz.explore.memory import Decided, Memories
from fuzz.explore.outside import Outside
from fuzz.explore.scenes import Scene
from fuzz.explore.script import Ask, Raised
from fuzz.explore.world import RECEIVERS, Outcome, World
from statemachines import completion, identity, receive, send, transaction
from statemachines.federation import Joined
from statemachines.federation import stream_of as federation_stream
from statemachines.items import FundedContract
from statemachines.transaction import wallet_of
from statemachines.wallet import Wallet

#: Of a send whose preimage may be told: what it is claimed by is in the log.
_CLAIMED = (send.Claiming, send.Claimed, send.ClaimRejected)
_SIGNED = (transaction.Signed, transaction.Accepted, transaction.Finished, transaction.Rejected)
#: Of a receive whose contract is funded, or may be.
_FUNDING = (receive.Funding, receive.Decrypting, receive.Received)
#: Of a receive that says who pays.
_DECIDED = (
    *_FUNDING,
    receive.FundingFailed,
    receive.Refunding,
    receive.Refunded,
    receive.RefundLost,
)
#: Kinds of streams in which money is under way.
_KINDS = ("send", "receive", "completion", "tx")


class Promises:
    """The judge of one scene."""

    def __init__(self, scene: Scene, memories: Memories, outside: Outside) -> None:
        self._scene = scene
        self._memories = memories
        self._outside = outside
        self._at_rest: dict[int, bool] = {}

    # --- what the gateway decides ---

    def broken_by_decision(self, memory: int, decided: Decided, world: World) -> tuple[str, ...]:
        """Judge events in the moment of their append; `memory` is what was decided before."""
        found = [f"the process ends: {decided.refused}"] if decided.is_fatal else []
        for _, event in decided.events:
            found += self._broken_by(memory, event, world)
        return tuple(found)

    def _broken_by(self, memory: int, event: Event, world: World) -> Iterator[str]:
        match event:
            case receive.ReceiveFunding(payer=payer):
                yield from self._funds_nothing_unfit(memory, world)
                yield from self._has_a_payer(world, payer, "decides to fund")
            case transaction.TxSigned(txid=txid):
                yield from self._signs_in_time(memory, txid, world)
            case send.SendDispatching(intent=intent):
                yield from self._calls_for_a_contract(intent, world)
            case send.SendCancelled():
                yield from self._gives_nothing_up(memory, world)
            case (
                send.SendPaid(preimage=preimage) | completion.CompletionSettling(preimage=preimage)
            ):
                if preimage != facts.preimage().hex():
                    yield f"4: writes {event.kind} down with what is no preimage"
            case _:
                pass

    def _signs_in_time(self, memory: int, txid: str, world: World) -> Iterator[str]:
        reservation = self._outside.reservation(txid)
        if any(isinstance(output, FundedContract) for output in reservation.outputs):
            state = self._memories.state(memory, reservation.parent)
            payer = state.payer if isinstance(state, receive.Funding) else ""
            yield from self._has_a_payer(world, payer, "signs a funding")

    def _calls_for_a_contract(self, intent: send.Intent, world: World) -> Iterator[str]:
        yield from self._has_a_contract(world, "decides to call the node")
        sent = self._scene.sent
        if sent and intent.max_fee_msat > sent.contract_msat - sent.minimum_msat:
            yield "3: allows more for routing than the contract brings"

    def _gives_nothing_up(self, memory: int, world: World) -> Iterator[str]:
        if world.record in {"flying", "succeeded"}:
            yield f"2: signs a forfeit for a payment that is {world.record} at the node"
        if self._is_bought_for_sender(memory, world):
            yield "2: signs a forfeit for a swap whose preimage it buys"

    def _funds_nothing_unfit(self, memory: int, world: World) -> Iterator[str]:
        terms = self._memories.state(memory, federation_stream(RECEIVERS))
        if not isinstance(terms, Joined) or RECEIVERS not in world.served:
            yield "4: decides to fund in a federation that it has left"
        elif not terms.receive_enabled:
            yield "4: decides to fund though receiving is switched off"
        received = self._scene.received
        if received and self._now_unix_s(world) >= received.contract_expires_unix_s:
            yield "4: decides to fund a contract that has ended"

    def _is_bought_for_sender(self, memory: int, world: World) -> bool:
        state = self._memories.state(memory, self._scene.receive_stream)
        if world.is_flawed or not isinstance(state, _FUNDING) or not state.payer:
            return False
        return bool(world.fundings or (isinstance(state, receive.Funding) and state.txid))

    def _has_a_payer(self, world: World, payer: str, what: str) -> Iterator[str]:
        if payer and payer != receive.UNKNOWN_PAYER:
            yield from self._has_a_contract(world, what)
        elif not payer and world.htlc != "locked":
            yield f"4: {what} for an HTLC that is {world.htlc or 'nowhere'}"
        elif not payer and world.locked_msat < facts.INVOICE_MSAT:
            yield f"4: {what} for an HTLC that holds less than the invoice asks for"

    def _has_a_contract(self, world: World, what: str) -> Iterator[str]:
        if world.contract != "locked":
            yield f"1: {what} for a contract that is {world.contract}"
        elif self._height(world) + 1 >= facts.CONTRACT_ENDS_BLOCK:
            yield f"1: {what} for a contract that has ended"

    # --- what happens outside ---

    def broken_outside(
        self, memory: int, before: World, outcome: Outcome, ask: Ask | None
    ) -> tuple[str, ...]:
        """Judge what somebody did; `ask` is the call that made them do it."""
        after = outcome.world
        if after == before and not isinstance(outcome.value, Raised):
            return ()
        return tuple(self._broken_outside(memory, before, outcome, ask))

    def _broken_outside(
        self, memory: int, before: World, outcome: Outcome, ask: Ask | None
    ) -> Iterator[str]:
        after = outcome.world
        if len(after.fundings) > max(1, len(before.fundings)):
            yield "4: funds one payment hash twice"
        if ask and ask.call == "guardians.submit":
            yield from self._is_durable(memory, cast("str", ask.args[0]))
        if ask and ask.call == "node.settle" and ask.args[1] != facts.preimage().hex():
            yield "4: offers the node what is no preimage"
        if after.record != before.record:
            is_in_transit = before.in_transit != after.in_transit and ask is not None
            yield from self._pays_well(memory, before, after, is_in_transit=is_in_transit)
        if after.htlc != before.htlc:
            yield from self._answers_well(memory, before, after)
        if after.heard != before.heard and after.heard == "preimage":
            yield from self._claims_first(memory)

    def _pays_well(
        self, memory: int, before: World, after: World, *, is_in_transit: bool
    ) -> Iterator[str]:
        """A call in transit is judged by its outcome: nobody can know how long it lies in the node's inbox."""
        if after.record == "flying" and not is_in_transit:
            if before.contract != "locked":
                yield f"3: pays for a contract that is {before.contract}"
            elif after.record_ends >= facts.CONTRACT_ENDS_BLOCK:
                yield "3: pays with an HTLC that may outlive the sender's contract"
        elif after.record == "succeeded":
            is_cancelled = isinstance(
                self._memories.state(memory, self._scene.send_stream), send.Cancelled
            )
            if is_cancelled or after.heard == "forfeit":
                yield "2: has refunded the sender, and the payment is settled"

    def _answers_well(self, memory: int, before: World, after: World) -> Iterator[str]:
        state = self._memories.state(memory, self._scene.receive_stream)
        if after.htlc == "paid" and not isinstance(state, receive.Received):
            yield "8: settles before the preimage is on record"
        if after.htlc != "failed" or (isinstance(state, _DECIDED) and state.payer):
            return
        if before.fundings and not before.is_flawed:
            yield "4: fails the HTLC back that it bought the preimage for"
        elif isinstance(state, receive.Funding | receive.Decrypting):
            yield "4: cancels the HTLC while it funds"

    def _claims_first(self, memory: int) -> Iterator[str]:
        state = self._memories.state(memory, self._scene.send_stream)
        claim = isinstance(state, _CLAIMED) and self._memories.state(memory, state.tx)
        if not isinstance(claim, _SIGNED):
            yield "8: tells the preimage before the claim is in the log"

    def _is_durable(self, memory: int, txid: str) -> Iterator[str]:
        stream = self._outside.reservation(txid).tx
        state = self._memories.state(memory, stream)
        if not isinstance(state, _SIGNED):
            yield "8: submits bytes that are not in the log"

    # --- what is left ---

    def is_at_rest(self, memory: int) -> bool:
        """Whether no stream waits for anything, and no restored log for anybody."""
        known = self._at_rest.get(memory)
        if known is None:
            open_now = self._memories.open_states(memory)
            founded = self._memories.state(memory, identity.STREAM)
            is_frozen = isinstance(founded, identity.Founded) and founded.is_frozen
            known = not is_frozen and not any(kind_of(stream) in _KINDS for stream in open_now)
            self._at_rest[memory] = known
        return known

    def broken_at_rest(self, memory: int, world: World) -> tuple[str, ...]:
        """Judge what is left when nothing is under way any more."""
        found = list(self._answered_wrongly(memory, world))
        held: set[str] = set()
        for federation_id in self._scene.federations:
            wallet = self._memories.state(memory, wallet_of(federation_id))
            assert isinstance(wallet, Wallet)
            if wallet.spending:
                found.append("6: notes are in no transaction and not free")
            held |= {note.nonce for note in wallet.notes}
        if held != world.ours:
            found.append(
                f"7: holds {len(held - world.ours)} notes that are spent, and not {len(world.ours - held)} that are not"
            )
        return tuple(found)

    def _answered_wrongly(self, memory: int, world: World) -> Iterator[str]:
        answer = self._memories.state(memory, completion.stream_of(facts.payment_hash().hex()))
        if isinstance(answer, completion.Settled) and world.htlc not in {"locked", "paid"}:
            yield f"4: has it on record as settled, and the HTLC is {world.htlc}"

    def _now_unix_s(self, world: World) -> int:
        return self._scene.moments[world.moment].unix_s

    def _height(self, world: World) -> int:
        return self._scene.moments[world.moment].height
