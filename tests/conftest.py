"""Fixtures of every test: async tests run on asyncio and on trio."""

import pytest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Name of the event loop of this run; modules bound to one loop override it."""
    backend: str = request.param
    return backend
