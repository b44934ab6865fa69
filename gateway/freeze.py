"""Holds effects back while a restored log is frozen: those that send money out, whoever wants them."""

from collections.abc import Callable, Mapping

from engine.effects import EffectContext, Handler
from engine.machine import Effect, Input
from statemachines.operator_payment import PayForOperator
from statemachines.send import PayInvoice
from statemachines.transaction import BuildTransaction


def held_back(
    handlers: Mapping[type[Effect], Handler], refuse: Callable[[], None]
) -> Mapping[type[Effect], Handler]:
    """The handlers; those that send money out first call `refuse`, which raises UnavailableError while it must not be.

    They are then tried again until they may go on.
    """

    def guarded(handler: Handler) -> Handler:
        async def handle(effect: Effect, context: EffectContext) -> Input | None:
            if sends_money_out(effect):
                refuse()
            return await handler(effect, context)

        return handle

    return {effect: guarded(handler) for effect, handler in handlers.items()}


def sends_money_out(effect: Effect) -> bool:
    """Claims, and notes that become notes of ours, may go on: what they spend is ours once, in whatever transaction.

    Orders to the node are made once anyway; bytes that are signed are submitted again as they are.
    """
    match effect:
        case PayInvoice() | PayForOperator():
            return True
        case BuildTransaction(reservation=reservation):
            return bool(reservation.outputs)
        case _:
            return False
