"""gateway-cli as a program: what it prints, its exit codes, and what it asks of the gateway."""

import io
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
import bcrypt
import pytest
from structlog.testing import capture_logs

from api.auth import PasswordCheck
from api.http_server import serving
from api.testing.gateway import CannedGateway
from api.testing.http import canned_app
from cli.gateway_cli.program import main
from errors import BusyError, ConflictError, InputError, NotFoundError, UnavailableError

pytestmark = pytest.mark.anyio

PASSWORD = "theresnosecondbest"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
SNAPSHOTS = Path(__file__).parents[2] / "vectors" / "cli"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FM_RPC_PASSWORD", raising=False)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
async def address(gateway: CannedGateway) -> AsyncIterator[str]:
    app = canned_app(gateway, PasswordCheck(HASH))
    with capture_logs():
        async with serving(app, "127.0.0.1", 0) as (host, port):
            yield f"http://{host}:{port}"


Run = Callable[..., Any]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    async def run(*words: str) -> tuple[int, Any]:
        """The exit code, and stdout as JSON."""
        code = await anyio.to_thread.run_sync(main, words)
        captured = capsys.readouterr()
        assert captured.err == ""
        return code, json.loads(captured.out)

    return run


@pytest.mark.parametrize("flags", [("--rpcpassword", "-"), ("--rpcpassword=-",)])
async def test_the_password_may_come_from_stdin(
    run: Run, address: str, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
    code, answer = await run(*flags, "-a", address, "info")
    assert (code, answer["gateway_state"]) == (0, "Running")


async def test_info(run: Run, address: str) -> None:
    code, answer = await run("--rpcpassword", PASSWORD, "-a", address + "/v1", "info")
    assert code == 0
    assert answer["gateway_state"] == "Running"
    assert answer["open_payments"][0]["state"] == "in_flight"


async def test_flags_may_also_follow_the_command(run: Run, address: str) -> None:
    code, answer = await run("get-balances", f"--address={address}/", "--rpcpassword", PASSWORD)
    assert (code, answer["onchain_balance_sats"]) == (0, 985_005_882)


async def test_the_password_may_come_from_the_environment(
    run: Run, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FM_RPC_PASSWORD", PASSWORD)
    code, _ = await run("-a", address, "info")
    assert code == 0


async def test_balance_is_get_balances_under_its_older_name(run: Run, address: str) -> None:
    flags = ("-a", address, "--rpcpassword", PASSWORD)
    assert await run(*flags, "balance") == await run(*flags, "get-balances")
    assert await run(*flags, "balance", "--federation-id", "01" * 32) == (0, 199_999_607_296)
    code, answer = await run(*flags, "balance", "--federation-id", "02" * 32)
    assert (code, answer["code"]) == (5, "not_found")


@pytest.mark.parametrize(
    ("words", "recover"),
    [
        ((), False),
        (("--recover",), True),
        (("--recover", "true"), True),
        (("--recover=true",), True),
        (("--recover", "false"), False),
    ],
)
async def test_connect_fed(
    run: Run, address: str, gateway: CannedGateway, words: tuple[str, ...], recover: bool
) -> None:
    flags = ("-a", address, "--rpcpassword", PASSWORD)
    code, answer = await run(*flags, "connect-fed", "fed11abc", *words)
    assert (code, answer["config"]["_connector"]) == (0, "Tcp")
    assert gateway.joins == [("fed11abc", recover)]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--rpcpassword", "wrong"), "The gateway refused the password"),
        ((), "The gateway wants a password; give --rpcpassword or set FM_RPC_PASSWORD"),
    ],
)
async def test_without_the_password_the_exit_code_is_3(
    run: Run, address: str, words: tuple[str, ...], error: str
) -> None:
    assert await run("-a", address, *words, "info") == (
        3,
        {"error": error, "code": "auth_failed", "cause": "HTTP status 401"},
    )


@pytest.mark.parametrize(
    ("failure", "exit_code", "code"),
    [
        (InputError("This is no invite code"), 4, "invalid_input"),
        (NotFoundError("There is no such federation"), 5, "not_found"),
        (ConflictError("The federation is joined already"), 1, "invalid_state"),
        (BusyError("Try again later"), 6, "timeout"),
        (UnavailableError("No guardian answers"), 6, "timeout"),
        (RuntimeError("a bug"), 1, "internal"),
    ],
)
async def test_a_refusal_is_printed_with_its_code(  # noqa: PLR0917 - parametrized
    run: Run,
    address: str,
    gateway: CannedGateway,
    failure: Exception,
    exit_code: int,
    code: str,
) -> None:
    gateway.failure = failure
    answered, answer = await run("-a", address, "--rpcpassword", PASSWORD, "connect-fed", "fed1")
    assert (answered, answer["code"]) == (exit_code, code)
    if code != "internal":
        assert answer["error"] == str(failure)


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("info", "--nonsense"),
        ("info", "extra"),
        ("connect-fed",),
        ("--rpcpassword",),
        ("-a", "127.0.0.1:8175", "info"),
        ("-a", "iroh://abc", "info"),
        ("-a", "http://127.0.0.1:99999", "info"),
        ("-a", "http://127.0.0.1/gateway", "info"),
        ("-a", "http://[::1", "info"),
        ("-a", "http://admin:pw@127.0.0.1", "info"),
        ("--rpcpassword", "two\nlines", "info"),
    ],
)
async def test_what_cannot_be_asked_is_4(run: Run, words: tuple[str, ...]) -> None:
    code, answer = await run(*words)
    assert (code, answer["code"]) == (4, "invalid_input")
    assert "two" not in answer["error"]


async def test_nobody_there_is_2(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    code, answer = await run("-a", f"http://127.0.0.1:{port}", "info")
    assert code == 2
    assert answer["code"] == "connection_failed"
    assert "refused" in answer["cause"]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("--help",), "gateway-cli"),
        (("connect-fed", "--help"), "gateway-cli-connect-fed"),
        (("lightning", "--help"), "gateway-cli-lightning"),
        (("ecash", "pegout", "--help"), "gateway-cli-ecash-pegout"),
    ],
)
def test_help(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], name: str) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out == (SNAPSHOTS / f"{name}.txt").read_text()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    program, number = capsys.readouterr().out.removesuffix("\n").split(" ")
    assert program == "gateway-cli"
    assert all(part.isdigit() for part in number.split("."))


def test_starting_loads_nothing_that_is_not_needed() -> None:
    program = "import sys, cli.gateway_cli.program; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    unwanted = {"aiohttp", "api", "fedimint", "gateway", "http.client", "msgspec", "structlog"}
    assert "cyclopts" in loaded
    assert unwanted.isdisjoint(loaded)
