"""The embedded world of `gatewayd dev`: everything but the gateway runs in this process; blocks come on demand."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from anyio.abc import TaskGroup

from devnet.gateway_client import GatewayClient
from devnet.gatewayd import OurGatewayd
from devnet.guardians.chain_wallet import BLOCK_COUNT_DELAY
from devnet.guardians.federation import EmbeddedFederation
from devnet.lnd_server.server import LndServer
from devnet.served_world import ServedWorld, served_world
from devnet.shell.embedded import EmbeddedShell, UserShell
from devnet.shell.server import Command

_USER_SAT = 512_000
_GATEWAY_SAT = 1_024_000


class EmbeddedDev:
    """A user for each federation, with ecash that the federation has bitcoin for."""

    def __init__(self, served: ServedWorld, user_names: Sequence[str]) -> None:
        self._world = served.world
        self.lnd: LndServer = served.lnd
        self.examples = _examples(self._world.federations)
        self._users = {
            name: (self._world.new_user(_USER_SAT * 1000, federation), federation)
            for name, federation in zip(user_names, self._world.federations, strict=False)
        }

    @property
    def invite_codes(self) -> tuple[str, ...]:
        """Of every federation."""
        return tuple(federation.invite_code().to_text() for federation in self._world.federations)

    async def fund(self, gateway: OurGatewayd) -> None:
        """Give the gateway ecash of every federation, and let the guardians vouch for it."""
        client = GatewayClient(gateway.url)
        for federation in self._world.federations:
            federation.endow(_USER_SAT + _GATEWAY_SAT)
            federation.register_gateway(gateway.url)
            await client.give_ecash(federation.issue_ecash(_GATEWAY_SAT * 1000).to_text())
        self._world.chain.mine()

    def commands(self, gateway: OurGatewayd, tasks: TaskGroup) -> Mapping[str, Command]:
        """Of the users and of everybody else."""
        client = GatewayClient(gateway.url)
        users = {
            name: UserShell(user, federation.federation_id, client, tasks)
            for name, (user, federation) in self._users.items()
        }
        return {**EmbeddedShell(self._world).commands(), **users}

    def programs(self) -> Mapping[str, Sequence[str]]:
        """There are none."""
        return {}

    def logs(self) -> Sequence[Path]:
        """There is no program but the gateway."""
        return ()


def _examples(federations: Sequence[EmbeddedFederation]) -> tuple[str, ...]:
    """Ready to paste."""
    first = federations[0].federation_id.hex()
    return (
        "ann pay $(carol invoice 1000)",
        "carol pay $(ann receive 1000)",
        *(["ann pay $(ben receive 1000)    # a direct swap"] if len(federations) > 1 else []),
        f"coins 50000 $(gw address --federation-id {first}) && mine {BLOCK_COUNT_DELAY + 1}",
    )


@asynccontextmanager
async def embedded_dev(
    folder: Path, names: Sequence[str], user_names: Sequence[str], *, guardians: int
) -> AsyncIterator[EmbeddedDev]:
    """Federations of these names, each with a user."""
    async with served_world(folder / "lnd", names, guardians=guardians) as served:
        yield EmbeddedDev(served, user_names)
