"""The effects of an outgoing payment: measure, pay, look up, follow, forfeit (`statemachines/send.py`).

Whatever a call to the node ends with is one of three things, and they are never mixed up: the node's record of the
payment, its refusal of this call, or no answer. Only the machine decides what follows. A record that no money can be
given back on comes with the key of the node that has it, asked for after the record.
"""

from collections.abc import Mapping

from backends.lightning import (
    Failed,
    InFlight,
    NodeInfo,
    NodeRefusedError,
    NotFound,
    Succeeded,
    check_order,
)
from engine.effects import EffectContext, Handler
from engine.machine import Effect, Input
from errors import InputError, UnavailableError
from gateway import trust
from gateway.context import GatewayContext
from gateway.modules.lnv2 import LnV2
from gateway.receivers import SwapReceivers
from statemachines import send, send_rules

#: How often the record of an unanswered call is looked up while nothing can be decided.
LOOK_UP_PAUSE_S = 15.0


class SendEffects:
    """Handlers over the Lightning node and the open federations of a gateway."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._node = context.outside.node
        self._federations = context.federations
        self._clock = context.outside.ports.clock
        self._receivers = SwapReceivers(context)

    def handlers(self) -> Mapping[type[Effect], Handler]:
        """One handler for each effect of the machine."""
        return {
            send.MeasureBudget: self.measure,
            send.MeasureSwap: self.measure_swap,
            send.PayInvoice: self.pay,
            send.LookUpRecord: self.look_up,
            send.FollowPayment: self.follow,
            send.SignForfeit: self.forfeit,
        }

    async def measure(self, effect: send.MeasureBudget, _context: EffectContext) -> Input:
        """The node first: what it knows comes before any budget, and time passes while we wait for it."""
        record = await self._node.lookup(bytes.fromhex(effect.facts.payment_hash))
        node = await self._node.info()
        if not isinstance(record, NotFound):
            return _known(record, node.public_key)
        asked_unix_s = self._now_unix_s()
        return send.BudgetMeasured(
            node=node.public_key,
            remaining_blocks=await self._remaining_blocks(effect.facts, node),
            now_unix_s=asked_unix_s,
        )

    async def measure_swap(
        self, effect: send.MeasureSwap, _context: EffectContext
    ) -> send.SwapMeasured:
        """By what the guardians say; what the log says of the receiver is asked once more in the decision."""
        facts = effect.facts

        async def measure() -> send.SwapMeasured:
            asked_unix_s = self._now_unix_s()
            unready = await self._receivers.unreadiness(facts.payment_hash)
            remaining_blocks = await self._remaining_blocks(facts, await self._node.info())
            return send.SwapMeasured(
                remaining_blocks=remaining_blocks,
                now_unix_s=asked_unix_s,
                refusal=unready or self._receivers.refusal(facts.payment_hash, facts.invoice_msat),
            )

        return await self._receivers.measured(facts.payment_hash, measure)

    async def pay(self, effect: send.PayInvoice, context: EffectContext) -> Input:
        """Call once. A resumed call may have left before, so then the node's record alone counts."""
        payment_hash, intent = bytes.fromhex(effect.payment_hash), effect.intent
        if context.resumed:
            return await self._recorded(payment_hash) or send.CallUnanswered()
        try:
            check_order(effect.invoice, payment_hash, intent.max_fee_msat, intent.max_delay_blocks)
        except InputError as error:  # such as an invoice for 0 msat: no node would ever hear of it
            return send.CallRefused(reason=str(error))
        try:
            async with self._node.pay(
                effect.invoice,
                payment_hash=payment_hash,
                max_fee_msat=intent.max_fee_msat,
                max_delay_blocks=intent.max_delay_blocks,
            ) as statuses:
                if self._context.pin.public_key != effect.node:  # nothing was sent yet
                    return send.CallRefused(reason="the gateway's Lightning node was replaced")
                async for status in statuses:
                    if not isinstance(status, NotFound):
                        return _known(status, effect.node)
        except NodeRefusedError as refused:
            return await self._recorded(payment_hash) or send.CallRefused(reason=refused.text)
        raise UnavailableError("the Lightning node's answer ended without a final status")

    async def look_up(self, effect: send.LookUpRecord, _context: EffectContext) -> Input:
        """Ask again and again until the machine can decide on the answer.

        Of a swap that was held back the receiver may have the preimage, bought by events that are lost.
        """
        facts = effect.facts
        while True:
            looked_up_unix_s = self._now_unix_s()
            if facts.is_swap:
                preimage = await self._receivers.preimage(facts.payment_hash)
                if preimage is not None:
                    return send.PaymentSucceeded(preimage=preimage, routing_fee_msat=0)
            status = await self._node.lookup(bytes.fromhex(facts.payment_hash))
            if isinstance(status, InFlight | Succeeded):
                return _known(status, facts.node)
            node = await self._node.info()
            record = send.RecordLookedUp(
                node=node.public_key,
                failed_reason=status.reason if isinstance(status, Failed) else None,
                remaining_blocks=await self._remaining_blocks(facts, node),
                looked_up_unix_s=looked_up_unix_s,
                untrusted=trust.distrust(self._context, facts, is_new=False),
            )
            if send_rules.may_decide(effect, record):
                return record
            _refuse_word_of_another(node.public_key, facts.node)
            await self._clock.sleep(LOOK_UP_PAUSE_S)

    async def follow(self, effect: send.FollowPayment, _context: EffectContext) -> Input:
        """The record to its end. A record that is missing is reported once and then waited for."""
        async with self._node.track(bytes.fromhex(effect.payment_hash)) as statuses:
            async for status in statuses:
                if isinstance(status, NotFound):
                    break
                if isinstance(status, Failed):
                    node = (await self._node.info()).public_key
                    if effect.vanished:
                        _refuse_word_of_another(node, effect.node)
                    return _known(status, node)
                if effect.vanished or not isinstance(status, InFlight):
                    return _known(status, effect.node)
            else:
                raise UnavailableError("the Lightning node stopped reporting the payment")
        node = (await self._node.info()).public_key
        if effect.vanished:
            _refuse_word_of_another(node, effect.node)
            raise UnavailableError(
                "the Lightning node has no record of a payment that it showed in flight: "
                "restore its database, or find the payment by its hash"
            )
        return send.CallUnanswered()

    async def forfeit(
        self, effect: send.SignForfeit, _context: EffectContext
    ) -> send.ForfeitSigned:
        """The signature is the same each time."""
        lightning = self._federations.client(effect.federation_id).module(LnV2)
        return send.ForfeitSigned(
            forfeit=lightning.forfeit(bytes.fromhex(effect.contract_id)).hex()
        )

    async def _recorded(self, payment_hash: bytes) -> Input | None:
        """The node's record, None when it has none."""
        record = await self._node.lookup(payment_hash)
        if isinstance(record, NotFound):
            return None
        return _known(record, (await self._node.info()).public_key)

    async def _remaining_blocks(self, facts: send.SendFacts, node: NodeInfo) -> int:
        """Blocks until the sender may take the contract back; 0 when it is gone, another one, or nobody can tell."""
        if facts.federation_id not in self._federations:
            return 0  # given up: nothing more is paid out of it, and the node alone decides how this ends
        lightning = self._federations.client(facts.federation_id).module(LnV2)
        return await lightning.remaining_blocks(facts, node.block_height + 1)

    def _now_unix_s(self) -> int:
        return self._clock.now_unix_us() // 1_000_000


def _refuse_word_of_another(node: str, called: str) -> None:
    """Raises UnavailableError when `node`, whose word this would be, is not the one that was called."""
    if node != called:
        raise UnavailableError(
            f"the call left for the Lightning node {called or 'of an earlier release'}, which the operator gave up, "
            "and no other can tell what became of it: it ends when that one is back, or by gateway-cli dismiss once "
            "the contract has expired"
        )


def _known(status: InFlight | Succeeded | Failed, node: str) -> Input:
    """What the machine hears of the record of `node`."""
    match status:
        case Succeeded(preimage, fee_msat):
            return send.PaymentSucceeded(preimage=preimage.hex(), routing_fee_msat=fee_msat)
        case Failed(reason):
            return send.PaymentFailed(node=node, reason=reason)
        case InFlight():
            return send.SeenInFlight()
