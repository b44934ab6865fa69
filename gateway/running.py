"""Opens, runs and closes a gateway over its data directory, for programs that are no daemon."""

from collections.abc import Sequence

import anyio
import anyio.abc

from engine.engine import Observer
from engine.storage.store import Store
from gateway.application import Gateway, GatewaySettings, Outside
from gateway.log import read_models
from migrations import SchemaSteps


async def run_gateway(
    settings: GatewaySettings,
    words: str,
    outside: Outside,
    observers: Sequence[Observer] = (),
    *,
    task_status: anyio.abc.TaskStatus[Gateway] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Open the data directory of `settings` and serve until cancelled.

    Raises as `Store` and `Gateway.run` do.
    """
    store = Store(settings.directory, SchemaSteps(), read_models())
    try:
        gateway = Gateway(settings, outside, store=store, words=words, observers=observers)
        async with anyio.create_task_group() as tasks:
            await tasks.start(gateway.run)
            task_status.started(gateway)
    finally:
        store.close()
