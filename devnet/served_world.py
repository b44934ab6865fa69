"""An embedded world behind loopback sockets: a gateway process sees real guardians and a real LND."""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from devnet.embedded_world import EmbeddedWorld
from devnet.guardians.server import serving
from devnet.lnd_server.server import LndServer, serving_lnd
from devnet.processes import free_port


@dataclass(frozen=True)
class ServedWorld:
    """A world whose federations and whose gateway's node, as `lnd`, are served."""

    world: EmbeddedWorld
    lnd: LndServer


@asynccontextmanager
async def served_world(
    folder: Path,
    names: Sequence[str],
    *,
    guardians: int = 1,
    now_unix_s: Callable[[], float] = time.time,
) -> AsyncIterator[ServedWorld]:
    """A world with federations of these names, each of so many guardians; node credentials go into the folder.

    asyncio only, as the transports are. Raises InputError as EmbeddedFederation does.
    """
    first, *others = names
    world = EmbeddedWorld(
        secrets.randbits(64), now_unix_s, guardians=guardians, name=first, urls=_urls(guardians)
    )
    for name in others:
        world.add_federation(name, guardians=guardians, urls=_urls(guardians))
    async with AsyncExitStack() as stack:
        for federation in world.federations:
            await stack.enter_async_context(serving(federation))
        yield ServedWorld(
            world, await stack.enter_async_context(serving_lnd(world.gateway_node, folder))
        )


def _urls(guardians: int) -> list[str]:
    return [f"ws://127.0.0.1:{free_port()}/" for _ in range(guardians)]
