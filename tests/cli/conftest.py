"""gateway-cli against a canned gateway, over real HTTP."""

from collections.abc import AsyncIterator, Awaitable, Callable

import anyio.to_thread
import bcrypt
import pytest
from structlog.testing import capture_logs

from api.auth import PasswordCheck
from api.http_server import serving
from api.testing.gateway import CannedGateway
from api.testing.http import canned_app
from cli.gateway_cli.program import main

PASSWORD = "theresnosecondbest"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture
def gateway() -> CannedGateway:
    return CannedGateway()


@pytest.fixture
async def run(
    gateway: CannedGateway,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Callable[..., Awaitable[tuple[int, str]]]]:
    monkeypatch.setenv("FM_RPC_PASSWORD", PASSWORD)
    with capture_logs():
        async with serving(canned_app(gateway, PasswordCheck(HASH)), "127.0.0.1", 0) as (
            host,
            port,
        ):

            async def run(*words: str) -> tuple[int, str]:
                """The exit code and stdout."""
                given = ["-a", f"http://{host}:{port}", *words]
                code = await anyio.to_thread.run_sync(main, given)
                captured = capsys.readouterr()
                assert captured.err == ""
                return code, captured.out

            yield run
