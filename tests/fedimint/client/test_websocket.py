"""The WebSocket transport against a real aiohttp server on this machine, friendly and hostile."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from errors import InputError
from fedimint.client import inflow, websocket_link
from fedimint.client.transport import (
    GuardianProtocolError,
    GuardianRefused,
    GuardianTimeout,
    GuardianUnreachable,
    module_method,
)
from fedimint.client.websocket import MAX_FRAME_BYTES, WebSocketConnection
from fedimint.client.websocket_bytes import MAX_UNSAID_BYTES

pytestmark = pytest.mark.anyio

Serve = Callable[[web.WebSocketResponse], Awaitable[None]]


@pytest.fixture
def anyio_backend() -> str:
    """The transport is aiohttp's, which is bound to asyncio."""
    return "asyncio"


class Server:
    """Counts upgrades and runs `serve` on each accepted socket."""

    def __init__(self, serve: Serve, wanted_authorization: str | None = None) -> None:
        self.serve = serve
        self.wanted_authorization = wanted_authorization
        self.connections = 0
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        authorization = request.headers.get("Authorization")
        if self.wanted_authorization not in {None, authorization}:
            return web.Response(status=401)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await self.serve(socket)
        return socket


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Server]:
    app = web.Application()
    app.router.add_get("/", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"ws://127.0.0.1:{port}/"
    try:
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def connected(
    serve: Serve, **options: object
) -> AsyncIterator[tuple[WebSocketConnection, Server]]:
    async with running(Server(serve)) as server:
        connection = WebSocketConnection(server.url, **options)  # type: ignore[arg-type] # tests only
        try:
            yield connection, server
        finally:
            await connection.aclose()
            assert own_tasks() == set()


def own_tasks() -> set[str]:
    """Names of the tasks that run code of the transport."""
    names = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}  # type: ignore[union-attr] # every task here is a coroutine
    return {name for name in names if name.startswith("Link")}


def answer(request_id: object, result: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result})


async def echo(socket: web.WebSocketResponse) -> None:
    async for message in socket:
        request = json.loads(message.data)
        await socket.send_str(answer(request["id"], request))


async def test_a_request_carries_method_auth_and_params() -> None:
    async with connected(echo) as (connection, _):
        sent = await connection.request(module_method(2, "shares"), {"a": [1]}, auth="secret")
    assert sent == {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "module_2_shares",
        "params": [{"auth": "secret", "params": {"a": [1]}}],
    }


async def test_no_parameter_is_null_and_null_is_a_result() -> None:
    async def null(socket: web.WebSocketResponse) -> None:
        request = json.loads((await socket.receive()).data)
        assert request["params"] == [{"auth": None, "params": None}]
        await socket.send_str(answer(request["id"], None))

    async with connected(null) as (connection, _):
        assert await connection.request("status", None) is None


async def test_many_requests_share_one_connection_and_answers_may_cross() -> None:
    async def reversed_order(socket: web.WebSocketResponse) -> None:
        requests = [json.loads((await socket.receive()).data) for _ in range(20)]
        for request in reversed(requests):
            await socket.send_str(answer(request["id"], request["params"][0]["params"]))

    async with connected(reversed_order) as (connection, server):
        results = await asyncio.gather(*(connection.request("echo", n) for n in range(20)))
        assert results == list(range(20))
        assert server.connections == 1


@pytest.mark.parametrize(
    ("code", "kind"), [(-32000, GuardianTimeout), (404, GuardianRefused), (-32601, GuardianRefused)]
)
async def test_error_codes(code: int, kind: type[Exception]) -> None:
    async def refuse(socket: web.WebSocketResponse) -> None:
        error = {"code": code, "message": "m" * 10_000, "data": [1]}
        request = json.loads((await socket.receive()).data)
        await socket.send_str(json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error}))

    async with connected(refuse) as (connection, _):
        with pytest.raises(kind) as caught:
            await connection.request("x", None)
    assert len(str(caught.value)) < 1000
    if isinstance(caught.value, GuardianRefused):
        assert caught.value.code == code
        assert caught.value.is_unknown_method == (code == -32601)


@pytest.mark.parametrize(
    "frame",
    [
        "not json",
        "[]",
        "{}",
        "[" * 100_000,
        '{"jsonrpc":"1.0","id":0,"result":1}',
        '{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse"}}',
        '{"jsonrpc":"2.0","id":"0","result":1}',
        '{"jsonrpc":"2.0","id":7,"result":1}',
        '{"jsonrpc":"2.0","id":-1,"result":1}',
        '{"jsonrpc":"2.0","id":0}',
        '{"jsonrpc":"2.0","id":0,"result":1,"error":{"code":1,"message":"both"}}',
        '{"jsonrpc":"2.0","id":0,"error":{"code":"1","message":"text"}}',
        '{"jsonrpc":"2.0","id":0,"result":' + "9" * 5000 + "}",
        b"\x00\x01",
        "x" * (MAX_FRAME_BYTES + 1),
    ],
    ids=lambda frame: repr(frame[:40]),
)
async def test_a_malformed_frame_ends_its_connection_and_nothing_else(frame: str | bytes) -> None:
    async def hostile_once(socket: web.WebSocketResponse) -> None:
        first = json.loads((await socket.receive()).data)
        if first["params"][0]["params"] == "good":
            await socket.send_str(answer(first["id"], "fine"))
        elif isinstance(frame, bytes):
            await socket.send_bytes(frame)
        else:
            await socket.send_str(frame)
        await socket.receive()

    now_s = [0.0]
    async with connected(hostile_once, monotonic_s=lambda: now_s[0]) as (connection, server):
        # Of the two requests under way neither may hang.
        results = await asyncio.gather(
            connection.request("x", "a"), connection.request("x", "b"), return_exceptions=True
        )
        assert [type(result) for result in results] == [GuardianProtocolError] * 2
        with pytest.raises(GuardianUnreachable, match="waiting before the next try"):
            await connection.request("x", "good")
        now_s[0] += 0.5
        assert await connection.request("x", "good") == "fine"
        assert server.connections == 2


async def test_a_drop_fails_what_is_pending() -> None:
    async def drop(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.close()

    async with connected(drop) as (connection, _):
        with pytest.raises(GuardianUnreachable):
            await connection.request("x", None)


async def test_backoff_grows_to_thirty_seconds_and_an_answer_resets_it() -> None:
    answering = False

    async def drop(socket: web.WebSocketResponse) -> None:
        if answering:
            await echo(socket)

    now_s = [0.0]
    options = {"monotonic_s": lambda: now_s[0], "jitter": lambda: 1.0}
    async with connected(drop, **options) as (connection, server):
        for loss, backoff_s in enumerate([0.5, 1, 2, 4, 8, 16, 30, 30], start=1):
            with pytest.raises(GuardianUnreachable):
                await connection.request("x", None)
            now_s[0] += backoff_s - 0.01
            with pytest.raises(GuardianUnreachable, match="waiting"):
                await connection.request("x", None)
            assert server.connections == loss
            now_s[0] += 0.01
        answering = True
        await connection.request("x", None)
        link = connection._link
        assert link is not None
        await link.aclose()
        with pytest.raises(GuardianUnreachable, match="waiting"):
            await connection.request("x", None)
        now_s[0] += 0.5
        await connection.request("x", None)


async def test_nobody_listening_is_unreachable() -> None:
    async with running(Server(echo)) as server:
        url = server.url
    connection = WebSocketConnection(url)
    with pytest.raises(GuardianUnreachable, match="cannot connect"):
        await connection.request("x", None)
    await connection.aclose()


@pytest.mark.parametrize(
    "url", ["iroh://00ff", "ws://", "ws://[", "http://127.0.0.1/", "ws://h:x/"]
)
async def test_a_url_of_no_use_is_unreachable(url: str) -> None:
    connection = WebSocketConnection(url)
    with pytest.raises(GuardianUnreachable):
        await connection.request("x", None)
    await connection.aclose()


async def test_the_api_secret_goes_with_the_upgrade_and_stays_out_of_texts() -> None:
    async with running(Server(echo, "Basic ZmVkaW1pbnQ6aHVzaA==")) as server:
        connection = WebSocketConnection(server.url.replace("//", "//u:pw@"), api_secret="hush")
        assert await connection.request("x", None)
        assert "hush" not in repr(connection)
        assert "pw" not in repr(connection)
        await connection.aclose()
        without = WebSocketConnection(server.url)
        with pytest.raises(GuardianRefused) as caught:
            await without.request("x", None)
        assert caught.value.code == 401
        await without.aclose()


async def test_a_cancelled_caller_leaves_no_trace_and_its_late_answer_is_dropped() -> None:
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def late(socket: web.WebSocketResponse) -> None:
        first = json.loads((await socket.receive()).data)
        asked.set()
        await cancelled.wait()
        await socket.send_str(answer(first["id"], "late"))
        await echo(socket)

    async with connected(late, max_in_flight=1) as (connection, server):
        caller = asyncio.create_task(connection.request("x", None))
        await asked.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert connection._link is not None
        assert connection._link._waiting == {}
        cancelled.set()
        assert await connection.request("y", None) is not None
        assert server.connections == 1


async def test_requests_out_at_once_are_bounded() -> None:
    most = 0

    async def count(socket: web.WebSocketResponse) -> None:
        nonlocal most
        held: list[int] = []
        async for message in socket:
            held.append(json.loads(message.data)["id"])
            most = max(most, len(held))
            if len(held) == 3:
                for request_id in held:
                    await socket.send_str(answer(request_id, None))
                held.clear()

    async with connected(count, max_in_flight=3) as (connection, _):
        await asyncio.gather(*(connection.request("x", n) for n in range(9)))
    assert most == 3


async def test_a_silent_guardian_is_a_timeout() -> None:
    async def silent(socket: web.WebSocketResponse) -> None:
        async for _ in socket:
            pass

    async with connected(silent, request_timeout_s=0.0) as (connection, _):
        with pytest.raises(GuardianTimeout):
            await connection.request("x", None)


async def test_closing_fails_what_is_pending_and_what_comes_after() -> None:
    asked = asyncio.Event()

    async def silent(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        asked.set()
        await socket.receive()

    async with connected(silent) as (connection, _):
        caller = asyncio.create_task(connection.request("x", None))
        await asked.wait()
        await connection.aclose()
        with pytest.raises(GuardianUnreachable):
            await caller
        with pytest.raises(GuardianUnreachable, match="closed by us"):
            await connection.request("x", None)
        await connection.aclose()


async def test_a_request_too_large_for_a_guardian_never_leaves() -> None:
    async with connected(echo) as (connection, server):
        with pytest.raises(InputError):
            await connection.request("x", "y" * MAX_FRAME_BYTES)
        assert await connection.request("x", None)
        assert server.connections == 1


async def test_an_http_server_that_does_not_upgrade_is_unreachable() -> None:
    async def plain(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    server = Server(echo)
    server.handle = plain  # type: ignore[assignment] # a server of another kind
    async with running(server):
        connection = WebSocketConnection(server.url)
        with pytest.raises(GuardianUnreachable, match="refused the upgrade"):
            await connection.request("x", None)
        await connection.aclose()


# --- a guardian that sends more than it should -----------------------------------------------------------------------


async def test_an_answer_given_twice_ends_the_connection_undecoded() -> None:
    """So nobody floods us with answers to what was asked once: each costs the flooder a connection and a backoff."""

    async def flood(socket: web.WebSocketResponse) -> None:
        request = json.loads((await socket.receive()).data)
        await socket.send_str(answer(request["id"], "once"))
        await socket.send_str(answer(request["id"], [0] * 100_000))
        await socket.receive()

    now_s = [0.0]
    async with connected(flood, monotonic_s=lambda: now_s[0]) as (connection, server):
        assert await connection.request("x", None) == "once"
        with pytest.raises((GuardianProtocolError, GuardianUnreachable)) as failed:
            await connection.request("y", None)
        with pytest.raises(GuardianUnreachable, match="answered a request twice"):
            await connection.request("z", None)
        assert server.connections == 1
        assert len(str(failed.value)) < 1_000


async def test_a_caller_that_left_is_owed_one_answer_and_no_more() -> None:
    asked = asyncio.Event()

    async def late_twice(socket: web.WebSocketResponse) -> None:
        first = json.loads((await socket.receive()).data)
        asked.set()
        second = json.loads((await socket.receive()).data)
        for request in (first, second, first):
            await socket.send_str(answer(request["id"], "late"))
        await socket.receive()

    async with connected(late_twice) as (connection, _):
        caller = asyncio.create_task(connection.request("x", None))
        await asked.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert await connection.request("y", None) == "late"
        link = connection._link
        assert link is not None
        await asyncio.wait([link._reader])
        assert "answered a request twice" in str(link.failure)


async def test_callers_that_left_are_remembered_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket_link, "MAX_LATE", 2)

    async def silent(socket: web.WebSocketResponse) -> None:
        async for _ in socket:
            pass

    async with connected(silent, request_timeout_s=0.0) as (connection, _):
        for _ in range(4):
            with pytest.raises(GuardianTimeout):
                await connection.request("x", None)
        assert connection._link is not None
        assert list(connection._link._late) == [2, 3]


@pytest.mark.parametrize(
    ("method", "most"),
    [
        ("session_count", inflow.MAX_ANSWER_BYTES),
        ("module_0_await_preimage", inflow.MAX_ANSWER_BYTES),
        ("submit_transaction", 256 * 1024),
        ("module_300_output_info_slice", 512 * 1024),
    ],
)
async def test_an_answer_is_no_longer_than_its_method_has_to_say(method: str, most: int) -> None:
    async def long(socket: web.WebSocketResponse) -> None:
        for size in (most, most + 1):
            request = json.loads((await socket.receive()).data)
            await socket.send_str(answer(request["id"], "x" * (size - 2)))
        await socket.receive()

    async with connected(long) as (connection, _):
        assert await connection.request(method, None) == "x" * (most - 2)
        with pytest.raises(GuardianProtocolError, match=f"answered {method} with more than {most}"):
            await connection.request(method, None)


async def test_what_comes_too_fast_is_read_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause is ours alone: it waits in the guardian's socket, and no answer is lost."""
    monkeypatch.setattr(inflow, "BURST_BYTES", 1_000)
    monkeypatch.setattr(inflow, "BYTES_PER_S", 100)
    paused_s: list[float] = []
    now_s = [0.0]

    async def sleep(seconds: float) -> None:
        paused_s.append(seconds)
        now_s[0] += seconds

    options = {"monotonic_s": lambda: now_s[0], "sleep_s": sleep}
    async with connected(echo, **options) as (connection, _):
        for _ in range(3):
            assert await connection.request("x", "y" * 900)
        await asyncio.sleep(0)
        assert len(paused_s) >= 2
        assert sum(paused_s) >= (2 * 900 - 1_000) / 100


async def test_pings_are_answered_and_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflow, "BURST_BYTES", 1_000)
    paused_s: list[float] = []

    async def sleep(seconds: float) -> None:
        paused_s.append(seconds)

    async def ping(socket: web.WebSocketResponse) -> None:
        request = json.loads((await socket.receive()).data)
        for _ in range(20):
            await socket.ping(b"hello")
            await socket.pong(b"")
        await socket.send_str(answer(request["id"], "done"))
        await socket.receive()

    options = {"monotonic_s": lambda: 0.0, "sleep_s": sleep}
    async with connected(ping, **options) as (connection, _):
        assert await connection.request("x", None) == "done"
    assert len(paused_s) == 41 - 1_000 // inflow.FRAME_BYTES_AT_LEAST


# --- frames by hand, as no library sends them ---


ANSWER = '{{"jsonrpc":"2.0","id":{},"result":{}}}'


def text_frame(text: str) -> bytes:
    data = text.encode()
    return b"\x81\x7e" + len(data).to_bytes(2) + data


@asynccontextmanager
async def guardian_of_bytes(
    after_answer: bytes, received: list[bytes]
) -> AsyncIterator[WebSocketConnection]:
    """A guardian that answers the first question, sends these bytes, and keeps what it gets until the end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # noqa: S324 - RFC 6455
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )
        await reader.read(65_536)
        with suppress(ConnectionError):
            writer.write(text_frame(ANSWER.format(0, 1)) + after_answer)
            await writer.drain()
            received.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        connection = WebSocketConnection(f"ws://127.0.0.1:{port}/")
        try:
            yield connection
        finally:
            await connection.aclose()


async def test_a_message_of_endless_empty_fragments_ends_its_connection() -> None:
    begun, fragment = b"\x01\x01{", b"\x00\x00"
    async with guardian_of_bytes(begun + fragment * MAX_UNSAID_BYTES, []) as connection:
        assert await connection.request("status", None) == 1
        with pytest.raises(GuardianProtocolError, match="sent much that became no message"):
            await connection.request("status", None)
        with pytest.raises(GuardianUnreachable, match="waiting before the next try"):
            await connection.request("status", None)


async def test_who_breaks_the_protocol_waits_longer_each_time_whatever_it_answered() -> None:
    clock = [0.0]

    async def serve(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_str(ANSWER.format(0, 1))
        await socket.send_str("no answer")
        await socket.receive()

    async with connected(serve, monotonic_s=lambda: clock[0], jitter=lambda: 1.0) as (
        connection,
        server,
    ):
        for number, wait_s in enumerate((0.5, 1.0, 2.0), 1):
            assert await connection.request("status", None) == 1
            with pytest.raises((GuardianProtocolError, GuardianUnreachable)):
                await connection.request("status", None)
            clock[0] += wait_s - 0.01
            with pytest.raises(GuardianUnreachable, match="waiting before the next try"):
                await connection.request("status", None)
            clock[0] += 0.02
            assert server.connections == number


async def test_what_lies_behind_a_broken_frame_is_not_read_for_a_farewell() -> None:
    received: list[bytes] = []
    async with guardian_of_bytes(text_frame("no answer") + b"\x81\x00" * 9, received) as connection:
        assert await connection.request("status", None) == 1
        with pytest.raises((GuardianProtocolError, GuardianUnreachable)):
            await connection.request("status", None)
    # No frame of a close that would be waited for.
    assert [one for one in received if one[:1] == b"\x88"] == []


async def test_others_have_a_turn_between_any_two_frames() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    flood = b"\x8a\x00" * 1_000 + text_frame(ANSWER.format(1, 2))
    async with guardian_of_bytes(flood, []) as connection:
        first = asyncio.create_task(connection.request("status", None))
        second = asyncio.create_task(connection.request("status", None))
        assert await first == 1
        counting = asyncio.create_task(count())
        assert await second == 2
        counting.cancel()
        await asyncio.wait([counting])
    assert turns >= 900


async def test_long_and_many_answers_in_any_script_are_no_flood() -> None:
    text = "\u2615" * 20_000

    async def serve(socket: web.WebSocketResponse) -> None:
        for number in range(50):
            await socket.receive()
            await socket.send_str(ANSWER.format(number, json.dumps(text, ensure_ascii=False)))
        await socket.receive()

    async with connected(serve) as (connection, server):
        for _ in range(50):
            assert await connection.request("status", None) == text
        assert server.connections == 1
