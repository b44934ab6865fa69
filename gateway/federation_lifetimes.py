"""Opens and closes the clients of federations, and keeps tweaks ready for the wallet of each."""

import anyio
import anyio.abc

from engine.engine import Engine
from engine.machine import State
from engine.ports import Clock
from errors import BusyError, FaultError, UnavailableError
from gateway import secret_files
from gateway.context import GatewayContext
from gateway.federation import FederationClient, open_federation
from gateway.modules.mintv2 import MintV2
from gateway.ports import GrindTweak
from statemachines.federation import Joined
from statemachines.transaction import wallet_of
from statemachines.wallet import TWEAK_POOL_SIZE, AddTweaks, Wallet

#: Tweaks per event: few enough to be of use soon, enough not to fill the log with them.
TWEAKS_PER_EVENT = 8
#: Before another try when the grinder died, the journal is full, or the wallet fails at it.
TROUBLE_PAUSE_S = 5.0


class FederationLifetimes:
    """One task group holds the companions of all; closing a federation ends its own."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._tasks: anyio.abc.TaskGroup | None = None

    def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Run the companions of every open federation, and of those opened from now on."""
        self._tasks = tasks
        for federation in self._context.federations:
            self._accompany(tasks, federation)

    def open(self, joined: Joined) -> FederationClient:
        """The client of a federation of the log, from now on among the federations served."""
        context, federation_id = self._context, joined.facts.federation_id
        api_secret = secret_files.load_api_secret(context.settings.directory, federation_id)
        outside = context.outside
        federation = open_federation(
            joined, context.root, outside.connect, api_secret, outside.ports
        )
        context.federations.add(federation)
        if self._tasks is not None:
            self._accompany(self._tasks, federation)
        return federation

    async def close(self, federation_id: str) -> None:
        """Stop serving it, and end its connections."""
        federation = self._context.federations.remove(federation_id)
        self._scopes.pop(federation_id).cancel()
        self._context.resting.interrupt(federation_id)
        await federation.aclose()

    def _accompany(self, tasks: anyio.abc.TaskGroup, federation: FederationClient) -> None:
        scope = self._scopes[federation.federation_id] = anyio.CancelScope()
        tasks.start_soon(self._keep_tweaks, federation, scope)

    async def _keep_tweaks(self, federation: FederationClient, scope: anyio.CancelScope) -> None:
        outside = self._context.outside
        with scope:
            await keep_tweaks(self._context.engine, federation, outside.grind, outside.ports.clock)


async def keep_tweaks(
    engine: Engine, federation: FederationClient, grind: GrindTweak, clock: Clock
) -> None:
    """Refill the pool whenever it is not full. A tweak that a crash loses was never used.

    Without the pool transactions only take longer, so no trouble here may disturb anything else.
    """
    stream, tweak_filter = (
        wallet_of(federation.federation_id),
        federation.module(MintV2).tweak_filter,
    )
    while True:
        try:
            await engine.wait(stream, _wants_tweaks)
            tweaks = [(await grind(tweak_filter)).hex() for _ in range(TWEAKS_PER_EVENT)]
            await engine.submit(stream, AddTweaks(tweaks=tuple(tweaks)))
        except (UnavailableError, BusyError, FaultError):
            await clock.sleep(TROUBLE_PAUSE_S)


def _wants_tweaks(state: State) -> bool:
    return isinstance(state, Wallet) and len(state.tweaks) <= TWEAK_POOL_SIZE - TWEAKS_PER_EVENT
