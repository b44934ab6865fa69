"""Gateways with one rule of docs/money.md taken out: each must be caught, or the simulation proves nothing.

A mutant is a patch around a run, never a switch in the product. Each names the trap of the protocol that it falls into.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace as replaced
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec

from backends.lightning import HeldPayment, NodeUnansweredError
from engine.effects import EffectContext
from engine.events import Event
from engine.journal import Journal
from engine.machine import Decision, Handle, Ignore, Input, Machine, Rule, State, Tell
from fedimint import notes, query, tbs
from fedimint.federation_api import FederationApi, FinallyRejected
from fedimint.wire_types import PeerId, TransactionId
from fuzz.play import play
from fuzz.transitions import rules_of
from gateway.held_payments import HeldPayments
from gateway.receive_effects import ReceiveEffects
from gateway.send_effects import SendEffects
from gateway.transaction_effects import TransactionEffects
from statemachines import (
    completion,
    identity,
    image,
    receive,
    receive_rules,
    send,
    send_rules,
    transaction,
    wallet,
    wallet_rules,
)
from statemachines.completion import NodeConfirmed

#: Seeds within which a mutant must be caught.
SEEDS_MAX = 500

Pair = tuple[type[State], type[Input]]


class Mutant(NamedTuple):
    """`apply` patches the product while its block lasts.

    `caught_by` are seeds that show what is wrong, each at the time it was found: a change of the product may make
    another run of a seed, so where what must come together is rare there is more than one.
    """

    name: str
    trap: str
    apply: Callable[[], AbstractContextManager[object]]
    caught_by: tuple[int, ...]


@contextmanager
def _ruled(machine: Machine, *changes: tuple[Pair, Rule]) -> Iterator[None]:
    """Other rules for some pairs of a machine's table."""
    rules = rules_of(machine)
    before = {pair: rules[pair] for pair, _rule in changes}
    rules.update(changes)
    try:
        yield
    finally:
        rules.update(before)


@contextmanager
def _evolved(
    machine: Machine, event: type[Event], evolve: Callable[[Any, Any], State]
) -> Iterator[None]:
    evolvers: Any = machine.evolvers
    before = evolvers[event]
    evolvers[event] = evolve
    try:
        yield
    finally:
        evolvers[event] = before


def _decided(machine: Machine, pair: Pair) -> Handle:
    rule = machine.rules[pair]
    assert isinstance(rule, Handle)
    return rule


def _without_tells(pair: Pair, machine: Machine, to: str = "") -> Handle:
    """The same events, and nobody is told, or none of that kind of stream."""
    rule = _decided(machine, pair)

    def decide(state: Any, input_: Any) -> Decision:
        decision = rule.decide(state, input_)
        kept = tuple(tell for tell in decision.tells if to and not tell.stream.startswith(to))
        return Decision(events=decision.events, tells=kept)

    return Handle(decide, rule.to)


# --- paying ------------------------------------------------------------------------------------------------------


def _call_before_the_intent() -> AbstractContextManager[object]:
    measure = SendEffects.measure

    async def measure_and_call(self: Any, effect: Any, context: EffectContext) -> Input:
        measured = await measure(self, effect, context)
        if isinstance(measured, send.BudgetMeasured):
            facts = effect.facts
            async with self._node.pay(
                facts.invoice,
                payment_hash=bytes.fromhex(facts.payment_hash),
                max_fee_msat=facts.max_fee_msat,
                max_delay_blocks=1_000,
            ) as statuses:
                async for _status in statuses:
                    break
        return measured

    return patch.object(SendEffects, "measure", measure_and_call)


def _call_again_when_resumed() -> AbstractContextManager[object]:
    pay = SendEffects.pay

    async def pay_anew(self: Any, effect: Any, context: EffectContext) -> Input:
        return await pay(self, effect, replaced(context, resumed=False))

    return patch.object(SendEffects, "pay", pay_anew)


def _cancel_on_unknown() -> AbstractContextManager[object]:
    def cancel(_state: State, _input: Input) -> Decision:
        lost = send.SendCancelling(reason="LightningRpcError", detail="the node does not answer")
        return Decision(events=(lost,))

    pair: Pair = (send.Dispatching, send.CallUnanswered)
    return _ruled(send_rules.MACHINE, (pair, Handle(cancel, (send.Cancelling,))))


def _cancel_what_fails_beside_a_stray_call() -> AbstractContextManager[object]:
    def cancel(_state: State, input_: Any) -> Decision:
        cancelling = send.SendCancelling(reason="LightningRpcError", detail=input_.reason)
        return Decision(events=(cancelling,))

    pairs: tuple[Pair, ...] = (
        (send.Dispatching, send.PaymentFailed),
        (send.Dispatching, send.CallRefused),
        (send.InFlight, send.PaymentFailed),
    )
    rule = Handle(cancel, (send.Cancelling,))
    return _ruled(send_rules.MACHINE, *((pair, rule) for pair in pairs))


def _cancel_when_the_record_is_missing() -> AbstractContextManager[object]:
    def cancel(_state: State, _input: Input) -> Decision:
        lost = send.SendCancelling(reason="LightningRpcError", detail="the node has no record")
        return Decision(events=(lost,))

    pair: Pair = (send.Unanswered, send.RecordLookedUp)
    look_up = patch.object(send_rules, "may_decide", lambda _asked, _record: True)
    return _both(_ruled(send_rules.MACHINE, (pair, Handle(cancel, (send.Cancelling,)))), look_up)


def _pay_one_image_for_two() -> AbstractContextManager[object]:
    pair: Pair = (image.Claimed, image.ClaimImage)
    return _ruled(image.MACHINE, (pair, Ignore("anybody may")))


def _forget_the_claim() -> AbstractContextManager[object]:
    pairs: tuple[Pair, ...] = (
        (send.Dispatching, send.PaymentSucceeded),
        (send.InFlight, send.PaymentSucceeded),
        (send.Accepted, send.PaymentSucceeded),
        (send.Unanswered, send.PaymentSucceeded),
    )
    machine = send_rules.MACHINE
    return _ruled(machine, *((pair, _without_tells(pair, machine)) for pair in pairs))


def _answer_before_it_is_durable() -> AbstractContextManager[object]:
    async def at_once(_self: Journal, _position: int) -> None:
        return

    return patch.object(Journal, "wait_durable", at_once)


def _keep_no_blocks_back() -> AbstractContextManager[object]:
    return patch.object(send_rules, "EXPIRATION_DELTA_MINIMUM_BLOCKS", 0)


# --- being paid --------------------------------------------------------------------------------------------------


def _credit_the_onion_amount() -> AbstractContextManager[object]:
    measure = HeldPayments._measure  # noqa: SLF001 - a mutant changes what is inside

    async def believe(self: Any, payment: HeldPayment, facts: Any) -> receive.HtlcHeld:
        measured = await measure(self, payment, facts)
        return msgspec.structs.replace(measured, amount_msat=facts.invoice_msat)

    return patch.object(HeldPayments, "_measure", believe)


def _begin_the_completion_later() -> AbstractContextManager[object]:
    machine = receive_rules.MACHINE
    signed: Pair = (receive.Funding, transaction.TransactionSigned)
    rule = _decided(machine, signed)

    def begin(state: receive.Funding, input_: Any) -> Decision:
        decision = rule.decide(state, input_)
        facts = state.facts
        told = completion.Begin(
            payment_hash=facts.payment_hash,
            federation_id=facts.federation_id,
            amount_msat=facts.invoice_msat,
        )
        tell = Tell(completion.stream_of(facts.payment_hash), told)
        return Decision(events=decision.events, tells=(tell, *decision.tells))

    held: tuple[Pair, ...] = (
        (receive.Registered, receive.HtlcHeld),
        (receive.Invoiced, receive.HtlcHeld),
    )
    changes = [(pair, _without_tells(pair, machine, "completion/")) for pair in held]
    return _ruled(machine, *changes, (signed, Handle(begin, rule.to)))


def _fund_again() -> AbstractContextManager[object]:
    pair: Pair = (receive.Funding, receive.HtlcHeld)
    rule = _decided(receive_rules.MACHINE, (receive.Invoiced, receive.HtlcHeld))
    look = HeldPayments._look_at  # noqa: SLF001

    async def look_again(self: Any, payment: HeldPayment) -> None:
        stream = receive.stream_of(payment.payment_hash.hex())
        state = self._context.engine.peek(stream)
        if isinstance(state, receive.Funding) and not state.payer:
            await self._context.engine.submit(stream, await self._measure(payment, state.facts))
        await look(self, payment)

    return _both(
        _ruled(receive_rules.MACHINE, (pair, Handle(rule.decide, (receive.Funding,)))),
        patch.object(HeldPayments, "_look_at", look_again),
    )


def _fail_back_while_funding() -> AbstractContextManager[object]:
    answer = HeldPayments._answer_again  # noqa: SLF001

    async def fail_back(self: Any, payment: HeldPayment, answered: State) -> None:
        if isinstance(answered, completion.Waiting):
            answered = completion.Unborn()
        await answer(self, payment, answered)

    return patch.object(HeldPayments, "_answer_again", fail_back)


def _settle_once() -> AbstractContextManager[object]:
    settle = ReceiveEffects.settle

    async def hope(self: Any, effect: Any, context: EffectContext) -> Input:
        try:
            return await settle(self, effect, context)
        except NodeUnansweredError:
            return NodeConfirmed()

    return patch.object(ReceiveEffects, "settle", hope)


def _give_a_swap_back_once_it_is_signed() -> AbstractContextManager[object]:
    pair: Pair = (receive.Funding, transaction.TransactionSigned)
    rule = _decided(receive_rules.MACHINE, pair)

    def give_back(state: receive.Funding, input_: Any) -> Decision:
        decision = rule.decide(state, input_)
        if not state.payer:
            return decision
        failed = send.SwapFailed(reason="RegistrationError", detail="it takes too long")
        told = Tell(state.payer, failed)
        return Decision(events=decision.events, tells=(*decision.tells, told))

    return _ruled(receive_rules.MACHINE, (pair, Handle(give_back, rule.to)))


# --- ecash -------------------------------------------------------------------------------------------------------


def _keep_used_tweaks() -> AbstractContextManager[object]:
    evolve = wallet_rules.MACHINE.evolvers[wallet.WalletReserved]

    def keep(state: Any, event: Any) -> State:
        after = evolve(state, event)
        assert isinstance(after, wallet.Wallet)
        return msgspec.structs.replace(after, tweaks=state.tweaks)

    return _evolved(wallet_rules.MACHINE, wallet.WalletReserved, keep)


def _give_one_index_to_all() -> AbstractContextManager[object]:
    pair: Pair = (identity.Founded, identity.JoinFederation)
    rule = _decided(identity.MACHINE, pair)

    def join(state: Any, input_: Any) -> Decision:
        return rule.decide(msgspec.structs.replace(state, federations=0), input_)

    return _ruled(identity.MACHINE, (pair, Handle(join, rule.to)))


def _submit_while_building() -> AbstractContextManager[object]:
    build = TransactionEffects.build

    async def build_and_submit(self: Any, effect: Any, context: EffectContext) -> Input:
        built = await build(self, effect, context)
        if isinstance(built, transaction.Built):
            federation = self._federations.needed(effect.reservation.federation_id)
            txid = TransactionId(bytes.fromhex(built.signed.txid))
            await federation.core.submit_transaction(built.signed.encoded, txid)
        return built

    return patch.object(TransactionEffects, "build", build_and_submit)


def _believe_the_first_guardian() -> AbstractContextManager[object]:
    submit = TransactionEffects.submit

    async def ask_one(self: Any, effect: Any, context: EffectContext) -> Input:
        guardians = self._federations.needed(effect.federation_id).core.guardians
        first = {PeerId(0): guardians.connections[PeerId(0)]}
        one = FederationApi(query.Guardians(first, guardians.sleep_s, guardians.jitter))
        txid = TransactionId(bytes.fromhex(effect.txid))
        if isinstance(await one.submit_transaction(effect.encoded, txid), FinallyRejected):
            return transaction.SubmissionRejected(error="one guardian says no")
        return await submit(self, effect, context)

    return patch.object(TransactionEffects, "submit", ask_one)


def _believe_every_share() -> AbstractContextManager[object]:
    """Of clients; guardians go on to judge notes."""
    mutant = type(
        "Tbs", (), {**vars(tbs), "verify_all": staticmethod(lambda _batch, _random: True)}
    )
    return patch.object(notes, "tbs", mutant)


@contextmanager
def _both(
    first: AbstractContextManager[object], second: AbstractContextManager[object]
) -> Iterator[None]:
    with first, second:
        yield


def is_caught(mutant: Mutant, seed: int) -> bool:
    """Whether this seed shows what is wrong with the mutant."""
    with mutant.apply():
        return bool(play(seed).problems)


def search(mutant: Mutant, first_seed: int = 0) -> int | None:
    """The first seed that catches the mutant, None when none of so many does."""
    seeds = range(first_seed, first_seed + SEEDS_MAX)
    return next((seed for seed in seeds if is_caught(mutant, seed)), None)


MUTANTS: Mapping[str, Mutant] = {
    mutant.name: mutant
    for mutant in (
        Mutant(
            "call before the intent", "10.6: dispatched, no result", _call_before_the_intent, (11,)
        ),
        Mutant(
            "call again when resumed",
            "10.6: dispatched, no result",
            _call_again_when_resumed,
            (28, 35),
        ),
        Mutant("cancel on unknown", "10.1.1", _cancel_on_unknown, (404, 410)),
        Mutant(
            "cancel beside a stray call",
            "10.1.1",
            _cancel_what_fails_beside_a_stray_call,
            (301, 410),
        ),
        Mutant("cancel without a record", "10.1.1", _cancel_when_the_record_is_missing, (487, 600)),
        Mutant("pay one image for two", "10.1.2", _pay_one_image_for_two, (11,)),
        Mutant("keep no blocks back", "10.1.4", _keep_no_blocks_back, (11,)),
        Mutant("forget the claim", "10.1.5", _forget_the_claim, (11,)),
        Mutant("answer before it is durable", "10.3.17", _answer_before_it_is_durable, (53, 59)),
        Mutant("credit the onion amount", "10.2.7", _credit_the_onion_amount, (7,)),
        Mutant("begin the completion later", "10.2.9", _begin_the_completion_later, (2,)),
        Mutant("settle once", "10.2.9", _settle_once, (47, 665)),
        Mutant("fail back while funding", "10.2.10", _fail_back_while_funding, (4,)),
        Mutant("fund again", "10.2.11", _fund_again, (260, 843)),
        Mutant(
            "give a swap back once it is signed",
            "10.2.15",
            _give_a_swap_back_once_it_is_signed,
            (4,),
        ),
        Mutant("keep used tweaks", "10.4.29", _keep_used_tweaks, (11,)),
        Mutant("give one index to all", "10.4.29", _give_one_index_to_all, (0,)),
        Mutant("submit while building", "10.1.5", _submit_while_building, (11,)),
        Mutant("believe the first guardian", "promise 6", _believe_the_first_guardian, (338, 514)),
        Mutant("believe every share", "promise 6", _believe_every_share, (371, 674)),
    )
}
