"""`gatewayd dev`, embedded: everybody in it pays and is paid through its shell."""

import pytest

from tests.cli.world.dev_environment import dev_environment

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> str:
    """The environment is a program of its own: one loop to wait on will do."""
    return "asyncio"


@pytest.mark.timeout(300)
async def test_everybody_pays_everybody() -> None:
    async with dev_environment() as dev:
        assert await dev.run("ann balance") == "512000000 msat"
        assert (await dev.run("ann pay $(carol invoice 1000)")).startswith("paid, preimage ")
        await dev.run("gateway kill; gateway start")
        assert "runs already" in await dev.run("gateway start 2>&1 || true")
        assert (await dev.run("carol pay $(ann receive 2000)")).startswith("paid, preimage ")
        assert (await dev.run("ann pay $(ben receive 3000)")).startswith("paid, preimage ")
        assert (await dev.run("mine 2")).startswith("height ")
        assert await dev.run('gw info | grep -c \'"federation_name": "[AB]\'') == "2"
        assert await dev.run("ann fly 2>&1 || true") == (
            "a user can: balance | pay INVOICE | receive SATS"
        )
        assert "send.claimed" in dev.log()
        assert (dev.folder / "gateway" / "gatewayd.log").stat().st_size > 0
