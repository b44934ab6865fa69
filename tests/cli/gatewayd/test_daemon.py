"""gatewayd as a process, against a fake LND: it answers, it stops, it refuses wrong starts."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import anyio
import anyio.to_thread
import bcrypt
import pytest
from lndgrpc.compiled import lightning_pb2

from cli.gatewayd import daemon
from cli.gatewayd.daemon import Drain, Ending
from errors import FatalError
from tests.backends.lnd.fake_lnd import MACAROON, FakeLnd, write_credentials
from tests.ended import ended
from tests.log_bytes import log_bytes

pytestmark = pytest.mark.anyio
PASSWORD = "the password of the operator"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
ROOT = Path(__file__).parents[3]
DEADLINE_S = 100.0


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """grpc.aio knows asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="module")
async def lnd(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[FakeLnd]:
    folder = tmp_path_factory.mktemp("lnd")
    write_credentials(folder)
    fake = FakeLnd(folder)
    fake.network = "regtest"
    fake.replies["ListInvoices"] = lightning_pb2.ListInvoiceResponse()
    fake.streams["SubscribeInvoices"] = silent
    await fake.start()
    yield fake
    await fake.stop()


async def silent(_request: object, _context: object) -> AsyncIterator[object]:
    await anyio.sleep_forever()
    yield None


def environment(lnd: FakeLnd, data: Path, **changes: str) -> dict[str, str]:
    ours = {name: v for name, v in os.environ.items() if not name.startswith("FM_")}
    return ours | {
        "FM_GATEWAY_DATA_DIR": str(data),
        "FM_GATEWAY_LISTEN_ADDR": "127.0.0.1:0",
        "FM_GATEWAY_BCRYPT_PASSWORD_HASH": HASH,
        "FM_GATEWAY_NETWORK": "regtest",
        "FM_GATEWAY_SKIP_SETUP": "true",
        "FM_LND_RPC_ADDR": f"https://localhost:{lnd.port}",
        "FM_LND_TLS_CERT": str(lnd.folder / "tls.cert"),
        "FM_LND_MACAROON": str(lnd.folder / "gateway.macaroon"),
        **changes,
    }


COMMAND = [sys.executable, "-m", "cli.gatewayd.program", "lnd"]


class Daemon:
    """A gatewayd that listens; `output` is everything it wrote so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        assert process.stderr is not None
        for line in process.stderr:
            self.lines.append(line)
            if "listening" in line:
                break
        else:
            raise AssertionError("".join(self.lines))
        port = line.partition("port")[2].strip("='\": ").split()[0]
        self.port = int("".join(c for c in port.partition(",")[0] if c.isdigit()))

    def get(self, path: str, password: str = PASSWORD) -> Any:
        request = Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {password}"}
        )
        with urlopen(request, timeout=DEADLINE_S) as response:  # noqa: S310 - same
            return json.loads(response.read())

    def post(self, path: str, body: object) -> Any:
        request = Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {PASSWORD}", "Content-Type": "application/json"},
        )
        with urlopen(request, timeout=DEADLINE_S) as response:  # noqa: S310 - same
            return json.loads(response.read())

    def children(self) -> set[int]:
        task = Path(f"/proc/{self.process.pid}/task")
        return {
            int(pid)
            for thread in task.iterdir()
            for pid in (thread / "children").read_text().split()
        }

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.end()

    def end(self) -> int:
        """Wait for the end and return the exit code."""
        assert self.process.stderr is not None
        self.lines += self.process.stderr.readlines()
        return self.process.wait(DEADLINE_S)


@contextmanager
def started(environ: dict[str, str]) -> Iterator[Daemon]:
    with subprocess.Popen(
        COMMAND, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Daemon(process)
        finally:
            process.kill()


def refused(environ: dict[str, str]) -> str:
    """One sentence on stderr and exit code 4, with nothing left running."""
    ended = subprocess.run(
        COMMAND,
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert ended.returncode == 4, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    said = [line for line in ended.stderr.splitlines() if line.startswith("gatewayd: ")]
    assert len(said) == 1, ended.stderr
    return said[0]


async def all_gone(pids: set[int]) -> None:
    for pid in pids:
        assert await anyio.to_thread.run_sync(ended, pid, DEADLINE_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_answers_and_stops_and_leaves_nothing(
    lnd: FakeLnd, tmp_path: Path, number: signal.Signals
) -> None:
    data = tmp_path / "data"

    def live() -> tuple[set[int], str]:
        with started(environment(lnd, data)) as daemon:
            info = daemon.get("/info")
            assert info["gateway_state"] == "Running"
            assert info["lightning_info"]["connected"]["network"] == "regtest"
            with pytest.raises(HTTPError, match="401"):
                daemon.get("/info", password="wrong")
            children = daemon.children()
            assert daemon.stop(number) == 0
            return children, "".join(daemon.lines)

    children, output = await anyio.to_thread.run_sync(live)
    await all_gone(children)
    assert "Traceback" not in output
    assert "stopped" in output
    words = (data / "mnemonic").read_text().split()
    assert len(words) == 12
    assert " ".join(words[:2]) not in output
    secrets = (PASSWORD, HASH, MACAROON.hex(), MACAROON.decode())
    assert not [secret for secret in secrets if secret in output]
    for name in data.iterdir():
        if name.name != "mnemonic":
            assert " ".join(words).encode() not in name.read_bytes()
    assert " ".join(words).encode() not in log_bytes(data)
    assert data.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in data.iterdir()} == {0}


async def test_without_a_mnemonic_it_waits_for_one_and_stops_when_told(
    lnd: FakeLnd, tmp_path: Path
) -> None:
    environ = environment(lnd, tmp_path / "data", FM_GATEWAY_SKIP_SETUP="0")
    words = "abandon " * 11 + "about"

    def live() -> str:
        with started(environ) as daemon:
            for path in ("/info", "/v1/info", "/id"):
                with pytest.raises(HTTPError, match="404") as refused:
                    daemon.get(path)
                assert b"gateway-cli cfg set-mnemonic" in refused.value.read()
            with pytest.raises(HTTPError, match="400"):
                daemon.post("/mnemonic", {"words": "abandon abandon"})
            assert daemon.post("/v1/mnemonic", {"words": words}) is None
            assert daemon.get("/info")["gateway_state"] == "Running"
            assert daemon.get("/mnemonic")["mnemonic"] == words.split()
            with pytest.raises(HTTPError, match="409"):
                daemon.post("/mnemonic", {})
            assert daemon.get("/v1/stop") is None
            assert daemon.end() == 0
            output = "".join(daemon.lines)
        with started(environ) as daemon:
            assert daemon.get("/mnemonic")["mnemonic"] == words.split()
            assert daemon.stop(signal.SIGTERM) == 0
        return output

    output = await anyio.to_thread.run_sync(live)
    assert (tmp_path / "data" / "mnemonic").read_text().split() == words.split()
    assert "abandon" not in output
    assert "Traceback" not in output


async def test_a_drain_goes_on_when_nobody_waits_for_it_any_more() -> None:
    began, may_end = anyio.Event(), anyio.Event()

    async def stop() -> None:
        began.set()
        await may_end.wait()

    drain = Drain(stop)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drain.run)
        async with anyio.create_task_group() as callers:
            callers.start_soon(drain.ask)
            await began.wait()
            callers.cancel_scope.cancel()
        may_end.set()
    await drain.ask()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_ends_in_order_and_the_second_at_once(
    number: signal.Signals,
) -> None:
    heard: list[str] = []

    async def first() -> None:
        heard.append("begins")
        begun.set()
        await may_go_on.wait()
        heard.append("ends")

    for is_signalled_again in (False, True):
        begun, may_go_on = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as tasks:
            ending = Ending(tasks.cancel_scope)
            ending.first = first
            tasks.start_soon(ending.on_signals)
            await anyio.wait_all_tasks_blocked()
            os.kill(os.getpid(), number)
            await begun.wait()
            if is_signalled_again:
                os.kill(os.getpid(), number)
            else:
                may_go_on.set()
            await anyio.sleep_forever()
    assert heard == ["begins", "ends", "begins"]


async def test_a_second_one_on_the_directory_is_refused(lnd: FakeLnd, tmp_path: Path) -> None:
    def live() -> str:
        environ = environment(lnd, tmp_path / "data")
        with started(environ) as daemon:
            said = refused(environ)
            assert daemon.get("/info")["gateway_state"] == "Running"
            return said

    said = await anyio.to_thread.run_sync(live)
    assert "another gatewayd is running on" in said


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"FM_GATEWAY_NETWORK": "signet"},
            "the Lightning node is on regtest, this gateway on signet",
        ),
        ({"FM_GATEWAY_MNEMONIC": "abandon abandon"}, "the mnemonic has 2 words"),
        ({"FM_GATEWAY_DATA_DIR": "/proc/gatewayd"}, "/proc/gatewayd cannot be used"),
        (
            {"FM_GATEWAY_NETWORK": "signet", "FM_GATEWAY_CRASH_AT": "after send.paid"},
            "FM_GATEWAY_CRASH_AT kills the gateway on purpose",
        ),
    ],
)
async def test_a_start_that_must_not_be(
    lnd: FakeLnd, tmp_path: Path, changes: dict[str, str], match: str
) -> None:
    environ = environment(lnd, tmp_path / "data", **changes)
    assert match in await anyio.to_thread.run_sync(refused, environ)


async def test_an_address_in_use_is_one_sentence(lnd: FakeLnd, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        environ = environment(lnd, tmp_path / "data", FM_GATEWAY_LISTEN_ADDR=address)
        assert "Cannot listen on" in await anyio.to_thread.run_sync(refused, environ)


async def test_a_reader_of_the_log_who_leaves_ends_nothing(lnd: FakeLnd, tmp_path: Path) -> None:
    """Also one who reads it through a pipe, such as a shipper of logs; the exit code is that of the end asked for."""

    def live() -> tuple[str, int]:
        with started(environment(lnd, tmp_path / "data")) as gatewayd:
            assert gatewayd.process.stderr is not None
            gatewayd.process.stderr.close()
            said = gatewayd.get("/info")["gateway_state"]
            gatewayd.process.send_signal(signal.SIGTERM)
            return said, gatewayd.process.wait(DEADLINE_S)

    assert await anyio.to_thread.run_sync(live) == ("Running", 0)


@pytest.mark.parametrize("error", [BrokenPipeError("gone"), ZeroDivisionError()])
def test_an_end_that_nobody_asked_for_is_never_taken_for_success(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def end(_settings: object) -> None:
        raise ExceptionGroup("tasks", [error])

    monkeypatch.setattr(daemon, "_serve", end)
    settings: Any = None
    with pytest.raises(FatalError, match="start again") as raised:
        daemon.run(settings)
    assert raised.value.exit_code == 70
