"""`gatewayd dev --real`: its users and nodes are the real programs, and its shell reaches all of them."""

import pytest

from devnet.real.world import NEEDED_PEERS
from tests.cli.world.dev_environment import dev_environment
from tests.interop.needed import need

pytestmark = pytest.mark.anyio


async def test_real_users_pay_and_are_paid() -> None:
    need(*NEEDED_PEERS)
    async with dev_environment("--real", "--federations=1") as dev:
        request = "carol addinvoice 1000 | grep -o 'lnbcrt[0-9a-z]*'"
        await dev.run(
            f"ann module lnv2 await-send $(ann module lnv2 send $({request}) | tr -d '\"')"
        )
        request = "ann module lnv2 receive 2000000 | grep -o 'lnbcrt[0-9a-z]*'"
        assert "SUCCEEDED" in await dev.run(f"carol payinvoice --force $({request})")
        assert (await dev.run("mine")).startswith("height ")
        assert "send.claimed" in dev.log()
        assert "receive.succeeded" in dev.log()
