"""The whole world of real peers on one machine: chain, two Lightning nodes, federations, users."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from devnet.processes import until
from devnet.real import peers
from devnet.real.bitcoind import Bitcoind
from devnet.real.fedimint_cli import FedimintCli
from devnet.real.fedimintd import RealFederation
from devnet.real.lnd_node import LndNode
from errors import UnavailableError

NEEDED_PEERS = ("bitcoind", "lnd", "lncli", "fedimintd", "fedimint-cli")

_CHANNEL_SAT = 10_000_000
_FUNDING_SAT = 100_000_000
_CONFIRMATIONS = 6
_CHANNEL_DEADLINE_S = 60


class RealWorld:
    """Alice is the gateway's node, bob anybody else; their channel has money on both sides."""

    def __init__(self, folder: Path, bitcoind: Bitcoind, alice: LndNode, bob: LndNode) -> None:
        self.folder = folder
        self.bitcoind = bitcoind
        self.alice = alice
        self.bob = bob
        self.federations: list[RealFederation] = []
        self._users = 0

    async def mine(self, blocks: int) -> None:
        await self.bitcoind.mine(blocks)

    async def start_federation(
        self, name: str, *, guardians: int, modules: Sequence[str] | None = None
    ) -> RealFederation:
        """Sets up a federation of one, or four or more, and waits until it runs.

        `modules` are the kinds to enable; None takes the guardians' defaults (all of version 2).
        """
        federation = RealFederation(
            name,
            guardians,
            program_path=_program("fedimintd"),
            bitcoind=self.bitcoind,
            folder=self.folder / name,
        )
        self.federations.append(federation)
        await federation.start(modules)
        return federation

    def new_user(self) -> FedimintCli:
        """A client with a data folder of its own that has joined nothing yet."""
        self._users += 1
        return FedimintCli(
            _program("fedimint-cli"), self.folder / f"user-{self._users}", self.bitcoind
        )

    async def open_channel(self) -> None:
        """Funds alice and gives her an active channel to bob, half of it on each side."""
        await self.bitcoind.send(await self.alice.new_address(), _FUNDING_SAT)
        await self.mine(_CONFIRMATIONS)
        await until(
            "alice sees her coins", self.alice.confirmed_balance_sat, deadline_s=_CHANNEL_DEADLINE_S
        )
        await until("alice follows", self.alice.is_synced, deadline_s=_CHANNEL_DEADLINE_S)
        await until("bob follows", self.bob.is_synced, deadline_s=_CHANNEL_DEADLINE_S)
        await self.alice.open_channel(
            self.bob, capacity_sat=_CHANNEL_SAT, push_sat=_CHANNEL_SAT // 2
        )
        await self.mine(_CONFIRMATIONS)
        for node, other in ((self.alice, self.bob), (self.bob, self.alice)):
            pubkey = await other.pubkey()
            await until(
                f"{node.alias} finds a route to {other.alias}",
                partial(node.can_reach, pubkey),
                deadline_s=_CHANNEL_DEADLINE_S,
                programs=[node.program],
            )

    async def stop(self) -> None:
        """Ends everything, the chain last."""
        for federation in self.federations:
            await federation.stop()
        for node in (self.alice, self.bob):
            await node.program.stop()
        await self.bitcoind.program.stop()


@asynccontextmanager
async def real_world(folder: Path) -> AsyncIterator[RealWorld]:
    """Starts chain and Lightning nodes with data and logs under the folder; ends all of it after.

    Raises UnavailableError when a peer is not installed. asyncio only, as the guardians' transport.
    """
    bitcoind = Bitcoind(_program("bitcoind"), folder / "bitcoind")
    alice, bob = (
        LndNode(
            alias,
            lnd_path=_program("lnd"),
            lncli_path=_program("lncli"),
            bitcoind=bitcoind,
            folder=folder / alias,
        )
        for alias in ("alice", "bob")
    )
    world = RealWorld(folder, bitcoind, alice, bob)
    try:
        await bitcoind.start()
        await alice.start()
        await bob.start()
        await world.open_channel()
        yield world
    finally:
        await world.stop()


def _program(name: str) -> Path:
    path = peers.find(name)
    if path is None:
        raise UnavailableError(f"{name} is not installed; `nox -s peers` installs it")
    return path
