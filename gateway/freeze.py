"""The freeze of a restored log: what it still waits for, and which effects it holds back.

A federation whose contracts and notes are known again need not wait for another that does not answer. Who has answered
is known in memory alone: a process that starts anew while the log is frozen asks everybody again, which is always safe.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from engine.effects import EffectContext, Handler
from engine.machine import Effect, Input
from statemachines.operator_payment import PayForOperator
from statemachines.receive import CreateInvoice
from statemachines.send import PayInvoice
from statemachines.transaction import BuildTransaction

NODE = "the Lightning node"


class Word:
    """Whether the node has told in this process that the log is the newest, or is a backup (`gateway/witness.py`)."""

    def __init__(self) -> None:
        self._given = anyio.Event()

    @property
    def is_given(self) -> bool:
        """Whether it has."""
        return self._given.is_set()

    def give(self) -> None:
        """It has."""
        self._given.set()

    async def heard(self) -> None:
        """Wait for it."""
        if not self._given.is_set():
            await self._given.wait()


@dataclass
class Answered:
    """Those that have told in this process what the lost events did."""

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
                refuse(*FEDERATIONS_OF[type(effect)](effect))
            return await handler(effect, context)

        return handle

    return {effect: guarded(handler) for effect, handler in handlers.items()}


def sends_money_out(effect: Effect) -> bool:
    """Whether it must wait for those who know what the lost events did: each effect says so of its kind."""
    if isinstance(effect, BuildTransaction):
        return bool(effect.reservation.outputs)
    return effect.may_pay_twice


#: The federation that must have told, besides the node, for each effect that may pay twice. A payment of the node waits
#: for the node alone: what its sender's contract brings is ours once.
FEDERATIONS_OF: Final[Mapping[type[Effect], Callable[[Any], tuple[str, ...]]]] = {
    PayInvoice: lambda _effect: (),
    PayForOperator: lambda _effect: (),
    CreateInvoice: lambda effect: (effect.facts.federation_id,),
    BuildTransaction: lambda effect: (effect.reservation.federation_id,),
}
