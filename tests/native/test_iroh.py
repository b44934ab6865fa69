"""The iroh transport over real connections on this machine, to a guardian that is served by the native part itself."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.gatewayd.guardians import Reach
from cli.gatewayd.reach_settings import ReachSettings
from errors import ConfigError
from fedimint.client import iroh as transport
from fedimint.client.iroh import API_PROTOCOL, IrohConnection
from fedimint.client.transport import (
    GuardianProtocolError,
    GuardianRefused,
    GuardianUnreachable,
    module_method,
)

if TYPE_CHECKING:
    from fedimint_gateway_native.iroh import Iroh, Request, Server

if "FEDIMINT_GATEWAY_REQUIRE_NATIVE" not in os.environ:
    pytest.importorskip(
        "fedimint_gateway_native.iroh",
        reason="the native part is not built here (`nox -s native`, `uv sync --extra native`)",
    )

pytestmark = pytest.mark.anyio

Serve = Callable[["Request"], Awaitable[None]]


@pytest.fixture
def anyio_backend() -> str:
    """The native part's iroh is for asyncio."""
    return "asyncio"


@pytest.fixture
async def iroh() -> AsyncIterator["Iroh"]:
    """For servers."""
    from fedimint_gateway_native.iroh import Iroh  # noqa: PLC0415 - may be missing

    opened = Iroh()
    yield opened
    opened.close()


class Guardian:
    """A node that serves each request by `serve`, with one key whatever its address."""

    def __init__(self, iroh: "Iroh", serve: Serve, protocol: bytes = API_PROTOCOL) -> None:
        self._iroh = iroh
        self.serve = serve
        self._protocol = protocol
        self._secret = os.urandom(32)
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = "127.0.0.1:0"
        self.node_id = ""
        self._server: Server | None = None

    async def start(self) -> None:
        self._server = await self._iroh.serve(
            self._on_request, secret=self._secret, listen=self.address, protocol=self._protocol
        )
        self.address, self.node_id = self._server.address, self._server.node_id

    async def start_again(self) -> None:
        """At the same address, which the one before may hold for another moment."""
        from fedimint_gateway_native.iroh import LostError  # noqa: PLC0415 - may be missing

        while True:
            try:
                return await self.start()
            except LostError:
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._server is not None:
            await self._server.aclose()

    def _on_request(self, request: "Request") -> None:
        task = asyncio.ensure_future(self.serve(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def connected(
    iroh: "Iroh", serve: Serve, protocol: bytes = API_PROTOCOL
) -> AsyncIterator[tuple[IrohConnection, Guardian]]:
    """A connection as gatewayd makes it, to a guardian that is served."""
    from cli.gatewayd.iroh_nodes import iroh_nodes  # noqa: PLC0415 - needs the native part

    guardian = Guardian(iroh, serve, protocol)
    await guardian.start()
    addresses = {guardian.node_id: guardian.address}
    reach = ReachSettings(resolves_pkarr=False, uses_n0=False, addresses=addresses)
    async with iroh_nodes(reach) as nodes:
        connection = Reach(reach, nodes).connect(f"iroh://{guardian.node_id}", None)
        assert isinstance(connection, IrohConnection)
        try:
            yield connection, guardian
        finally:
            await connection.aclose()
            await guardian.stop()


def asked(request: "Request") -> object:
    return json.loads(request.body())["request"]["params"]


def ok(result: object) -> bytes:
    return json.dumps({"Ok": result}).encode()


def threads_of_process() -> int:
    """Also those that Python does not know."""
    return len(list(Path("/proc/self/task").iterdir()))


async def echo(request: "Request") -> None:
    request.answer(b'{"Ok":' + request.body() + b"}")


async def test_a_request_carries_method_auth_and_params(iroh: "Iroh") -> None:
    async with connected(iroh, echo) as (connection, _):
        assert await connection.request(module_method(2, "shares"), {"a": [1]}, auth="secret") == {
            "method": {"Module": [2, "shares"]},
            "request": {"auth": "secret", "params": {"a": [1]}},
        }


async def test_answers_may_cross(iroh: "Iroh") -> None:
    held: list[Request] = []

    async def reversed_order(request: "Request") -> None:
        held.append(request)
        if len(held) == 20:
            for one in reversed(held):
                one.answer(ok(asked(one)))

    async with connected(iroh, reversed_order) as (connection, _):
        results = await asyncio.gather(*(connection.request("echo", n) for n in range(20)))
        assert results == list(range(20))


async def test_long_polls_need_no_threads_and_leave_room_for_short_calls(iroh: "Iroh") -> None:
    arrived: list[Request] = []
    all_there = asyncio.Event()

    async def serve(request: "Request") -> None:
        if asked(request) == "short":
            request.answer(ok("done"))
            return
        arrived.append(request)
        if len(arrived) == 120:
            all_there.set()

    async with connected(iroh, serve) as (connection, _):
        assert await connection.request("status", "short") == "done"
        threads = threads_of_process()
        polls = [asyncio.create_task(connection.request("await_x", n)) for n in range(120)]
        await all_there.wait()
        assert await connection.request("status", "short") == "done"
        assert threads_of_process() == threads
        for request in arrived:
            request.answer(ok(asked(request)))
        assert await asyncio.gather(*polls) == list(range(120))


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "with nothing"),
        (b"no json", "with nothing of the guardian API"),
        (b'{"Ok":"' + b"x" * 70_000 + b'"}', "with more than"),
    ],
    ids=["empty", "garbage", "too long"],
)
async def test_a_wrong_answer_is_told_and_the_next_is_taken(
    answer: bytes, problem: str, iroh: "Iroh"
) -> None:
    async def hostile_once(request: "Request") -> None:
        request.answer(ok("fine") if asked(request) == "good" else answer)

    async with connected(iroh, hostile_once) as (connection, _):
        with pytest.raises(GuardianProtocolError, match=problem):
            await connection.request("x", "bad")
        connection._backoff._not_before_s = 0.0
        assert await connection.request("x", "good") == "fine"


async def test_an_error_of_the_guardian(iroh: "Iroh") -> None:
    async def refuse(request: "Request") -> None:
        request.answer(b'{"Err":{"code":404,"message":"no such contract"}}')

    async with connected(iroh, refuse) as (connection, _):
        with pytest.raises(GuardianRefused, match="error 404: no such contract"):
            await connection.request("x", None)


async def test_a_forgotten_request_is_lost_and_its_connection_is_not(iroh: "Iroh") -> None:
    async def forget(request: "Request") -> None:
        if asked(request) == "good":
            request.answer(ok("fine"))

    async with connected(iroh, forget) as (connection, _):
        with pytest.raises(GuardianUnreachable):
            await connection.request("x", "bad")
        assert await connection.request("x", "good") == "fine"


async def asked_again(connection: IrohConnection) -> object:
    """The answer after a restart. For seconds iroh trusts the path to the process before, which nobody hears."""
    for _ in range(5):
        connection._backoff._not_before_s = 0.0
        with suppress(GuardianUnreachable):
            return await connection.request("x", None)
    raise AssertionError("never answered")


async def test_a_guardian_that_stops_and_starts_again(iroh: "Iroh") -> None:
    there = asyncio.Event()
    kept: list[Request] = []

    async def serve(request: "Request") -> None:
        if asked(request) == "await":
            kept.append(request)
            there.set()
        else:
            request.answer(ok("fine"))

    async with connected(iroh, serve) as (connection, guardian):
        pending = asyncio.create_task(connection.request("await_x", "await"))
        await there.wait()
        await guardian.stop()
        with pytest.raises(GuardianUnreachable):
            await pending
        await guardian.start_again()
        assert await asked_again(connection) == "fine"


async def test_nobody_listening_is_unreachable(
    iroh: "Iroh", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "DIAL_TIMEOUT_S", 0.1)
    async with connected(iroh, echo) as (connection, guardian):
        await guardian.stop()
        with pytest.raises(GuardianUnreachable, match="cannot connect"):
            await connection.request("x", None)


async def test_a_node_that_speaks_another_protocol_is_unreachable(iroh: "Iroh") -> None:
    async with connected(iroh, echo, b"ANOTHER") as (connection, _):
        with pytest.raises(GuardianUnreachable, match="cannot connect"):
            await connection.request("x", None)


async def test_a_cancelled_caller_is_gone_at_the_guardian_too(iroh: "Iroh") -> None:
    there = asyncio.Event()
    kept: list[Request] = []

    async def serve(request: "Request") -> None:
        if asked(request) is None:
            kept.append(request)
            there.set()
        else:
            request.answer(ok("fine"))

    async with connected(iroh, serve) as (connection, _):
        caller = asyncio.create_task(connection.request("await_x", None))
        await there.wait()
        assert not kept[0].is_abandoned()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        # The next answer comes after what was sent before it.
        while not kept[0].is_abandoned():
            assert await connection.request("x", 1) == "fine"
        kept[0].answer(ok("late"))
        assert await connection.request("x", 1) == "fine"


async def test_closing_fails_what_is_pending(iroh: "Iroh") -> None:
    there = asyncio.Event()
    kept: list[Request] = []

    async def silent(request: "Request") -> None:
        kept.append(request)
        there.set()

    async with connected(iroh, silent) as (connection, _):
        caller = asyncio.create_task(connection.request("x", None))
        await there.wait()
        await connection.aclose()
        with pytest.raises(GuardianUnreachable):
            await caller


async def test_what_waits_when_iroh_is_closed_gets_an_error() -> None:
    from fedimint_gateway_native.iroh import (  # noqa: PLC0415 - may be missing
        Inflow,
        Iroh,
        NativeError,
    )

    iroh = Iroh()
    dialer = iroh.dialer(addresses={"00" * 32: "127.0.0.1:1"})
    dialling = asyncio.create_task(dialer.connect("00" * 32, b"X", Inflow(1, 1)))
    await asyncio.sleep(0)
    iroh.close()
    with pytest.raises(NativeError, match="closed"):
        await dialling


async def test_an_address_in_use_is_told(iroh: "Iroh") -> None:
    from fedimint_gateway_native.iroh import LostError  # noqa: PLC0415 - may be missing

    first, second = Guardian(iroh, echo), Guardian(iroh, echo)
    await first.start()
    second.address = first.address
    with pytest.raises(LostError):
        await second.start()
    await first.stop()


@pytest.mark.parametrize("node_id", ["", "00", "zz" * 32, "02" * 32])
async def test_what_is_no_node_id_is_refused(node_id: str, iroh: "Iroh") -> None:
    with pytest.raises(ValueError, match="64 hex digits"):
        iroh.dialer(addresses={node_id: "127.0.0.1:1"})


@pytest.mark.parametrize("is_key", [True, False])
async def test_a_node_that_nobody_knows_is_unreachable(*, is_key: bool) -> None:
    from fedimint_gateway_native.iroh import node_id_of  # noqa: PLC0415 - may be missing

    from cli.gatewayd.iroh_nodes import iroh_nodes  # noqa: PLC0415 - needs the native part

    node_id = node_id_of(os.urandom(32)) if is_key else "02" * 32
    alone = ReachSettings(resolves_pkarr=False, uses_n0=False)
    async with iroh_nodes(alone) as nodes:
        connection = Reach(alone, nodes).connect(f"iroh://{node_id}", None)
        with pytest.raises(GuardianUnreachable, match="cannot connect"):
            await connection.request("x", None)


async def test_an_address_for_what_is_no_key_is_told_at_the_start() -> None:
    from cli.gatewayd.iroh_nodes import iroh_nodes  # noqa: PLC0415 - needs the native part

    with pytest.raises(ConfigError):
        async with iroh_nodes(ReachSettings(addresses={"02" * 32: "127.0.0.1:1"})):
            pass
