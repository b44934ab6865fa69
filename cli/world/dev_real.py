"""The world of real programs of `gatewayd dev --real`: bitcoind, two LND nodes, guardians and fedimint-cli."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from anyio.abc import TaskGroup

from devnet.gateway_client import GatewayClient
from devnet.gatewayd import OurGatewayd
from devnet.real import peers
from devnet.real.fedimint_cli import ENVIRONMENT, FedimintCli
from devnet.real.fedimintd import RealFederation
from devnet.real.lnd_node import LndNode
from devnet.real.world import NEEDED_PEERS, RealWorld, real_world
from devnet.shell.server import Command
from errors import InputError, UnavailableError
from fedimint.codec.invite import InviteCode

_DEPOSIT_SAT = 5_000_000
_GATEWAY_MSAT = 1_024_000_000


class RealDev:
    """Alice is the gateway's node, Carol the one at the other end of a channel; one user for each federation."""

    def __init__(
        self, world: RealWorld, users: Mapping[str, tuple[FedimintCli, RealFederation]]
    ) -> None:
        self._world = world
        self._users = users
        self.lnd: LndNode = world.alice
        first = InviteCode.parse(world.federations[0].invite_code).federation_id().hex()
        self.examples: tuple[str, ...] = (
            "ann info",
            "ann module lnv2 send $(carol addinvoice 1000 | jq -r .payment_request)",
            "carol payinvoice --force $(ann module lnv2 receive 1000000 | jq -r '.[0]')",
            f"coins 50000 $(gw address --federation-id {first}) && mine 10",
        )

    @property
    def invite_codes(self) -> tuple[str, ...]:
        """Of every federation."""
        return tuple(federation.invite_code for federation in self._world.federations)

    async def fund(self, gateway: OurGatewayd) -> None:
        """Let every user deposit and give the gateway of it, and all guardians vet the gateway."""
        client = GatewayClient(gateway.url)
        for user, federation in self._users.values():
            await user.join(federation.invite_code)
            await user.peg_in(_DEPOSIT_SAT)
            await client.give_ecash(await user.send_ecash(_GATEWAY_MSAT))
            for guardian_id, guardian in enumerate(federation.guardians):
                await user.add_gateway(
                    gateway.url, guardian_id=guardian_id, guardian_password=guardian.password
                )

    def commands(self, gateway: OurGatewayd, tasks: TaskGroup) -> Mapping[str, Command]:
        """What bitcoind does for anybody."""
        del gateway, tasks
        return {"mine": self._mine, "coins": self._coins}

    def programs(self) -> Mapping[str, Sequence[str]]:
        """The command lines of nodes and users."""
        variables = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        return {
            "alice": self._world.alice.command,
            "carol": self._world.bob.command,
            **{name: ["env", *variables, *user.command] for name, (user, _) in self._users.items()},
        }

    def logs(self) -> Sequence[Path]:
        """Of chain, nodes and guardians."""
        world = self._world
        programs = [world.bitcoind.program, world.alice.program, world.bob.program]
        for federation in world.federations:
            programs += [guardian.program for guardian in federation.guardians]
        return [program.log_path for program in programs]

    async def _mine(self, words: Sequence[str]) -> str:
        match words:
            case []:
                await self._world.mine(1)
            case [blocks] if blocks.isdecimal():
                await self._world.mine(int(blocks))
            case _:
                raise InputError("mine takes a number of blocks")
        return f"height {await self._world.bitcoind.block_height()}"

    async def _coins(self, words: Sequence[str]) -> str:
        match words:
            case [sats, address] if sats.isdecimal():
                return await self._world.bitcoind.send(address.strip('"'), int(sats))
            case _:
                raise InputError("coins takes a number of sats and an address")


@asynccontextmanager
async def real_dev(
    folder: Path, names: Sequence[str], user_names: Sequence[str], *, guardians: int
) -> AsyncIterator[RealDev]:
    """Federations of these names, each with a user. Raises UnavailableError when a program is not installed."""
    if lacking := peers.missing(NEEDED_PEERS):
        raise UnavailableError(
            f"not installed: {', '.join(lacking)}; `python -m devnet.real.peers` installs them"
        )
    async with real_world(folder) as world:
        users = {
            user: (world.new_user(), await world.start_federation(name, guardians=guardians))
            for user, name in zip(user_names, names, strict=False)
        }
        yield RealDev(world, users)
