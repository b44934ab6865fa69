"""Replaces the gateway's Lightning node at its operator's order, after showing what that costs.

It changes no payment. What had a call under way at the old node keeps its state, and no word of the new one ends it.
"""

from collections.abc import Iterable

from engine.machine import State
from errors import ConflictError
from gateway.context import GatewayContext
from gateway.views import NodeReplacement
from statemachines import completion, identity, node_order, operator_payment, receive, send

_CALLED = (send.Dispatching, send.Unanswered, send.InFlight, send.Vanished)


async def replace(context: GatewayContext, gone: str | None) -> NodeReplacement:
    """Put the node that answers in the place of `gone` (public key, hex); without it, only say what that means.

    Raises ConflictError while no other node answers, or when `gone` is not the gateway's node.
    """
    await context.watch.ask()
    other, pinned = context.pin.stranger, context.pin.public_key
    if other is None or pinned is None:
        raise ConflictError(
            "no other Lightning node answers than the gateway's own: point the gateway at the new one first "
            "(FM_LND_RPC_ADDR, FM_LND_TLS_CERT, FM_LND_MACAROON) and start it again"
        )
    states = list(context.engine.open_streams().values())
    if gone is not None:
        await context.engine.submit(
            identity.STREAM, identity.ReplaceNode(gone=gone, node=other.public_key)
        )
        await context.watch.ask()
    return NodeReplacement(
        old_node=pinned,
        new_node=other.public_key,
        is_replaced=gone is not None,
        gives_up=tuple(_given_up(states, pinned)),
    )


def _given_up(states: Iterable[State], node: str) -> Iterable[str]:
    """A sentence for everything that hangs on the old node; amounts are msat."""
    states = list(states)
    paid_msat = [
        one.facts.invoice_msat
        for one in states
        if isinstance(one, _CALLED) and one.facts.node == node and not one.facts.is_swap
    ]
    held_msat = [one.amount_msat for one in states if isinstance(one, completion.OPEN_STATES)]
    invoices = sum(isinstance(one, receive.Registered | receive.Invoiced) for one in states)
    orders = sum(isinstance(one, operator_payment.Paying | node_order.Ordered) for one in states)
    yield (
        "This gateway no longer looks after channels and coins of the old node: recover them from the node's own "
        "backups."
    )
    if paid_msat:
        yield (
            f"{len(paid_msat)} payments of clients, {sum(paid_msat)} msat, may be paid by the old node, and their "
            "contracts can then not be claimed: nobody else can tell. Their senders are refunded when the "
            "contracts expire; gateway-cli dismiss then ends them here."
        )
    if held_msat:
        yield (
            f"{len(held_msat)} payments to clients, {sum(held_msat)} msat, are held by the old node and cannot be "
            "settled: where the receiver is funded already, that is lost."
        )
    if invoices:
        yield f"{invoices} unpaid invoices can no longer be paid."
    if orders:
        yield (
            f"{orders} payments and orders of your own may have been carried out by the old node; gateway-cli dismiss "
            "ends them here."
        )
