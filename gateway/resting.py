"""Effects that rest after their federation was given up, until it is joined again.

Nothing is retried meanwhile. What was decided is kept, with its signed bytes and promised tweaks, and goes on from
there.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

import anyio

from engine.effects import EffectContext, Handler
from engine.machine import Effect, Input
from statemachines.deposit import QuoteReceiveFee
from statemachines.send import SignForfeit
from statemachines.transaction import BuildTransaction, CollectNotes, SubmitTransaction
from statemachines.withdrawal import AskBitcoinTxid


class Resting:
    """The effects that run for each federation. One event loop owns it."""

    def __init__(self) -> None:
        self._running: defaultdict[str, set[anyio.CancelScope]] = defaultdict(set)

    def handlers(
        self,
        handlers: Mapping[type[Effect], Handler],
        until_served: Callable[[str], Awaitable[None]],
    ) -> Mapping[type[Effect], Handler]:
        """The handlers; those that need a federation first wait for `until_served`, given its id."""

        def guarded(handler: Handler) -> Handler:
            async def handle(effect: Effect, context: EffectContext) -> Input | None:
                federation_id = federation_of(effect)
                if not federation_id:
                    return await handler(effect, context)
                while True:
                    await until_served(federation_id)
                    with self.while_served(federation_id):
                        return await handler(effect, context)

            return handle

        return {effect: guarded(handler) for effect, handler in handlers.items()}

    @contextmanager
    def while_served(self, federation_id: str) -> Iterator[None]:
        """Leave the block when the federation is given up."""
        running = self._running[federation_id]
        with anyio.CancelScope() as scope:
            running.add(scope)
            try:
                yield
            finally:
                running.discard(scope)

    def is_busy(self) -> bool:
        """Whether a transaction of any federation is being built, submitted or collected."""
        return any(self._running.values())

    def interrupt(self, federation_id: str) -> None:
        """The federation is no longer served: effects that ask its guardians begin to rest."""
        for scope in tuple(self._running[federation_id]):
            scope.cancel()


def federation_of(effect: Effect) -> str:
    """The federation whose guardians, or whose client, this effect cannot do without; empty when it needs none."""
    match effect:
        case BuildTransaction(reservation=reservation):
            return reservation.federation_id
        case SubmitTransaction() | CollectNotes() | QuoteReceiveFee() | AskBitcoinTxid():
            return effect.federation_id
        case SignForfeit(federation_id=federation_id):
            return federation_id
        case _:
            return ""
