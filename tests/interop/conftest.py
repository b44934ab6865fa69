"""One world of real peers for the whole run, started when the first test asks for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from devnet.gatewayd import OurGatewayd
from devnet.real.fedimintd import RealFederation
from devnet.real.world import NEEDED_PEERS, RealWorld, real_world
from tests.interop.needed import need
from tests.interop.parties import Customers, Served, customers_of, serve

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
    need(*NEEDED_PEERS)
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


@pytest.fixture(scope="session")
async def solo_customers(
    world: RealWorld, solo_federation: RealFederation
) -> AsyncIterator[Customers]:
    """Users of the federation of one."""
    async with customers_of(world, solo_federation) as customers:
        yield customers


@pytest.fixture(scope="session")
async def second_customers(world: RealWorld) -> AsyncIterator[Customers]:
    """Users of another federation of one."""
    federation = await world.start_federation("second", guardians=1)
    async with customers_of(world, federation) as customers:
        yield customers


@pytest.fixture(scope="session")
async def quad_customers(
    world: RealWorld, quad_federation: RealFederation
) -> AsyncIterator[Customers]:
    """Users of the federation of four."""
    async with customers_of(world, quad_federation) as customers:
        yield customers


@pytest.fixture(scope="session")
async def gateway(
    world: RealWorld, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[OurGatewayd]:
    """Our gateway on alice's node, for all tests that leave it running."""
    started = OurGatewayd(tmp_path_factory.mktemp("gateway"), world.alice)
    try:
        await started.start()
        yield started
    finally:
        await started.program.stop()


@pytest.fixture(scope="session")
async def solo(gateway: OurGatewayd, solo_customers: Customers) -> AsyncIterator[Served]:
    """The gateway serves the federation of one, vetted by its guardian."""
    async with _vetted(gateway, solo_customers) as served:
        yield served


@pytest.fixture(scope="session")
async def quad(gateway: OurGatewayd, quad_customers: Customers) -> AsyncIterator[Served]:
    """The gateway serves the federation of four, vetted by one guardian."""
    async with _vetted(gateway, quad_customers) as served:
        yield served


@asynccontextmanager
async def _vetted(gateway: OurGatewayd, customers: Customers) -> AsyncIterator[Served]:
    """Vetted by every guardian: a client asks a threshold of them, which may leave out the only one that vetted."""
    served = await serve(gateway, customers.joined, customers.federation.invite_code)
    for guardian_id, guardian in enumerate(customers.federation.guardians):
        await customers.cli.add_gateway(
            gateway.url, guardian_id=guardian_id, guardian_password=guardian.password
        )
    yield served
    for guardian_id, guardian in enumerate(customers.federation.guardians):
        await customers.cli.remove_gateway(
            gateway.url, guardian_id=guardian_id, guardian_password=guardian.password
        )
