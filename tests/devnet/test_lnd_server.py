"""The simulated LND: our LND backend over it does everything that a backend must do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.lowlevel
import pytest

from backends import conformance
from backends.lightning import NodeRefusedError, NodeUnansweredError
from backends.lnd import LndNode
from backends.lnd_connection import LndSettings
from devnet.lnd_server import LndServer, serving_lnd
from fedimint.bolt11 import Bolt11Invoice
from tests.backends.test_simulated import SimulatedWorld

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """grpc.aio knows asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keep one loop for the module: gRPC hands late events of one loop to the next, which fails."""
    yield
    await anyio.lowlevel.checkpoint()


class ServedWorld:
    """The simulated world, with alice reached over gRPC."""

    def __init__(self, simulated: SimulatedWorld, server: LndServer) -> None:
        self.simulated = simulated
        self.server = server
        self.node = node_of(server)

    async def invoice(self, *, is_held: bool = False) -> Bolt11Invoice:
        return await self.simulated.invoice(is_held=is_held)

    async def expired_invoice(self) -> Bolt11Invoice:
        return await self.simulated.expired_invoice()

    async def own_invoice(self) -> Bolt11Invoice:
        return await self.simulated.own_invoice()

    async def lonely_invoice(self) -> Bolt11Invoice:
        return await self.simulated.lonely_invoice()

    async def far_invoice(self) -> Bolt11Invoice:
        return await self.simulated.far_invoice()

    async def accepted(self, payment_hash: bytes) -> None:
        await self.simulated.accepted(payment_hash)

    async def settle(self, payment_hash: bytes) -> None:
        await self.simulated.settle(payment_hash)

    async def cancel(self, payment_hash: bytes) -> None:
        await self.simulated.cancel(payment_hash)

    async def reconnect(self) -> None:
        await self.server.stop()
        await self.server.start()


def node_of(server: LndServer) -> LndNode:
    return LndNode(LndSettings(server.rpc_address, server.tls_cert_path, server.macaroon_path))


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[ServedWorld]:
    simulated = SimulatedWorld()
    async with serving_lnd(simulated.node, folder) as server:
        world = ServedWorld(simulated, server)
        try:
            yield world
        finally:
            await world.node.aclose()


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
async def test_conformance(tmp_path: Path, check: conformance.Check) -> None:
    async with served(tmp_path) as world:
        await check(world)
        world.simulated.network.audit()


async def test_another_macaroon_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        world.server.macaroon_path.write_bytes(b"another")
        with pytest.raises(NodeRefusedError, match="macaroon"):
            await world.node.info()


async def test_a_node_that_is_down_is_unanswered(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        world.simulated.node.is_down = True
        with pytest.raises(NodeUnansweredError):
            await world.node.info()
