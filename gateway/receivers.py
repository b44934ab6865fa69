"""Whether a receiver's contract may be funded now, for whoever pays: HTLCs at our node, or a send of ours."""

from collections.abc import Awaitable, Callable

from gateway.context import GatewayContext
from gateway.funding_turns import M
from statemachines import receive


def refusal_to_fund(context: GatewayContext, facts: receive.ReceiveFacts) -> str | None:
    """Why nothing may be funded in this federation, None when it may."""
    terms = context.terms(facts.federation_id)
    if terms is None or facts.federation_id not in context.federations:
        return "the gateway does not serve the receiver's federation any more"
    if not terms.receive_enabled:
        return "receiving is switched off for the receiver's federation"
    return None


class SwapReceivers:
    """The receivers that a direct swap can pay, by the payment hash of their invoice (hex)."""

    def __init__(self, context: Callable[[], GatewayContext]) -> None:
        """The context is asked for when it is needed: effects are made before there is one."""
        self._context = context

    async def measured(self, payment_hash: str, measure: Callable[[], Awaitable[M]]) -> M:
        """`FundingTurns.measured` for the receiver whose invoice has this hash, if there is one."""
        context = self._context()
        state = context.engine.peek(receive.stream_of(payment_hash))
        if isinstance(state, receive.Invoiced):
            return await context.funding_turns.measured(context.engine, state.facts, measure)
        return await measure()

    def refusal(self, payment_hash: str, amount_msat: int) -> str | None:
        """Why a send of ours cannot pay this invoice of our node directly, None when it can."""
        context = self._context()
        state = context.engine.peek(receive.stream_of(payment_hash))
        if not isinstance(state, receive.Invoiced):
            return "no receiver of a federation of this gateway waits for a payment of this invoice"
        if state.facts.invoice_msat != amount_msat:
            return "the invoice was made for another amount"
        return refusal_to_fund(context, state.facts)
