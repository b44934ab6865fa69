"""The guide of 2024, played on the embedded world with both installed programs."""

from pathlib import Path

import pytest

from devnet.gatewayd import OurGatewayd
from devnet.served_world import served_world
from tests.scenarios.guide import Guide
from tests.scenarios.simulated import SimulatedBitcoin

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> str:
    """The transports of guardians are bound to it."""
    return "asyncio"


@pytest.mark.timeout(400)
async def test_the_guide_from_top_to_bottom(tmp_path: Path) -> None:
    async with served_world(tmp_path / "lnd", ("Alpha",)) as served:
        gateway = OurGatewayd(tmp_path / "gateway", served.lnd)
        await gateway.start()
        try:
            invite_code = served.world.federation.invite_code().to_text()
            await Guide(gateway, invite_code, SimulatedBitcoin(served.world.chain)).play()
        finally:
            await gateway.program.stop()
