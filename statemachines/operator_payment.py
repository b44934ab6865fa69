"""An invoice that the operator pays out of the node's own channels. Stream: `operator_payment/<payment hash>`.

    requested → paid | failed, after which it may be asked for again

The node takes a payment hash once, so a call whose answer is lost is looked up and made again with the same hash.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from engine.events import Event
from engine.machine import (
    Decision,
    Effect,
    Handle,
    Input,
    Machine,
    State,
    Tell,
    ignored,
    refused,
    table,
)
from statemachines import image
from statemachines.outlook import (
    ANSWER_S,
    BLOCK_S,
    NODE,
    NODE_ENDS,
    OpenState,
    Outlook,
    by_none,
)


class OperatorPaymentFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """The budgets are upstream's (gateway.md 1.6); ids are hex. `node` is the public key of the node that is called."""

    payment_hash: str
    invoice: str
    invoice_msat: int
    max_fee_msat: int
    max_delay_blocks: int
    node: str = ""


# --- states ----------------------------------------------------------------------------------------------------


def _end_of_htlcs(state: Any, since_unix_s: int) -> int:
    """A payment in flight is over when its HTLCs are."""
    blocks: int = state.facts.max_delay_blocks
    return since_unix_s + blocks * BLOCK_S + ANSWER_S


class New(State, frozen=True):
    """Nobody asked yet."""


class Paying(OpenState, frozen=True):
    """The call is intended and may have left. `attempt` counts requests."""

    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=_end_of_htlcs,
        federation_id=by_none,
        waits_for=NODE,
        what_to_do=(
            "Nothing: its HTLCs end or time out. Never pay the invoice otherwise. If its node was given "
            "up: gateway-cli dismiss."
        ),
        ended_by=f"{NODE_ENDS}, or a minute after the invoice has expired, or when that node is given up",
    )
    facts: OperatorPaymentFacts
    attempt: int


class Paid(State, frozen=True):
    facts: OperatorPaymentFacts
    preimage: str
    routing_fee_msat: int


class Failed(State, frozen=True):
    """The node's own final word."""

    facts: OperatorPaymentFacts
    attempt: int
    reason: str


# --- inputs ----------------------------------------------------------------------------------------------------


class RequestOperatorPayment(Input, frozen=True):
    """`given_up` is the stream of the client's payment that has the image and ended without preimage, if there is one.

    It can never pay again, and no other contract ever gets the image: the invoice is the operator's to pay.
    """

    facts: OperatorPaymentFacts
    given_up: str = ""


class OperatorPaymentSucceeded(Input, frozen=True):
    """`preimage` is hex, its sha256 was checked."""

    preimage: str
    routing_fee_msat: int


class OperatorPaymentFailed(Input, frozen=True):
    reason: str


class DismissOperatorPayment(Input, frozen=True):
    """The operator's word, after they gave up the node that was called (`gateway/dismissing.py`)."""


# --- events ----------------------------------------------------------------------------------------------------


class OperatorPaymentRequested(Event, frozen=True):
    kind: ClassVar[str] = "operator_payment.requested"
    facts: OperatorPaymentFacts


class OperatorPaymentPaid(Event, frozen=True):
    kind: ClassVar[str] = "operator_payment.paid"
    preimage: str
    routing_fee_msat: int


class OperatorPaymentRefused(Event, frozen=True):
    kind: ClassVar[str] = "operator_payment.failed"
    reason: str


# --- effects ---------------------------------------------------------------------------------------------------


class PayForOperator(Effect, frozen=True):
    may_pay_twice: ClassVar[bool] = True
    facts: OperatorPaymentFacts
    attempt: int


def stream_of(payment_hash: str) -> str:
    """The stream of a payment of the operator, given the payment hash in hex."""
    return f"operator_payment/{payment_hash}"


# --- transitions -----------------------------------------------------------------------------------------------


def _request(_state: New, input_: RequestOperatorPayment) -> Decision:
    facts = input_.facts
    claim = image.ClaimImage(operation=stream_of(facts.payment_hash))
    claims = () if input_.given_up else (Tell(image.stream_of(facts.payment_hash), claim),)
    return Decision(events=(OperatorPaymentRequested(facts=facts),), tells=claims)


def _request_again(_state: Failed, input_: RequestOperatorPayment) -> Decision:
    """The image is this operation's already."""
    return Decision(events=(OperatorPaymentRequested(facts=input_.facts),))


def _succeeded(_state: Paying, input_: OperatorPaymentSucceeded) -> Decision:
    paid = OperatorPaymentPaid(preimage=input_.preimage, routing_fee_msat=input_.routing_fee_msat)
    return Decision(events=(paid,))


def _failed(_state: Paying, input_: OperatorPaymentFailed) -> Decision:
    return Decision(events=(OperatorPaymentRefused(reason=input_.reason),))


def _dismissed(_state: Paying, _input: DismissOperatorPayment) -> Decision:
    reason = "the node that was called is gone, and whether it paid is not known: dismissed by the operator"
    return Decision(events=(OperatorPaymentRefused(reason=reason),))


def _paying(state: New | Failed, event: OperatorPaymentRequested) -> Paying:
    attempt = state.attempt + 1 if isinstance(state, Failed) else 1
    return Paying(facts=event.facts, attempt=attempt)


def _wants_payment(state: Paying) -> Mapping[str, Effect]:
    return {"pay": PayForOperator(facts=state.facts, attempt=state.attempt)}


_STATES: tuple[type[State], ...] = (New, Paying, Paid, Failed)
_INPUTS: tuple[type[Input], ...] = (
    RequestOperatorPayment,
    OperatorPaymentSucceeded,
    OperatorPaymentFailed,
    DismissOperatorPayment,
)
_RULES = table(
    {
        (New, RequestOperatorPayment): Handle(_request, to=(Paying,)),
        (Paying, OperatorPaymentSucceeded): Handle(_succeeded, to=(Paid,)),
        (Paying, OperatorPaymentFailed): Handle(_failed, to=(Failed,)),
        (Paying, DismissOperatorPayment): Handle(_dismissed, to=(Failed,)),
        (Failed, RequestOperatorPayment): Handle(_request_again, to=(Paying,)),
    },
    refused(
        (New,),
        (OperatorPaymentSucceeded, OperatorPaymentFailed, DismissOperatorPayment),
        "there is no such payment of the operator",
    ),
    refused(
        (Paid, Failed),
        (DismissOperatorPayment,),
        "this payment has ended: there is nothing to dismiss",
    ),
    ignored(
        (Paying, Paid),
        (RequestOperatorPayment,),
        "the same request again: the caller is told how it ends, or ended",
    ),
    ignored(
        (Paid,),
        (OperatorPaymentSucceeded, OperatorPaymentFailed),
        "it is paid, and stays so",
    ),
    ignored(
        (Failed,),
        (OperatorPaymentSucceeded, OperatorPaymentFailed),
        "no call is under way: the last one failed, or the operator dismissed it",
    ),
)


MACHINE = Machine(
    kind="operator_payment",
    initial=New(),
    states=_STATES,
    inputs=_INPUTS,
    rules=_RULES,
    evolvers={
        OperatorPaymentRequested: _paying,
        OperatorPaymentPaid: lambda state, event: Paid(
            facts=state.facts, preimage=event.preimage, routing_fee_msat=event.routing_fee_msat
        ),
        OperatorPaymentRefused: lambda state, event: Failed(
            facts=state.facts, attempt=state.attempt, reason=event.reason
        ),
    },
    wants_of={Paying: _wants_payment},
    final=frozenset({Paid}),
)
