"""Opens and closes the clients of federations, and the tasks beside each of them."""

import anyio
import anyio.abc

from gateway import secret_files, tweak_pool
from gateway.context import GatewayContext
from gateway.federation import FederationClient, open_federation
from statemachines.federation import Joined


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
            await tweak_pool.keep_tweaks(
                self._context.engine, federation, outside.grind, outside.ports.clock
            )
