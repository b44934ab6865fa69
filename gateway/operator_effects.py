"""The effects of the operator's orders to the node: an invoice paid, coins sent or a channel opened once."""

from collections.abc import Mapping

from backends.lightning import Failed, InFlight, NodeRefusedError, Succeeded
from backends.operations import ChannelOrder, Node, OnchainOrder
from engine.effects import EffectContext, Handler
from engine.machine import Effect, Input
from engine.ports import Clock
from errors import InputError, UnavailableError
from fedimint.codec import bolt11
from statemachines.node_order import (
    NodeRefusedOrder,
    OpenChannel,
    Order,
    OrderPlaced,
    PlaceOrder,
    SendCoins,
)
from statemachines.operator_payment import (
    OperatorPaymentFacts,
    OperatorPaymentFailed,
    OperatorPaymentSucceeded,
    PayForOperator,
)
from statemachines.send import EXPIRY_MARGIN_S


class OperatorEffects:
    """Handlers over one node."""

    def __init__(self, node: Node, clock: Clock) -> None:
        self._node = node
        self._clock = clock

    def handlers(self) -> Mapping[type[Effect], Handler]:
        """One handler for each effect."""
        return {PayForOperator: self.pay, PlaceOrder: self.place}

    # --- paying an invoice ---

    async def pay(self, effect: PayForOperator, context: EffectContext) -> Input:
        """What the node knows of the hash comes first; without an end there, call.

        The node takes a hash once, so a call too many is refused and costs nothing, while an end that is not this
        attempt's would tell the operator of a failure when the payment is about to be made. So a FAILED that was
        there before our call is this attempt's end only if a call of it may have left (`resumed`), and either no
        earlier attempt can have left that record or the payment was still in flight when we looked. Every other
        FAILED is of an earlier attempt, or of a time before this log: the call is made.

        Another process than the one that was asked makes no call: nobody knows how long ago that was, and the operator
        may have paid otherwise since. All of that is for the node that was called first. Another one that took its
        place is believed a preimage alone, and is never called.
        """
        payment_hash = bytes.fromhex(effect.facts.payment_hash)
        record = await self._node.lookup(payment_hash)
        node = (await self._node.info()).public_key
        if node != effect.facts.node and not isinstance(record, Succeeded):
            raise UnavailableError(
                f"this invoice was to be paid by the Lightning node {effect.facts.node}, which the operator gave up: "
                f"it may have paid; gateway-cli dismiss {context.stream} ends it, to be paid again if it is not"
            )
        was_in_flight = isinstance(record, InFlight)
        if was_in_flight:
            record = await self._end_of(payment_hash)
        if isinstance(record, Succeeded):
            return _end(record)
        may_be_ours = context.resumed and (effect.attempt == 1 or was_in_flight)
        if isinstance(record, Failed) and may_be_ours:
            return _end(record)
        if context.of_earlier_life:
            late = OperatorPaymentFailed(reason="the process that was asked to pay it has ended")
            self._check_none_astray(effect.facts, late)
            return late
        ended = await self._call(effect.facts, payment_hash)
        if isinstance(ended, OperatorPaymentFailed) and context.resumed:
            self._check_none_astray(effect.facts, ended)
        return ended

    def _check_none_astray(self, facts: OperatorPaymentFacts, ended: OperatorPaymentFailed) -> None:
        """Raises UnavailableError while an earlier call, whose answer is lost, may reach the node and begin a payment.

        The failure of a later call says nothing of it; the invoice's expiry does, since the node refuses it then.
        """
        over_unix_s = bolt11.decode(facts.invoice).expires_unix_s + EXPIRY_MARGIN_S
        if self._clock.now_unix_us() // 1_000_000 < over_unix_s:
            raise UnavailableError(
                f"{ended.reason}, and an earlier call may still be on its way to the node until the invoice has expired"
            )

    async def _call(self, facts: OperatorPaymentFacts, payment_hash: bytes) -> Input:
        """The end that this call has. A refused one has none of its own: the record counts, if it is no failure.

        Raises NodeUnansweredError or UnavailableError when no end is known: the engine tries again.
        """
        try:
            async with self._node.pay(
                facts.invoice,
                payment_hash=payment_hash,
                max_fee_msat=facts.max_fee_msat,
                max_delay_blocks=facts.max_delay_blocks,
            ) as statuses:
                async for status in statuses:
                    if isinstance(status, Succeeded | Failed):
                        return _end(status)
        except InputError as error:  # nothing was sent
            return OperatorPaymentFailed(reason=str(error))
        except NodeRefusedError as refused:
            return await self._after_refusal(payment_hash, refused)
        raise UnavailableError("the Lightning node's answer ended without a final status")

    async def _after_refusal(self, payment_hash: bytes, refused: NodeRefusedError) -> Input:
        record = await self._node.lookup(payment_hash)
        if isinstance(record, InFlight):
            return _end(await self._end_of(payment_hash))
        return _end(record) if isinstance(record, Succeeded) else _failed(refused.text)

    async def _end_of(self, payment_hash: bytes) -> Succeeded | Failed:
        """Follow a payment that is in flight. Raises UnavailableError when the node loses it from sight."""
        async with self._node.track(payment_hash) as statuses:
            async for status in statuses:
                if isinstance(status, Succeeded | Failed):
                    return status
        raise UnavailableError("the Lightning node stopped reporting a payment in flight")

    # --- orders ---

    async def place(self, effect: PlaceOrder, context: EffectContext) -> Input:
        """Call once, and never again: a call that may have left is only looked for.

        Raises UnavailableError, with what the operator should look at, while it left no trace.
        """
        if context.resumed:
            return await self._trace(effect)
        try:
            return OrderPlaced(txid=await self._place(effect))
        except InputError as error:  # nothing was sent
            return NodeRefusedOrder(reason=str(error))
        except NodeRefusedError as refused:
            return NodeRefusedOrder(reason=refused.text)

    async def _place(self, effect: PlaceOrder) -> str:
        order = effect.order
        if isinstance(order, OpenChannel):
            return await self._node.open_channel(_channel_order(order))
        return await self._node.send_onchain(
            OnchainOrder(order.address, order.amount_sat, order.sat_per_vbyte, label=effect.id)
        )

    async def _trace(self, effect: PlaceOrder) -> OrderPlaced:
        txid = await trace_of(self._node, effect.id, effect.order)
        if txid is None:
            raise UnavailableError(
                f"the Lightning node's answer to order {effect.id} was lost and it shows no trace of it: "
                f"before you order that again, {_what_to_check(effect.id, effect.order)}"
            )
        return OrderPlaced(txid=txid)


async def trace_of(node: Node, order_id: str, order: Order) -> str | None:
    """The txid by which an order shows at the node, None when it does not."""
    if isinstance(order, OpenChannel):
        return await node.opened_channel(_channel_order(order))
    return await node.sent_onchain(order_id)


def _end(status: Succeeded | Failed) -> Input:
    if isinstance(status, Failed):
        return _failed(status.reason)
    return OperatorPaymentSucceeded(
        preimage=status.preimage.hex(), routing_fee_msat=status.fee_msat
    )


def _failed(reason: str) -> Input:
    return OperatorPaymentFailed(reason=reason)


def _channel_order(order: OpenChannel) -> ChannelOrder:
    return ChannelOrder(
        public_key=order.public_key,
        host=order.host,
        capacity_sat=order.capacity_sat,
        push_sat=order.push_sat,
        sat_per_vbyte=order.sat_per_vbyte,
        base_fee_msat=order.base_fee_msat,
        parts_per_million=order.parts_per_million,
    )


def _what_to_check(order_id: str, order: SendCoins | OpenChannel) -> str:
    if isinstance(order, OpenChannel):
        return f"look in the node for a channel of {order.capacity_sat} sat with {order.public_key}"
    amount = "everything" if order.amount_sat is None else f"{order.amount_sat} sat"
    return f"look in the node's wallet for {amount} sent to {order.address}, labelled {order_id}"
