"""Opens and closes the clients of federations, and keeps tweaks and notes ready in the wallet of each."""

import contextlib
from collections.abc import Callable

import anyio
import anyio.abc

from engine.engine import Engine
from engine.machine import State
from engine.ports import Clock
from errors import BusyError, FaultError, GatewayError, UnavailableError
from gateway import secret_files
from gateway.context import GatewayContext
from gateway.federation import FederationClient, open_federation
from gateway.ladder_keeper import keep_ladder
from gateway.modules.mintv2 import MintV2
from gateway.ports import GrindTweak
from statemachines.federation import Joined
from statemachines.transaction import wallet_of
from statemachines.wallet import TWEAK_POOL_SIZE, AddTweaks, Wallet

#: Tweaks per event: few enough to be of use soon, enough not to fill the log with them.
TWEAKS_PER_EVENT = 8
#: What a joining waits for: the first payment, which makes as few notes as it can, finds a tweak for each.
FIRST_TWEAKS = 24
#: For so long: a grinder in trouble must not keep anybody from joining. In Python a tweak takes about 50 ms.
FIRST_TWEAKS_LIMIT_S = 10.0
#: With more than these, about ten payments' worth, grinding leaves the processor to what is under way.
ENOUGH_TWEAKS = 64
#: How often it is looked whether anything still is.
BUSY_PAUSE_S = 0.5
#: Before another try when the grinder died, the journal is full, or the wallet fails at it.
TROUBLE_PAUSE_S = 5.0


class FederationLifetimes:
    """One task group holds the companions of all; closing a federation ends its own."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._scopes: dict[str, tuple[anyio.CancelScope, ...]] = {}
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
        for scope in self._scopes.pop(federation_id):
            scope.cancel()
        self._context.resting.interrupt(federation_id)
        await federation.aclose()

    def _accompany(self, tasks: anyio.abc.TaskGroup, federation: FederationClient) -> None:
        scopes = of_tweaks, of_ladder = anyio.CancelScope(), anyio.CancelScope()
        self._scopes[federation.federation_id] = scopes
        tasks.start_soon(self._keep_tweaks, federation, of_tweaks)
        tasks.start_soon(self._keep_ladder, federation.federation_id, of_ladder)

    async def _keep_ladder(self, federation_id: str, scope: anyio.CancelScope) -> None:
        context = self._context
        with scope:
            await keep_ladder(context.engine, federation_id, context.outside.ports.clock)

    async def first_tweaks(self, federation: FederationClient) -> None:
        """Wait until the first payment needs no grinding, or for FIRST_TWEAKS_LIMIT_S.

        Payments that do not find them only take longer, so nothing that goes wrong is the caller's.
        """
        stream = wallet_of(federation.federation_id)
        with anyio.move_on_after(FIRST_TWEAKS_LIMIT_S), contextlib.suppress(GatewayError):
            await self._context.engine.wait(stream, _has_first_tweaks)

    async def _keep_tweaks(self, federation: FederationClient, scope: anyio.CancelScope) -> None:
        context = self._context
        outside, is_busy = context.outside, context.resting.is_busy
        with scope:
            await keep_tweaks(
                context.engine, federation, outside.grind, outside.ports.clock, is_busy
            )


async def keep_tweaks(
    engine: Engine,
    federation: FederationClient,
    grind: GrindTweak,
    clock: Clock,
    is_busy: Callable[[], bool],
) -> None:
    """Refill the pool whenever it is not full. A tweak that a crash loses was never used.

    While `is_busy`, only a pool that is low is refilled. Without the pool transactions only take longer, so no trouble
    here may disturb anything else.
    """
    stream, tweak_filter = (
        wallet_of(federation.federation_id),
        federation.module(MintV2).tweak_filter,
    )
    while True:
        try:
            await engine.wait(stream, _wants_tweaks)
            tweaks: tuple[str, ...] = ()
            while len(tweaks) < TWEAKS_PER_EVENT:
                while is_busy() and _has_enough_tweaks(engine.peek(stream)):
                    await clock.sleep(BUSY_PAUSE_S)
                tweaks += ((await grind(tweak_filter)).hex(),)
            await engine.submit(stream, AddTweaks(tweaks=tweaks))
        except (UnavailableError, BusyError, FaultError):
            await clock.sleep(TROUBLE_PAUSE_S)


def _wants_tweaks(state: State) -> bool:
    return isinstance(state, Wallet) and len(state.tweaks) <= TWEAK_POOL_SIZE - TWEAKS_PER_EVENT


def _has_enough_tweaks(state: State) -> bool:
    return isinstance(state, Wallet) and len(state.tweaks) >= ENOUGH_TWEAKS


def _has_first_tweaks(state: State) -> bool:
    return isinstance(state, Wallet) and len(state.tweaks) >= FIRST_TWEAKS
