"""Lets the operator end a call that was never answered, once no money can be lost by it.

An order without a trace is dismissed once its call can be on its way no longer; a client's payment of which the node
tells no end once its contract can be claimed no longer, so that it makes no difference to anybody's money what becomes
of it; a payment of the operator's own once they gave up the node that was called (`gateway/replacing_node.py`). Every
other state ends by itself, and its outlook says what ends it.
"""

from backends.lightning import InFlight, Succeeded
from backends.operations import CALL_ASTRAY_S, Node
from engine.machine import State
from engine.storage import streams
from errors import ConflictError, InputError, NotFoundError, UnavailableError
from gateway.context import GatewayContext
from gateway.modules.lnv2 import LnV2
from gateway.operator_effects import trace_of
from statemachines import ALL_MACHINES, federation, node_order, operator_payment, send
from statemachines.outlook import OpenState


def require_stream(stream: str) -> State:
    """The state in which such a stream begins. Raises InputError for what is none."""
    kind, _, rest = stream.partition("/")
    initial = {machine.kind: machine.initial for machine in ALL_MACHINES}
    if not rest or kind not in initial:
        raise InputError(
            f"{stream} is not a payment, transaction or order: name the stream as `gateway-cli info` shows it, such as "
            "node_order/…"
        )
    return initial[kind]


async def dismiss(context: GatewayContext, stream: str) -> str:
    """End a send or an order of which nobody tells the end, and return the name of the state that it is in now.

    Raises InputError for what is no stream, NotFoundError for one that is not there, ConflictError with the reason when
    it must go on, UnavailableError or PeerError while node or guardians do not tell.
    """
    context.refuse_while_frozen()
    initial = require_stream(stream)
    state = (await context.engine.read(stream)).state
    if state == initial:
        raise NotFoundError(f"there is no {stream}")
    match state:
        case node_order.Ordered():
            await _refuse_order(context, stream, state)
            await context.engine.submit(stream, node_order.DismissOrder())
        case send.Unanswered() | send.Vanished():
            await _refuse_send(context, state)
            await context.engine.submit(stream, send.DismissSend())
        case operator_payment.Paying() if state.facts.node != context.pin.public_key:
            await context.engine.submit(stream, operator_payment.DismissOperatorPayment())
        case _:
            why = "it waits for nothing"
            if isinstance(state, OpenState) and state.outlook.ended_by is not None:
                why = state.outlook.ended_by
            raise ConflictError(f"{stream} is {type(state).__name__} and is not dismissed: {why}")
    return type((await context.engine.read(stream)).state).__name__


async def _refuse_order(context: GatewayContext, stream: str, state: node_order.Ordered) -> None:
    """Raises ConflictError when the node shows the order, or may still come to."""
    job = next((job for job in context.engine.jobs() if job.stream == stream), None)
    if job is None or job.last_error is None:
        raise ConflictError(
            "the call is being made, or its trace looked for: ask again in a minute"
        )
    txid = await trace_of(_node(context), state.id, state.order)
    if txid is not None:
        raise ConflictError(f"the Lightning node carried it out: {txid}; the order ends by itself")
    since_unix_us = streams.named(context.store, [stream])[stream].since_unix_us
    left_s = context.now_unix_s() - since_unix_us // 1_000_000
    if left_s < CALL_ASTRAY_S:
        raise ConflictError(
            f"the call left {left_s} seconds ago and may still be on its way to the node: "
            f"an order can be dismissed after {CALL_ASTRAY_S} seconds without a trace"
        )


async def _refuse_send(context: GatewayContext, state: send.Unanswered | send.Vanished) -> None:
    """Raises ConflictError while the payment is under way, or a claim could still be made should it ever be."""
    facts = state.facts
    context.refuse_while_frozen(facts.federation_id)
    record = await _node(context).lookup(bytes.fromhex(facts.payment_hash))
    if isinstance(record, InFlight | Succeeded):
        raise ConflictError("the Lightning node has a record of this payment: its end decides")
    if isinstance(context.engine.peek(federation.stream_of(facts.federation_id)), federation.Left):
        return  # given up: nothing is claimed there
    client = context.federations.client(facts.federation_id)
    found = await client.module(LnV2).expiration(facts)
    if found is not None and found.remaining_blocks:
        raise ConflictError(
            "the node that was called may pay it or have paid it, until the invoice has expired "
            f"({facts.invoice_expires_unix_s}, Unix seconds), and the contract could then be claimed: it can be "
            f"dismissed in {found.remaining_blocks} blocks, when that is over"
        )


def _node(context: GatewayContext) -> Node:
    """The node, when it can tell what it has. Raises UnavailableError otherwise."""
    if not context.watch.connected().synced_to_chain:
        raise UnavailableError("the Lightning node is behind the chain: it may not show all it did")
    return context.outside.node
