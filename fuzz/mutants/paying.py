"""Mutants that pay wrongly."""

from contextlib import AbstractContextManager
from dataclasses import replace as replaced
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import anyio
import msgspec

from engine.effects import EffectContext
from engine.journal import Journal
from engine.machine import Decision, Handle, Ignore, Input, State
from errors import ConflictError, InputError
from fedimint.lnv2.gateway_api import Forfeited, Paid, SendPayment
from fuzz.mutants.mutant import Mutant, Pair, both, decided, ruled, without_tells
from gateway import client_payments, send_requests
from gateway.client_payments import ClientPayments
from gateway.federation import FederationClient
from gateway.modules.lnv2 import LnV2
from gateway.send_effects import SendEffects
from gateway.transaction_effects import TransactionEffects
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
    asked: Pair = (send.New, send.RequestSend)
    rule = decided(send_rules.MACHINE, asked)

    def overlook(state: State, input_: Any) -> Decision:
        return rule.decide(state, msgspec.structs.replace(input_, image_owner=""))

    taken: Pair = (image.Claimed, image.ClaimImage)
    return both(
        ruled(image.MACHINE, (taken, Ignore("anybody may"))),
        ruled(send_rules.MACHINE, (asked, Handle(overlook, rule.to))),
    )


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


def _serve_contracts_of_others() -> AbstractContextManager[object]:
    authenticate = send_requests.authenticate

    def believe(request: SendPayment, federation: FederationClient) -> None:
        del federation
        claim_pk = request.contract.claim_pk
        module = SimpleNamespace(public_key=claim_pk)
        named = SimpleNamespace(module=lambda _wanted: module)
        authenticate(request, cast("FederationClient", named))

    return patch.object(send_requests, "authenticate", believe)


def _pay_at_any_price() -> AbstractContextManager[object]:
    return patch.object(send.SendFacts, "max_fee_msat", property(lambda facts: facts.contract_msat))


def _submit_in_one_life() -> AbstractContextManager[object]:
    submit = TransactionEffects.submit

    async def once(self: Any, effect: Any, context: EffectContext) -> Input:
        if context.resumed:
            await anyio.sleep_forever()
        return await submit(self, effect, context)

    return patch.object(TransactionEffects, "submit", once)


def _answer_once_it_is_paid() -> AbstractContextManager[object]:
    hasty = SimpleNamespace(**{**vars(send), "Claiming": send.Claiming | send.Paid})
    answerable = (send.Paid, send.Claiming, send.Claimed, send.ClaimRejected, send.Cancelled)
    return both(
        patch.object(client_payments, "send", hasty),
        patch.object(client_payments, "_ANSWERABLE", answerable),
    )


def _forfeit_what_is_refused() -> AbstractContextManager[object]:
    send_payment = ClientPayments.send_payment

    async def forfeit(self: Any, request: SendPayment) -> Paid | Forfeited:
        try:
            return await send_payment(self, request)
        except (InputError, ConflictError):
            federation, _terms = self._context.served(request.federation_id.hex())
            send_requests.authenticate(request, federation)
            contract_id = request.contract.contract_id()
            return Forfeited(federation.module(LnV2).forfeit(contract_id))

    return patch.object(ClientPayments, "send_payment", forfeit)


MUTANTS = (
    Mutant(
        "call before the intent", 3, "10.6: dispatched, no result", _call_before_the_intent, (11,)
    ),
    Mutant(
        "call again when resumed",
        3,
        "10.6: dispatched, no result",
        _call_again_when_resumed,
        (28, 35),
    ),
    Mutant("cancel on unknown", 2, "10.1.1", _cancel_on_unknown, (45, 29)),
    Mutant(
        "cancel beside a stray call",
        2,
        "10.1.1",
        _cancel_what_fails_beside_a_stray_call,
        (301, 410),
    ),
    Mutant("cancel without a record", 2, "10.1.1", _cancel_when_the_record_is_missing, (487, 600)),
    Mutant("pay one image for two", 1, "10.1.2", _pay_one_image_for_two, (41,)),
    Mutant("keep no blocks back", 3, "10.1.4", _keep_no_blocks_back, (11,)),
    Mutant("forget the claim", 8, "10.1.5", _forget_the_claim, (11,)),
    Mutant("answer before it is durable", 8, "10.3.17", _answer_before_it_is_durable, (53, 59)),
    Mutant("serve contracts of others", 3, "10.1.3", _serve_contracts_of_others, (1,)),
    Mutant("submit in one life", 8, "10.1.5", _submit_in_one_life, (13,)),
    Mutant("pay at any price", 3, "10.1.6", _pay_at_any_price, (0,)),
    Mutant("answer once it is paid", 8, "10.3.17", _answer_once_it_is_paid, (1,)),
    Mutant("forfeit what is refused", 2, "10.3.19", _forfeit_what_is_refused, (0,)),
)
