"""All handlers of effects of one gateway, each behind the things it must wait for."""

from collections.abc import Mapping

from engine.effects import Handler
from engine.machine import Effect
from gateway import status
from gateway.bitcoin_effects import BitcoinEffects
from gateway.context import GatewayContext
from gateway.freeze import held_back
from gateway.operator_effects import OperatorEffects
from gateway.receive_effects import ReceiveEffects
from gateway.send_effects import SendEffects
from gateway.transaction_effects import TransactionEffects
from gateway.witness import until_heard
from statemachines.federation import Joined, Left
from statemachines.federation import stream_of as federation_stream


def handlers(context: GatewayContext) -> Mapping[type[Effect], Handler]:
    """One for each effect; it first waits for the node's word, for a frozen log, and for its federation."""
    outside, federations = context.outside, context.federations
    node, ports = outside.node, outside.ports

    async def until_served(federation_id: str) -> None:
        """At once, but for a federation that was left."""
        stream = federation_stream(federation_id)
        if isinstance(context.engine.peek(stream), Left):
            await context.engine.wait(stream, lambda state: isinstance(state, Joined))

    unguarded = {
        **SendEffects(context).handlers(),
        **ReceiveEffects(node, federations, outside.cpu, ports.clock).handlers(),
        **TransactionEffects(
            federations,
            context.foreign_notes,
            outside.cpu,
            ports.randomness,
            ports.clock,
            find_tweak=outside.find_tweak,
            peek=context.engine.peek,
        ).handlers(),
        **BitcoinEffects(
            federations,
            outside.grind_address,
            context.settings.network,
            ports.clock,
            lambda federation_id: status.open_deposits(context.engine, federation_id),
        ).handlers(),
        **OperatorEffects(node, ports.clock).handlers(),
    }
    served = context.resting.handlers(unguarded, until_served)
    return until_heard(held_back(served, context.refuse_while_frozen), context.word)
