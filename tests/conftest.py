"""Settings of every test: async ones run on asyncio and on trio, and none is timed."""

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no defect.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Name of the event loop of this run; modules bound to one loop override it."""
    backend: str = request.param
    return backend
