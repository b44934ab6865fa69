"""A chain, an LND and the node inside, with a channel between the two that has money on both sides."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from backends.ldk.node import LdkNode, running
from backends.ldk.settings import BitcoindSource, LdkSettings
from devnet.processes import free_port, until
from devnet.real import peers
from devnet.real.bitcoind import Bitcoind
from devnet.real.lnd_node import LndNode

NEEDED_PEERS = ("bitcoind", "lnd", "lncli")
WORDS = "abandon " * 11 + "about"
DEADLINE_S = 60

_COINS_SAT = 10_000_000
_CHANNEL_SAT = 4_000_000
_CONFIRMATIONS = 6


class LdkRunner:
    """One folder of the node inside, opened and closed at will. Each life is a task of its own."""

    def __init__(self, folder: Path, bitcoind: Bitcoind, *, words: str = WORDS) -> None:
        host, _, port = bitcoind.rpc_address.partition(":")
        # Below the ports that the kernel gives to callers: a peer that calls again must not get it.
        self.peer_port: int = 20_000 + free_port() % 10_000
        self.settings = LdkSettings(
            directory=folder,
            words=words,
            network="regtest",
            port=self.peer_port,
            alias="inside",
            recovers=False,
            chain=BitcoindSource(host, int(port), bitcoind.user, bitcoind.password),
        )
        self.logs: list[str] = []
        self._life: asyncio.Task[None] | None = None
        self._leave = asyncio.Event()
        self._node: LdkNode | None = None

    @property
    def node(self) -> LdkNode:
        """The node of this life."""
        assert self._node is not None
        return self._node

    async def start(self) -> None:
        """Begin a life, and return once the node follows the chain."""
        started: asyncio.Future[LdkNode] = asyncio.get_running_loop().create_future()
        self._leave = asyncio.Event()
        self._life = asyncio.create_task(self._live(started))
        self._life.add_done_callback(lambda life: _fail(started, life))
        self._node = await started
        await until("LDK follows the chain", self.is_synced, deadline_s=DEADLINE_S)

    async def stop(self) -> None:
        """End the life in order."""
        if self._life is not None:
            self._leave.set()
            life, self._life = self._life, None
            if not life.done() or life.exception() is None:
                await life

    async def restart(self) -> None:
        """A new life, in which the channels are back."""
        await self.stop()
        await self.start()
        await until("the channels are back", self.is_usable, deadline_s=DEADLINE_S)

    async def is_synced(self) -> bool:
        return (await self.node.info()).synced_to_chain

    async def is_usable(self) -> bool:
        channels = await self.node.channels()
        return bool(channels) and all(channel.is_active for channel in channels)

    async def pubkey(self) -> str:
        """As `devnet.real.lnd_node.LndNode`."""
        return (await self.node.info()).public_key

    async def _live(self, started: asyncio.Future[LdkNode]) -> None:
        async with running(self.settings, self._log) as node:
            started.set_result(node)
            await self._leave.wait()

    def _log(self, is_error: bool, module: str, text: str) -> None:
        self.logs.append(f"{'error' if is_error else 'warning'} {module} {text}")


class LdkWorld:
    """Bob is an LND; his channel with the node inside has half of its money on each side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bitcoind = Bitcoind(_program("bitcoind"), folder / "bitcoind")
        self.bob = self.lnd("bob")
        self.inside = LdkRunner(folder / "inside", self.bitcoind)

    def lnd(self, alias: str) -> LndNode:
        """An LND that is not started yet."""
        return LndNode(
            alias,
            lnd_path=_program("lnd"),
            lncli_path=_program("lncli"),
            bitcoind=self.bitcoind,
            folder=self.folder / alias,
        )

    async def mine(self, blocks: int) -> None:
        """Find blocks, and wait until the node inside has seen them."""
        await self.bitcoind.mine(blocks)
        height = await self.bitcoind.block_height()

        async def has_seen() -> bool:
            return (await self.inside.node.info()).block_height >= height

        await until("LDK sees the block", has_seen, deadline_s=DEADLINE_S)

    async def open_channel(self) -> None:
        """Coins for both, without which LDK takes no channel, and a channel of bob's."""
        await self.bitcoind.send(await self.bob.new_address(), 10 * _COINS_SAT)
        await self.bitcoind.send(await self.inside.node.onchain_address(), _COINS_SAT)
        await self.mine(_CONFIRMATIONS)

        async def has_coins() -> bool:
            return (await self.inside.node.balances()).onchain_sat >= _COINS_SAT

        await until("LDK has coins", has_coins, deadline_s=DEADLINE_S)
        await until("bob follows", self.bob.is_synced, deadline_s=DEADLINE_S)
        await until("bob has coins", self.bob.confirmed_balance_sat, deadline_s=DEADLINE_S)
        await self.bob.open_channel(
            self.inside, capacity_sat=_CHANNEL_SAT, push_sat=_CHANNEL_SAT // 2
        )
        await self.mine(_CONFIRMATIONS)
        # Of a peer that called LDK remembers no address; so it calls bob itself after every restart.
        await self.inside.node.connect_peer(
            await self.bob.pubkey(), f"127.0.0.1:{self.bob.peer_port}"
        )
        await until("the channel is usable", self.inside.is_usable, deadline_s=DEADLINE_S)

        async def bob_can() -> bool:
            return await self.bob.can_reach(await self.inside.pubkey())

        await until("bob finds a route", bob_can, deadline_s=DEADLINE_S)

    async def stop(self) -> None:
        """End everything, the chain last."""
        await self.inside.stop()
        await self.bob.program.stop()
        await self.bitcoind.program.stop()


@asynccontextmanager
async def ldk_world(folder: Path) -> AsyncIterator[LdkWorld]:
    """Start all of it with data and logs under the folder, and end it after."""
    world = LdkWorld(folder)
    try:
        await world.bitcoind.start()
        await world.bob.start()
        await world.inside.start()
        await world.open_channel()
        yield world
    finally:
        await world.stop()


def _fail(started: asyncio.Future[LdkNode], life: asyncio.Task[None]) -> None:
    """A life that never began tells why to whoever waits for it."""
    if not started.done() and not life.cancelled() and (error := life.exception()) is not None:
        started.set_exception(error)


def _program(name: str) -> Path:
    path = peers.find(name)
    assert path is not None, name
    return path
