"""The stage of the real process: gatewayd as a program, its embedded world in this one, sockets between them."""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread

from devnet.embedded_world import CHANNEL_SIDE_MSAT
from devnet.gatewayd import PASSWORD, OurGatewayd
from devnet.served_world import ServedWorld, served_world
from engine.chain import Row, verified
from engine.storage.reader import open_log
from errors import UnavailableError
from fuzz.simulation.simulated_gateway import Answer
from tests.scenarios import backups
from tests.scenarios.simulated import SimulatedBitcoin, SimulatedFederation, SimulatedOtherNode
from tests.scenarios.stage import Witness

NAMES = ("Alpha", "Beta")
#: More than anybody withdraws.
_ENDOWMENT_SAT = 10_000_000
_CALL_DEADLINE_S = 120

# Whatever proxy the environment names, these calls stay on this machine.
_open_directly = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class ProcessGateway:
    """A `Host`."""

    def __init__(self, program: OurGatewayd) -> None:
        self.program = program

    async def start(self, *, crash_at: str | None = None, node_is_down: bool = False) -> None:
        assert not node_is_down, "the embedded node is always there"
        await self.program.start(crash_at=crash_at)

    async def kill(self) -> None:
        self.program.program.kill()

    async def died(self) -> None:
        await self.program.died()

    async def start_over(self) -> None:
        raise NotImplementedError("nothing of this stage loses its directory")

    async def back_up(self) -> None:
        backups.back_up(self.program)

    async def restore(self) -> None:
        await backups.restore(self.program)

    async def call(self, method: str, path: str, body: bytes | None = None) -> Answer:
        headers = {"Authorization": f"Bearer {PASSWORD}", "Content-Type": "application/json"}
        request = urllib.request.Request(  # noqa: S310 - the URL is our own
            self.program.url.rstrip("/") + path, data=body, headers=headers, method=method
        )
        return await anyio.to_thread.run_sync(_call, request, abandon_on_cancel=True)

    def rows(self) -> Sequence[Row]:
        with open_log(self.program.data_dir) as log:
            return list(verified(log.rows()))


class Hurried:
    """A `Host` for callers who begin the next thing before the gateway is done with everybody's last one."""

    def __init__(self, gateway: ProcessGateway) -> None:
        self._gateway = gateway
        self.start, self.kill, self.died = gateway.start, gateway.kill, gateway.died
        self.start_over, self.rows = gateway.start_over, gateway.rows
        self.back_up, self.restore = gateway.back_up, gateway.restore

    async def call(self, method: str, path: str, body: bytes | None = None) -> Answer:
        if path == "/info":
            return Answer(200, b'{"open_payments":[]}')
        return await self._gateway.call(method, path, body)


class Unhurried(SimulatedBitcoin):
    """A `Chain` for callers who wait for blocks as everybody does, and mine none."""

    async def mine(self, blocks: int) -> None:
        """Somebody else does."""


class ProcessStage:
    """A `Stage`."""

    def __init__(self, served: ServedWorld, folder: Path) -> None:
        self.world = served.world
        self.lnd = served.lnd
        for federation in self.world.federations:
            federation.endow(_ENDOWMENT_SAT)
        self.process = ProcessGateway(OurGatewayd(folder, served.lnd))
        self.gateway: ProcessGateway | Hurried = self.process
        self.other_node = SimulatedOtherNode(self.world.payee)
        self.chain: SimulatedBitcoin = SimulatedBitcoin(self.world.chain)
        self.federations = [SimulatedFederation(self.world, one) for one in self.world.federations]
        self.witness = Witness()

    def now_unix_s(self) -> int:
        return int(time.time())

    async def stop_node(self) -> None:
        self.world.gateway_node.is_down = True

    async def start_node(self) -> None:
        self.world.gateway_node.is_down = False

    async def node_gain_msat(self) -> int:
        self.world.network.audit()
        assert self.world.network.locked_msat() == 0
        return self.world.network.holdings_msat("gateway") - CHANNEL_SIDE_MSAT


@asynccontextmanager
async def process_stage(folder: Path) -> AsyncIterator[ProcessStage]:
    """A stage whose gateway is down; whatever of it runs at the end is killed."""
    async with served_world(folder / "lnd", NAMES) as served:
        stage = ProcessStage(served, folder / "gateway")
        try:
            yield stage
        finally:
            await stage.process.kill()


def _call(request: urllib.request.Request) -> Answer:
    try:
        with _open_directly(request, timeout=_CALL_DEADLINE_S) as response:
            return Answer(response.status, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read())
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"{request.full_url}: {error}") from error
