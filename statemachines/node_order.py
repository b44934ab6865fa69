"""An order to the node that is carried out once: coins to send, a channel to open.

The node has no key that would make a second call harmless. So the call is intended in a committed event and made at
most once; when its answer is lost, the node is asked for its trace (a label, a channel with that peer and size), and
without one the order waits for the operator, who may dismiss it. Stream: `node_order/<id>`.
"""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from engine.events import Event
from engine.machine import Decision, Effect, Handle, Input, Machine, State, ignored, refused, table
from statemachines.outlook import (
    ANSWER_S,
    OPERATOR,
    OpenState,
    Outlook,
    by_none,
    within,
)


class SendCoins(msgspec.Struct, frozen=True, tag=True):
    """`amount_sat` None sends everything in the node's wallet."""

    address: str
    amount_sat: int | None
    sat_per_vbyte: int


class OpenChannel(msgspec.Struct, frozen=True, tag=True):
    """A channel with `public_key` at `host`; None leaves a part to the node."""

    public_key: str
    host: str
    capacity_sat: int
    push_sat: int
    sat_per_vbyte: int | None
    base_fee_msat: int | None
    parts_per_million: int | None


Order = SendCoins | OpenChannel


# --- states ----------------------------------------------------------------------------------------------------


class New(State, frozen=True):
    """Nobody ordered this."""


class Ordered(OpenState, frozen=True):
    """The call is intended and may have left."""

    outlook: ClassVar[Outlook] = Outlook(
        due_unix_s=within(ANSWER_S),
        federation_id=by_none,
        waits_for=OPERATOR,
        what_to_do=(
            "The node was asked once and shows no trace. Look into its wallet and channels: when "
            "nothing happened, give the order again; this one is never placed again. An hour later "
            "gateway-cli dismiss ends it."
        ),
        ended_by=None,
    )
    id: str
    order: Order


class Placed(State, frozen=True):
    """`txid` is the transaction that sends the coins or funds the channel."""

    order: Order
    txid: str


class OrderRefused(State, frozen=True):
    """The node refused the call itself."""

    order: Order
    reason: str


class Dismissed(State, frozen=True):
    """The node shows no trace of the call, long after it left or did not, and the operator gives it up."""

    order: Order


# --- inputs ----------------------------------------------------------------------------------------------------


class RequestOrder(Input, frozen=True):
    id: str
    order: Order


class OrderPlaced(Input, frozen=True):
    txid: str


class NodeRefusedOrder(Input, frozen=True):
    reason: str


class DismissOrder(Input, frozen=True):
    """The operator's word, after the node was asked once more (`gateway/dismissing.py`)."""


# --- events ----------------------------------------------------------------------------------------------------


class NodeOrdered(Event, frozen=True):
    kind: ClassVar[str] = "node_order.ordered"
    id: str
    order: Order


class NodeOrderPlaced(Event, frozen=True):
    kind: ClassVar[str] = "node_order.placed"
    txid: str


class NodeOrderRefused(Event, frozen=True):
    kind: ClassVar[str] = "node_order.refused"
    reason: str


class NodeOrderDismissed(Event, frozen=True):
    kind: ClassVar[str] = "node_order.dismissed"


# --- effects ---------------------------------------------------------------------------------------------------


class PlaceOrder(Effect, frozen=True):
    """Call once; when resumed, only look for its trace."""

    #: On a restored log it is resumed, so it only looks for its trace.
    may_pay_twice: ClassVar[bool] = False
    id: str
    order: Order


def stream_of(order_id: str) -> str:
    """The stream of an order, given an id that is used once."""
    return f"node_order/{order_id}"


# --- transitions -----------------------------------------------------------------------------------------------


def _request(_state: New, input_: RequestOrder) -> Decision:
    return Decision(events=(NodeOrdered(id=input_.id, order=input_.order),))


def _placed(_state: Ordered, input_: OrderPlaced) -> Decision:
    return Decision(events=(NodeOrderPlaced(txid=input_.txid),))


def _refused(_state: Ordered, input_: NodeRefusedOrder) -> Decision:
    return Decision(events=(NodeOrderRefused(reason=input_.reason),))


def _dismissed(_state: Ordered, _input: DismissOrder) -> Decision:
    return Decision(events=(NodeOrderDismissed(),))


def _wants_call(state: Ordered) -> Mapping[str, Effect]:
    return {"place": PlaceOrder(id=state.id, order=state.order)}


_STATES: tuple[type[State], ...] = (New, Ordered, Placed, OrderRefused, Dismissed)
_INPUTS: tuple[type[Input], ...] = (
    RequestOrder,
    OrderPlaced,
    NodeRefusedOrder,
    DismissOrder,
)
_RULES = table(
    {
        (New, RequestOrder): Handle(_request, to=(Ordered,)),
        (Ordered, OrderPlaced): Handle(_placed, to=(Placed,)),
        (Ordered, NodeRefusedOrder): Handle(_refused, to=(OrderRefused,)),
        (Ordered, DismissOrder): Handle(_dismissed, to=(Dismissed,)),
    },
    refused((New,), (OrderPlaced, NodeRefusedOrder, DismissOrder), "nobody ordered this"),
    refused((Ordered, Placed, OrderRefused, Dismissed), (RequestOrder,), "this was ordered before"),
    refused(
        (Placed, OrderRefused, Dismissed),
        (DismissOrder,),
        "this order has ended: there is nothing to dismiss",
    ),
    ignored(
        (Placed, OrderRefused),
        (OrderPlaced, NodeRefusedOrder),
        "the order has ended: the node's first answer stays",
    ),
    ignored(
        (Dismissed,),
        (OrderPlaced, NodeRefusedOrder),
        "the operator dismissed the order: what is found out later changes nothing",
    ),
)


MACHINE = Machine(
    kind="node_order",
    initial=New(),
    states=_STATES,
    inputs=_INPUTS,
    rules=_RULES,
    evolvers={
        NodeOrdered: lambda _state, event: Ordered(id=event.id, order=event.order),
        NodeOrderPlaced: lambda state, event: Placed(order=state.order, txid=event.txid),
        NodeOrderRefused: lambda state, event: OrderRefused(order=state.order, reason=event.reason),
        NodeOrderDismissed: lambda state, _event: Dismissed(order=state.order),
    },
    wants_of={Ordered: _wants_call},
    final=frozenset({Placed, OrderRefused, Dismissed}),
)
