"""The guide of 2024, played with the real bitcoind, LND and fedimintd."""

from pathlib import Path

import pytest

from devnet.gatewayd import OurGatewayd
from devnet.real.fedimintd import RealFederation
from devnet.real.world import RealWorld
from tests.interop.real_stage import RealBitcoin
from tests.scenarios.guide import Guide

pytestmark = pytest.mark.anyio


async def test_the_guide_from_top_to_bottom(
    world: RealWorld, solo_federation: RealFederation, tmp_path: Path
) -> None:
    """With a gateway of its own on bob's node, since alice's serves the other tests."""
    gateway = OurGatewayd(tmp_path, world.bob)
    await gateway.start()
    try:
        await Guide(gateway, solo_federation.invite_code, RealBitcoin(world.bitcoind)).play()
    finally:
        await gateway.program.stop()
