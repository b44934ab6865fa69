"""Mutants that fund wrongly, or give payers a wrong answer."""

from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import msgspec

from backends.lightning import HeldPayment, NodeRefusedError, NodeUnansweredError
from backends.simulated.node import SimulatedNode
from engine.effects import EffectContext
from engine.machine import Decision, Handle, Input, State, Tell
from fedimint import lnv2
from fuzz.mutants.mutant import Mutant, Pair, both, decided, ruled, without_tells
from gateway.held_payments import HeldPayments
from gateway.modules import lnv2 as lnv2_module
from gateway.receive_effects import ReceiveEffects
from statemachines import (
    completion,
    receive,
    receive_rules,
    send,
    transaction,
)
from statemachines.completion import NodeConfirmed


def _credit_the_onion_amount() -> AbstractContextManager[object]:
    measure = HeldPayments._measure  # noqa: SLF001 - a mutant changes what is inside

    async def believe(self: Any, payment: HeldPayment, facts: Any) -> receive.HtlcHeld:
        measured = await measure(self, payment, facts)
        return msgspec.structs.replace(measured, amount_msat=facts.invoice_msat)

    return patch.object(HeldPayments, "_measure", believe)


def _begin_the_completion_later() -> AbstractContextManager[object]:
    machine = receive_rules.MACHINE
    signed: Pair = (receive.Funding, transaction.TransactionSigned)
    rule = decided(machine, signed)

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
        (receive.Invoiced, receive.HtlcHeld),
        (receive.Held, receive.HtlcHeld),
    )
    changes = [(pair, without_tells(pair, machine, "completion/")) for pair in held]
    return ruled(machine, *changes, (signed, Handle(begin, rule.to)))


def _fund_again() -> AbstractContextManager[object]:
    pair: Pair = (receive.Funding, receive.HtlcHeld)
    rule = decided(receive_rules.MACHINE, (receive.Invoiced, receive.HtlcHeld))
    look = HeldPayments._look_at  # noqa: SLF001

    async def look_again(self: Any, payment: HeldPayment) -> None:
        stream = receive.stream_of(payment.payment_hash.hex())
        state = self._context.engine.peek(stream)
        if isinstance(state, receive.Funding) and not state.payer:
            await self._context.engine.submit(stream, await self._measure(payment, state.facts))
        await look(self, payment)

    return both(
        ruled(receive_rules.MACHINE, (pair, Handle(rule.decide, (receive.Funding,)))),
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
    rule = decided(receive_rules.MACHINE, pair)

    def give_back(state: receive.Funding, input_: Any) -> Decision:
        decision = rule.decide(state, input_)
        if not state.payer:
            return decision
        failed = send.SwapFailed(reason="RegistrationError", detail="it takes too long")
        told = Tell(state.payer, failed)
        return Decision(events=decision.events, tells=(*decision.tells, told))

    return ruled(receive_rules.MACHINE, (pair, Handle(give_back, rule.to)))


def _call_a_refused_settlement_done() -> AbstractContextManager[object]:
    settle = ReceiveEffects.settle

    async def believe(self: Any, effect: Any, context: EffectContext) -> Input:
        await settle(self, effect, context)
        return NodeConfirmed()

    return patch.object(ReceiveEffects, "settle", believe)


def _take_a_foreign_invoice_for_ours() -> AbstractContextManager[object]:
    make = SimulatedNode.create_invoice

    async def find(self: SimulatedNode, *, payment_hash: bytes | None, **terms: Any) -> str:
        try:
            return await make(self, payment_hash=payment_hash, **terms)
        except NodeRefusedError:
            known = None if payment_hash is None else self.invoices.get(payment_hash)
            if known is None or known.amount_msat != terms["amount_msat"]:
                raise
            return known.terms.text

    return patch.object(SimulatedNode, "create_invoice", find)


def _settle_with_anything() -> AbstractContextManager[object]:
    believing = SimpleNamespace(**{**vars(lnv2), "is_preimage": lambda *_: True})
    return patch.object(lnv2_module, "lnv2", believing)


MUTANTS = (
    Mutant("credit the onion amount", 4, "10.2.7", _credit_the_onion_amount, (7,)),
    Mutant("begin the completion later", 4, "10.2.9", _begin_the_completion_later, (2,)),
    Mutant("settle once", 4, "10.2.9", _settle_once, (47, 665)),
    Mutant("cancel while funding", 4, "10.2.10", _fail_back_while_funding, (4,)),
    Mutant("fund again", 4, "10.2.11", _fund_again, (16, 2)),
    Mutant(
        "give a swap back once it is signed",
        2,
        "10.2.15",
        _give_a_swap_back_once_it_is_signed,
        (4,),
    ),
    Mutant(
        "call a refused settlement done", 4, "10.2.10", _call_a_refused_settlement_done, (27, 15)
    ),
    Mutant("take a foreign invoice for ours", 4, "", _take_a_foreign_invoice_for_ours, (163, 291)),
    Mutant("settle with anything", 4, "10.3.20", _settle_with_anything, (4, 5)),
)
