"""Whether a receiver's contract may be funded now, for HTLCs at our node or for a send of ours."""

import contextlib
from collections.abc import Awaitable, Callable

import anyio

from errors import GatewayError, UnavailableError
from fedimint.codec import bolt11
from gateway.context import GatewayContext
from gateway.federation import FederationClient
from gateway.funding_turns import M
from gateway.modules.lnv2 import LnV2
from statemachines import receive
from statemachines.federation import FRUITLESS_MAX

_BUYING = (receive.Funding, receive.Decrypting)
#: How long guardians may take to show that the federation is alive (fedimint-gwv2-client/src/lib.rs).
ALIVE_LIMIT_S = 10.0
#: How often they are asked within it, and after which pause again: a connection that was lost is opened anew after one.
ALIVE_TRIES = 10
ALIVE_PAUSE_S = 1.0


async def unreadiness(context: GatewayContext, facts: receive.ReceiveFacts) -> str | None:
    """Why nothing may be funded in this federation now, None when it may.

    Guardians that do not answer now may accept the funding too late, when the payer is refunded.
    """
    refusal = refusal_to_fund(context, facts)
    if refusal is not None:
        return refusal
    if not await _is_alive(context, context.federations.client(facts.federation_id)):
        return "the receiver's federation does not answer"
    return refusal_to_fund(context, facts)


async def _is_alive(context: GatewayContext, federation: FederationClient) -> bool:
    with anyio.move_on_after(ALIVE_LIMIT_S):
        for _ in range(ALIVE_TRIES):
            with contextlib.suppress(GatewayError):
                await federation.module(LnV2).api.consensus_block_count()
                return True
            await context.outside.ports.clock.sleep(ALIVE_PAUSE_S)
    return False


def refusal_to_fund(context: GatewayContext, facts: receive.ReceiveFacts) -> str | None:
    """Why nothing may be funded in this federation by the log as it is decided, None when it may."""
    terms = context.terms(facts.federation_id)
    if terms is None or facts.federation_id not in context.federations:
        return "the gateway no longer serves the receiver's federation"
    if not terms.receive_enabled:
        return "receiving is switched off for the receiver's federation"
    if terms.fruitless(context.now_unix_s()) >= FRUITLESS_MAX:
        return (
            f"{FRUITLESS_MAX} receivers of this federation had contracts without a preimage within the last hour: "
            "nothing is received for it until that is over"
        )
    return None


def is_from_our_node(context: GatewayContext, invoice: str) -> bool:
    """Whether the gateway's node of now made it; the one before may have, which the operator gave up."""
    return bolt11.decode(invoice).payee.hex() == context.pin.public_key


def check_places(context: GatewayContext, facts: receive.ReceiveFacts) -> None:
    """Raises UnavailableError while as many contracts are funded as may turn out to hold no preimage.

    A payer of many such receivers at once could otherwise cost us any amount before the first one is found out.
    """
    terms = context.terms(facts.federation_id)
    assert terms is not None, "what is not served is refused before"
    places = FRUITLESS_MAX - terms.fruitless(context.now_unix_s())
    buying = sum(
        isinstance(state, _BUYING) and state.facts.federation_id == facts.federation_id
        for state in context.engine.open_streams().values()
    )
    if buying >= places:
        raise UnavailableError(
            f"{buying} contracts of this federation are funded whose preimages are not known yet; {places} may be"
        )


def refusal_of_swap(context: GatewayContext, payment_hash: str, amount_msat: int) -> str | None:
    """Why a send of ours cannot pay this invoice (hash in hex) directly by the log as it is decided, None when it can.

    Raises UnavailableError while a restored log does not know what the receiver's federation holds.
    """
    state = context.engine.peek(receive.stream_of(payment_hash))
    if not isinstance(state, receive.Invoiced):
        return "no receiver of a federation of this gateway waits for a payment of this invoice"
    context.refuse_while_frozen(state.facts.federation_id)
    if state.facts.invoice_msat != amount_msat:
        return "the invoice was made for another amount"
    return refusal_to_fund(context, state.facts)


class SwapReceivers:
    """The receivers that a direct swap can pay, by the payment hash of their invoice (hex)."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context

    async def measured(self, payment_hash: str, measure: Callable[[], Awaitable[M]]) -> M:
        """`FundingTurns.measured` for the receiver whose invoice has this hash, if there is one.

        Raises UnavailableError while a restored log does not know what its federation holds.
        """
        context = self._context
        state = context.engine.peek(receive.stream_of(payment_hash))
        if isinstance(state, receive.Invoiced):
            context.refuse_while_frozen(state.facts.federation_id)
            return await context.funding_turns.measured(context.engine, state.facts, measure)
        return await measure()

    async def unreadiness(self, payment_hash: str) -> str | None:
        """`unreadiness` of the receiver whose invoice has this hash; None also when there is none."""
        context = self._context
        state = context.engine.peek(receive.stream_of(payment_hash))
        return (
            await unreadiness(context, state.facts) if isinstance(state, receive.Invoiced) else None
        )

    def refusal(self, payment_hash: str, amount_msat: int) -> str | None:
        """Why a send of ours cannot pay this invoice of our node directly, None when it can."""
        return refusal_of_swap(self._context, payment_hash, amount_msat)

    async def preimage(self, payment_hash: str) -> str | None:
        """The preimage (hex) that lost events have bought from the receiver for a swap; None when they have not.

        What an HTLC paid for is nobody else's: a sender who came beside it was refunded. Waits for the
        end of what is funded. Raises UnavailableError while a restored log does not know yet.
        """
        context = self._context
        stream = receive.stream_of(payment_hash)
        begun = context.engine.peek(stream)
        if isinstance(
            begun, receive.Registered | receive.Invoiced | receive.Held | receive.Funding
        ):
            context.refuse_while_frozen(begun.facts.federation_id)
        state = (await context.engine.wait(stream, lambda now: not isinstance(now, _BUYING))).state
        if isinstance(state, receive.Received) and state.payer == receive.UNKNOWN_PAYER:
            return state.preimage
        return None
