"""The answer to HTLCs that our node holds for one invoice: settle or cancel, until the node confirms it.

Born in the append that funds the contract, so that no crash leaves a funded contract without it. What was answered
stays the answer, also to an HTLC that the node shows again. Stream: `completion/<payment hash>`.
"""

from collections.abc import Mapping
from typing import ClassVar

from engine.events import Event
from engine.machine import Decision, Effect, Handle, Input, Machine, State, ignored, table
from statemachines.outlook import (
    ANSWER_S,
    NODE,
    NODE_ENDS,
    RECEIVE,
    RECEIVE_ENDS,
    RECEIVE_S,
    OpenState,
    Outlook,
    by_field,
    within,
)

# --- states ----------------------------------------------------------------------------------------------------


class Unborn(State, frozen=True):
    """Nothing is held, or nothing is known of it."""


class Waiting(OpenState, frozen=True):
    """The contract is being funded; the HTLCs are held: `amount_msat`, of which the invoice does not ask for some."""

    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=within(RECEIVE_S),
        federation_id=by_field,
        waits_for=RECEIVE,
        what_to_do="Trace that one; never cancel its HTLCs.",
        ended_by=RECEIVE_ENDS,
    )
    payment_hash: str
    federation_id: str
    amount_msat: int
    overpaid_msat: int = 0


class Settling(OpenState, frozen=True):
    """The preimage (hex) is known; the node must take it."""

    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=within(ANSWER_S),
        federation_id=by_field,
        waits_for=NODE,
        what_to_do="See that the node runs: the HTLC must be settled before its deadline.",
        ended_by=NODE_ENDS,
    )
    payment_hash: str
    federation_id: str
    amount_msat: int
    preimage: str


class Cancelling(OpenState, frozen=True):
    """The HTLCs are cancelled."""

    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=within(ANSWER_S),
        federation_id=by_field,
        waits_for=NODE,
        what_to_do="See that the node runs, or the HTLC's channel is closed.",
        ended_by=NODE_ENDS,
    )
    payment_hash: str
    federation_id: str
    amount_msat: int


class Settled(State, frozen=True):
    payment_hash: str
    preimage: str


class Cancelled(State, frozen=True):
    payment_hash: str


class SettleRejected(State, frozen=True):
    """The node cancelled what we bought the preimage of: money is lost, an operator must look."""

    payment_hash: str
    preimage: str
    error: str


class CancelRejected(State, frozen=True):
    """There is nothing left to cancel."""

    payment_hash: str
    error: str


OPEN_STATES = (Waiting, Settling, Cancelling)


# --- inputs ----------------------------------------------------------------------------------------------------


class Begin(Input, frozen=True):
    """HTLCs are held for this hash: `amount_msat`, of which `overpaid_msat` are more than the invoice asks for."""

    payment_hash: str
    federation_id: str
    amount_msat: int
    overpaid_msat: int = 0


class Settle(Input, frozen=True):
    preimage: str


class Cancel(Input, frozen=True):
    """The receive ended without preimage, or another payer was first."""


class NodeConfirmed(Input, frozen=True):
    """The node did it, now or before."""


class NodeContradicted(Input, frozen=True):
    """The node can never do it."""

    error: str


# --- events ----------------------------------------------------------------------------------------------------


class CompletionBegun(Event, frozen=True, omit_defaults=True):
    """Amounts as in Begin."""

    kind: ClassVar[str] = "completion.begun"
    payment_hash: str
    federation_id: str
    amount_msat: int
    overpaid_msat: int = 0


class CompletionSettling(Event, frozen=True):
    kind: ClassVar[str] = "completion.settling"
    preimage: str


class CompletionCancelling(Event, frozen=True):
    kind: ClassVar[str] = "completion.cancelling"


class CompletionSettled(Event, frozen=True):
    kind: ClassVar[str] = "completion.settled"


class CompletionCancelled(Event, frozen=True):
    kind: ClassVar[str] = "completion.cancelled"


class CompletionRejected(Event, frozen=True):
    kind: ClassVar[str] = "completion.rejected"
    error: str


# --- effects ---------------------------------------------------------------------------------------------------


class SettleHtlcs(Effect, frozen=True):
    may_pay_twice: ClassVar[bool] = False
    payment_hash: str
    preimage: str


class CancelHtlcs(Effect, frozen=True):
    may_pay_twice: ClassVar[bool] = False
    payment_hash: str


def stream_of(payment_hash: str) -> str:
    """The stream of a completion, given the payment hash in hex."""
    return f"completion/{payment_hash}"


# --- transitions -----------------------------------------------------------------------------------------------


def _begin(_state: Unborn, input_: Begin) -> Decision:
    begun = CompletionBegun(
        payment_hash=input_.payment_hash,
        federation_id=input_.federation_id,
        amount_msat=input_.amount_msat,
        overpaid_msat=input_.overpaid_msat,
    )
    return Decision(events=(begun,))


def _settle(_state: Waiting, input_: Settle) -> Decision:
    return Decision(events=(CompletionSettling(preimage=input_.preimage),))


def _cancel(_state: Waiting, _input: Cancel) -> Decision:
    return Decision(events=(CompletionCancelling(),))


def _contradicted(_state: Settling | Cancelling, input_: NodeContradicted) -> Decision:
    return Decision(events=(CompletionRejected(error=input_.error),))


def _rejected(state: Settling | Cancelling, event: CompletionRejected) -> State:
    if isinstance(state, Settling):
        return SettleRejected(
            payment_hash=state.payment_hash, preimage=state.preimage, error=event.error
        )
    return CancelRejected(payment_hash=state.payment_hash, error=event.error)


def _settling(state: Waiting, event: CompletionSettling) -> Settling:
    return Settling(
        payment_hash=state.payment_hash,
        federation_id=state.federation_id,
        amount_msat=state.amount_msat,
        preimage=event.preimage,
    )


def _cancelling(state: Waiting, _event: CompletionCancelling) -> Cancelling:
    return Cancelling(
        payment_hash=state.payment_hash,
        federation_id=state.federation_id,
        amount_msat=state.amount_msat,
    )


def _wants_settlement(state: Settling) -> Mapping[str, Effect]:
    return {"settle": SettleHtlcs(payment_hash=state.payment_hash, preimage=state.preimage)}


def _wants_cancellation(state: Cancelling) -> Mapping[str, Effect]:
    return {"cancel": CancelHtlcs(payment_hash=state.payment_hash)}


_STATES: tuple[type[State], ...] = (
    Unborn,
    Waiting,
    Settling,
    Cancelling,
    Settled,
    Cancelled,
    SettleRejected,
    CancelRejected,
)
_INPUTS: tuple[type[Input], ...] = (Begin, Settle, Cancel, NodeConfirmed, NodeContradicted)
_ENDED = (Settled, Cancelled, SettleRejected, CancelRejected)
_RULES = table(
    {
        (Unborn, Begin): Handle(_begin, to=(Waiting,)),
        (Waiting, Settle): Handle(_settle, to=(Settling,)),
        (Waiting, Cancel): Handle(_cancel, to=(Cancelling,)),
        (Settling, NodeConfirmed): Handle(
            lambda _state, _input: Decision(events=(CompletionSettled(),)), to=(Settled,)
        ),
        (Settling, NodeContradicted): Handle(_contradicted, to=(SettleRejected,)),
        (Cancelling, NodeConfirmed): Handle(
            lambda _state, _input: Decision(events=(CompletionCancelled(),)), to=(Cancelled,)
        ),
        (Cancelling, NodeContradicted): Handle(_contradicted, to=(CancelRejected,)),
    },
    ignored(
        (Unborn,),
        (Settle, Cancel, NodeConfirmed, NodeContradicted),
        "no HTLC is known for this hash, so there is nothing to answer",
    ),
    ignored((Waiting,), (NodeConfirmed, NodeContradicted), "the node was told nothing yet"),
    ignored((Waiting, Settling, Cancelling, *_ENDED), (Begin,), "it was begun before"),
    ignored(
        (Settling, Cancelling, *_ENDED),
        (Settle, Cancel),
        "it was answered before: the first answer stays",
    ),
    ignored(
        _ENDED,
        (NodeConfirmed, NodeContradicted),
        "the node took or contradicted the answer before: its first word stays",
    ),
)

MACHINE = Machine(
    kind="completion",
    initial=Unborn(),
    states=_STATES,
    inputs=_INPUTS,
    rules=_RULES,
    evolvers={
        CompletionBegun: lambda _state, event: Waiting(
            payment_hash=event.payment_hash,
            federation_id=event.federation_id,
            amount_msat=event.amount_msat,
            overpaid_msat=event.overpaid_msat,
        ),
        CompletionSettling: _settling,
        CompletionCancelling: _cancelling,
        CompletionSettled: lambda state, _event: Settled(
            payment_hash=state.payment_hash, preimage=state.preimage
        ),
        CompletionCancelled: lambda state, _event: Cancelled(payment_hash=state.payment_hash),
        CompletionRejected: _rejected,
    },
    wants_of={Settling: _wants_settlement, Cancelling: _wants_cancellation},
    final=frozenset({Settled, Cancelled, SettleRejected, CancelRejected}),
)
