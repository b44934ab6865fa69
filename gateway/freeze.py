"""What a restored log that is frozen still waits for, and the effects held back meanwhile: those that send money out.

A federation whose contracts and notes are known again need not wait for another that does not answer. Who has answered
is known in memory alone: a process that starts anew while the log is frozen asks everybody again, which is always safe.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from engine.effects import EffectContext, Handler
from engine.machine import Effect, Input
from statemachines.operator_payment import PayForOperator
from statemachines.receive import CreateInvoice
from statemachines.send import PayInvoice
from statemachines.transaction import BuildTransaction

NODE = "the Lightning node"


@dataclass
class Answered:
    """Who has told in this process what the lost events did."""

    node: bool = False
    federations: set[str] = field(default_factory=set)

    def missing(self, *federation_ids: str) -> tuple[str, ...]:
        """Whom something waits for that needs the node and these federations, in words."""
        federations = (one for one in federation_ids if one not in self.federations)
        return (*(() if self.node else (NODE,)), *(f"federation {one}" for one in federations))


def held_back(
    handlers: Mapping[type[Effect], Handler], refuse: Callable[..., None]
) -> Mapping[type[Effect], Handler]:
    """The handlers; those that send money out first call `refuse`, which raises UnavailableError while it must not be.

    It is given the federation whose money it is, if it is one's. They are then tried again until they may go on.
    """

    def guarded(handler: Handler) -> Handler:
        async def handle(effect: Effect, context: EffectContext) -> Input | None:
            if sends_money_out(effect):
                refuse(*_federations(effect))
            return await handler(effect, context)

        return handle

    return {effect: guarded(handler) for effect, handler in handlers.items()}


def sends_money_out(effect: Effect) -> bool:
    """Also what must not end before its federation has told what the lost events funded: an invoice they had made.

    Claims, and notes that become notes of ours, may go on: what they spend is ours once, in whatever transaction.

    Orders to the node are made once anyway; bytes that are signed are submitted again as they are.
    """
    match effect:
        case PayInvoice() | PayForOperator() | CreateInvoice():
            return True
        case BuildTransaction(reservation=reservation):
            return bool(reservation.outputs)
        case _:
            return False


def _federations(effect: Effect) -> tuple[str, ...]:
    """A payment of the node waits for the node alone: what its sender's contract brings is ours once."""
    if isinstance(effect, BuildTransaction):
        return (effect.reservation.federation_id,)
    if isinstance(effect, CreateInvoice):
        return (effect.facts.federation_id,)
    return ()
