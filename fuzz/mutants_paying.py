"""Mutants that pay wrongly."""

from contextlib import AbstractContextManager
from dataclasses import replace as replaced
from typing import Any
from unittest.mock import patch

from engine.effects import EffectContext
from engine.journal import Journal
from engine.machine import Decision, Handle, Ignore, Input, State
from fuzz.mutant import Mutant, Pair, both, ruled, without_tells
from gateway.send_effects import SendEffects
from statemachines import (
    image,
    send,
    send_rules,
)


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
    return ruled(send_rules.MACHINE, (pair, Handle(cancel, (send.Cancelling,))))


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
    return ruled(send_rules.MACHINE, *((pair, rule) for pair in pairs))


def _cancel_when_the_record_is_missing() -> AbstractContextManager[object]:
    def cancel(_state: State, _input: Input) -> Decision:
        lost = send.SendCancelling(reason="LightningRpcError", detail="the node has no record")
        return Decision(events=(lost,))

    pair: Pair = (send.Unanswered, send.RecordLookedUp)
    look_up = patch.object(send_rules, "may_decide", lambda _asked, _record: True)
    return both(ruled(send_rules.MACHINE, (pair, Handle(cancel, (send.Cancelling,)))), look_up)


def _pay_one_image_for_two() -> AbstractContextManager[object]:
    pair: Pair = (image.Claimed, image.ClaimImage)
    return ruled(image.MACHINE, (pair, Ignore("anybody may")))


def _forget_the_claim() -> AbstractContextManager[object]:
    pairs: tuple[Pair, ...] = (
        (send.Dispatching, send.PaymentSucceeded),
        (send.InFlight, send.PaymentSucceeded),
        (send.Accepted, send.PaymentSucceeded),
        (send.Unanswered, send.PaymentSucceeded),
    )
    machine = send_rules.MACHINE
    return ruled(machine, *((pair, without_tells(pair, machine)) for pair in pairs))


def _answer_before_it_is_durable() -> AbstractContextManager[object]:
    async def at_once(_self: Journal, _position: int) -> None:
        return

    return patch.object(Journal, "wait_durable", at_once)


def _keep_no_blocks_back() -> AbstractContextManager[object]:
    return patch.object(send_rules, "EXPIRATION_DELTA_MINIMUM_BLOCKS", 0)


MUTANTS = (
    Mutant("call before the intent", "10.6: dispatched, no result", _call_before_the_intent, (11,)),
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
)
