"""The fold of an outgoing payment's events into its states, and what each state wants (`send_rules.py`)."""

from collections.abc import Mapping

import msgspec

from engine.events import Event
from engine.machine import Effect, Evolve, State, Wants
from statemachines import send
from statemachines.send import (
    HELD_BACK,
    NOT_OURS,
    Accepted,
    Cancelled,
    Cancelling,
    Claimed,
    Claiming,
    ClaimRejected,
    Dispatching,
    InFlight,
    Paid,
    SendAccepted,
    SendCancelled,
    SendCancelling,
    SendClaimed,
    SendClaiming,
    SendClaimRejected,
    SendDispatching,
    SendHeldBack,
    SendInFlight,
    SendPaid,
    SendSwapping,
    SendUnanswered,
    SendVanished,
    Swapping,
    Unanswered,
    Vanished,
)


def _held_back(state: Accepted | Dispatching | Unanswered, _event: SendHeldBack) -> Unanswered:
    """Unknown calls may still arrive, whatever is known of this one."""
    intent = NOT_OURS
    if not isinstance(state, Accepted):
        intent = msgspec.structs.replace(state.intent, stray_call=True)
    return Unanswered(facts=state.facts, intent=intent, failed=HELD_BACK)


def _seen(state: State, _event: SendInFlight) -> InFlight:
    if isinstance(state, Accepted):
        return InFlight(facts=state.facts, intent=NOT_OURS)
    assert isinstance(state, Dispatching | Unanswered | Vanished)
    return InFlight(facts=state.facts, intent=state.intent)


def _paid(
    state: Accepted | Swapping | Dispatching | Unanswered | InFlight | Vanished, event: SendPaid
) -> Paid:
    return Paid(facts=state.facts, preimage=event.preimage, routing_fee_msat=event.routing_fee_msat)


def _claiming(state: Paid, event: SendClaiming) -> Claiming:
    return Claiming(
        facts=state.facts,
        preimage=state.preimage,
        routing_fee_msat=state.routing_fee_msat,
        tx=event.tx,
    )


def _claimed(state: Claiming, event: SendClaimed) -> Claimed:
    return Claimed(
        facts=state.facts,
        preimage=state.preimage,
        routing_fee_msat=state.routing_fee_msat,
        tx=state.tx,
        received_msat=event.received_msat,
    )


def _lost(state: Claiming, event: SendClaimRejected) -> ClaimRejected:
    return ClaimRejected(
        facts=state.facts,
        preimage=state.preimage,
        routing_fee_msat=state.routing_fee_msat,
        tx=state.tx,
        error=event.error,
    )


# --- wanting ---------------------------------------------------------------------------------------------------


def _wants_budget(state: Accepted) -> Mapping[str, Effect]:
    if state.facts.is_swap:
        return {"swap": send.MeasureSwap(facts=state.facts)}
    return {"budget": send.MeasureBudget(facts=state.facts)}


def _wants_payment(state: Dispatching) -> Mapping[str, Effect]:
    facts = state.facts
    pay = send.PayInvoice(
        node=facts.node,
        payment_hash=facts.payment_hash,
        invoice=facts.invoice,
        intent=state.intent,
    )
    return {"pay": pay}


def _wants_follow(state: InFlight | Vanished) -> Mapping[str, Effect]:
    vanished = isinstance(state, Vanished)
    facts = state.facts
    follow = send.FollowPayment(node=facts.node, payment_hash=facts.payment_hash, vanished=vanished)
    return {"follow": follow}


def _wants_record(state: Unanswered) -> Mapping[str, Effect]:
    look_up = send.LookUpRecord(facts=state.facts, intent=state.intent, failed=state.failed)
    return {"record": look_up}


def _wants_forfeit(state: Cancelling) -> Mapping[str, Effect]:
    facts = state.facts
    return {
        "forfeit": send.SignForfeit(
            federation_id=facts.federation_id, contract_id=facts.contract_id
        )
    }


WANTS: Mapping[type[State], Wants] = {
    Accepted: _wants_budget,
    Dispatching: _wants_payment,
    Unanswered: _wants_record,
    InFlight: _wants_follow,
    Vanished: _wants_follow,
    Cancelling: _wants_forfeit,
}

EVOLVERS: Mapping[type[Event], Evolve] = {
    SendAccepted: lambda _state, event: Accepted(facts=event.facts),
    SendSwapping: lambda state, _event: Swapping(facts=state.facts),
    SendDispatching: lambda state, event: Dispatching(facts=state.facts, intent=event.intent),
    SendUnanswered: lambda state, event: Unanswered(
        facts=state.facts, intent=state.intent, failed=event.failed
    ),
    SendHeldBack: _held_back,
    SendInFlight: _seen,
    SendVanished: lambda state, _event: Vanished(facts=state.facts, intent=state.intent),
    SendPaid: _paid,
    SendClaiming: _claiming,
    SendClaimed: _claimed,
    SendClaimRejected: _lost,
    SendCancelling: lambda state, event: Cancelling(
        facts=state.facts, reason=event.reason, detail=event.detail
    ),
    SendCancelled: lambda state, event: Cancelled(
        facts=state.facts, reason=state.reason, detail=state.detail, forfeit=event.forfeit
    ),
}
