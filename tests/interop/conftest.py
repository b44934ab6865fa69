"""One world of real peers for the whole run, started when the first test asks for it."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devnet import peers
from devnet.fedimintd import RealFederation
from devnet.real_world import NEEDED_PEERS, RealWorld, real_world

_FOLDER = Path(__file__).parent
# Programs, blocks and guardians' sessions take their time.
_TIMEOUT_S = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_FOLDER):
            item.add_marker(pytest.mark.interop)
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """asyncio alone: the guardians' transport is bound to it."""
    return "asyncio"


@pytest.fixture(scope="session")
async def world(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RealWorld]:
    """Chain and Lightning nodes, without federations yet."""
    lacking = peers.missing(NEEDED_PEERS)
    if lacking:
        sentence = f"not installed: {', '.join(lacking)}; `nox -s peers` installs them"
        if os.environ.get("FEDIMINT_GATEWAY_REQUIRE_PEERS") == "1":
            pytest.fail(sentence)
        pytest.skip(sentence)
    async with real_world(tmp_path_factory.mktemp("world")) as started:
        yield started


@pytest.fixture(scope="session")
async def solo_federation(world: RealWorld) -> RealFederation:
    """A federation of one guardian with the default modules."""
    return await world.start_federation("solo", guardians=1)


@pytest.fixture(scope="session")
async def quad_federation(world: RealWorld) -> RealFederation:
    """A federation of four guardians with the default modules; leave all four running."""
    return await world.start_federation("quad", guardians=4)
