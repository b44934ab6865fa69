"""The bounds of the HTTP API over raw sockets: how many at once, how slow, and who is evicted."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import bcrypt
import pytest
from anyio.abc import SocketStream
from structlog.testing import capture_logs

from api import limits
from api.auth import PasswordCheck
from api.http_server import serving
from api.testing.gateway import CannedGateway
from api.testing.http import canned_app

pytestmark = pytest.mark.anyio

HASH = bcrypt.hashpw(b"pw", bcrypt.gensalt(4)).decode()
RECORDED = Path(__file__).parents[1] / "vectors" / "http" / "rust-gateway-0.13.jsonl"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def gateway() -> CannedGateway:
    return CannedGateway()


def send_request() -> bytes:
    exchanges = map(json.loads, RECORDED.read_text().splitlines())
    request = next(e for e in exchanges if e["path"] == "/send_payment")["request"]
    return post("/send_payment", json.dumps(request).encode())


def post(path: str, body: bytes, *, length: int | None = None) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


async def status_of(stream: SocketStream) -> int:
    answer = b""
    while b"\r\n" not in answer:
        answer += await stream.receive()
    return int(answer.split(b" ")[1])


async def is_closed(stream: SocketStream) -> bool:
    with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
        await stream.receive()
    return True


@asynccontextmanager
async def server(gateway: CannedGateway) -> AsyncIterator[tuple[str, int]]:
    app = canned_app(gateway, PasswordCheck(HASH))
    async with serving(app, "127.0.0.1", 0) as address:
        yield address


async def until_waiting(gateway: CannedGateway, count: int) -> None:
    while gateway.sends_waiting != count:
        await anyio.lowlevel.checkpoint()


async def test_who_waits_longest_for_a_payment_gives_way_and_may_ask_again(
    gateway: CannedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The payment goes on without the caller; strangers whose payees hold for days must not keep everybody out."""
    monkeypatch.setattr(limits, "SEND_PAYMENTS", 2)
    gateway.hold = anyio.Event()
    async with server(gateway) as address:
        first, second, third = [await anyio.connect_tcp(*address) for _ in range(3)]
        for stream in (first, second):
            await stream.send(send_request())
        await until_waiting(gateway, 2)
        await third.send(send_request())
        assert await status_of(first) == 429
        await until_waiting(gateway, 2)
        async with await anyio.connect_tcp(*address) as other:
            await other.send(post("/routing_info", b'"' + b"01" * 32 + b'"'))
            assert await status_of(other) == 200
        gateway.hold.set()
        for stream in (second, third):
            assert await status_of(stream) == 200
            await stream.aclose()
        await first.aclose()
    assert len(gateway.sends) == 3


async def test_a_client_that_leaves_frees_its_place_and_the_next_one_joins(
    gateway: CannedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SEND_PAYMENTS", 1)
    gateway.hold = anyio.Event()
    with capture_logs() as lines:
        async with server(gateway) as address:
            async with await anyio.connect_tcp(*address) as stream:
                await stream.send(send_request())
                await until_waiting(gateway, 1)
            await until_waiting(gateway, 0)
            async with await anyio.connect_tcp(*address) as stream:
                await stream.send(send_request())
                await until_waiting(gateway, 1)
                gateway.hold.set()
                assert await status_of(stream) == 200
    assert [line["status"] for line in lines] == [499, 200]


async def test_a_stopping_server_does_not_wait_for_payments(
    gateway: CannedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SHUTDOWN_SECONDS", 0.01)
    gateway.hold = anyio.Event()
    async with server(gateway) as address:
        stream = await anyio.connect_tcp(*address)
        await stream.send(send_request())
        await until_waiting(gateway, 1)
    assert gateway.sends_waiting == 0
    await stream.aclose()


async def test_a_cancelled_server_still_ends_its_requests(
    gateway: CannedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SHUTDOWN_SECONDS", 0.01)
    gateway.hold = anyio.Event()
    with anyio.CancelScope() as scope:
        async with server(gateway) as address:
            stream = await anyio.connect_tcp(*address)
            await stream.send(send_request())
            await until_waiting(gateway, 1)
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert gateway.sends_waiting == 0
    await stream.aclose()


async def test_a_body_that_does_not_arrive_is_408(
    gateway: CannedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0)
    async with server(gateway) as address, await anyio.connect_tcp(*address) as stream:
        await stream.send(post("/routing_info", b'"', length=66))
        assert await status_of(stream) == 408


async def test_a_silent_connection_is_closed(
    gateway: CannedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.01)
    async with server(gateway) as address, await anyio.connect_tcp(*address) as stream:
        await stream.send(b"POST /send_payment HTTP/1.1\r\nHo")
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()


async def test_one_connection_too_many_is_closed_at_once(
    gateway: CannedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS", 1)
    gateway.hold = anyio.Event()
    async with server(gateway) as address, await anyio.connect_tcp(*address) as first:
        await first.send(send_request())
        await until_waiting(gateway, 1)
        async with await anyio.connect_tcp(*address) as second:
            assert await is_closed(second)
        gateway.hold.set()
        assert await status_of(first) == 200


async def test_who_waits_for_no_answer_makes_room(
    gateway: CannedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS", 3)
    routing = post("/routing_info", b'"' + b"01" * 32 + b'"')
    gateway.hold = anyio.Event()
    with capture_logs() as lines:
        async with server(gateway) as address:
            payer, client, slow = [await anyio.connect_tcp(*address) for _ in range(3)]
            await payer.send(send_request())
            await until_waiting(gateway, 1)
            await client.send(routing)
            assert await status_of(client) == 200
            await slow.send(post("/routing_info", b'"', length=66))
            async with await anyio.connect_tcp(*address) as late:
                assert await is_closed(slow)
                await late.send(routing)
                assert await status_of(late) == 200
                # Each of the two has had an answer; the older one leaves.
                async with await anyio.connect_tcp(*address) as later:
                    assert await is_closed(client)
                    await later.send(routing)
                    assert await status_of(later) == 200
            gateway.hold.set()
            assert await status_of(payer) == 200
            for stream in (payer, client, slow):
                await stream.aclose()
    assert [line["event"] for line in lines].count("all_connections_taken") == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS to a plain port
        b"GET /info HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\x00b\r\n\r\n",
        b"GET /info HTTP/1.1\r\nHost: a\r\nX: "
        + b"a" * (2 * limits.HEADER_LINE_BYTES)
        + b"\r\n\r\n",
        b"GET /" + b"a" * (2 * limits.HEADER_LINE_BYTES) + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /send_payment HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        (
            b"POST /send_payment HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        (
            b"POST /send_payment HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
        ),
    ],
)
async def test_what_is_not_http_is_400(gateway: CannedGateway, request_bytes: bytes) -> None:
    async with server(gateway) as address, await anyio.connect_tcp(*address) as stream:
        await stream.send(request_bytes)
        assert await status_of(stream) == 400
    assert gateway.sends == []


async def test_a_request_that_takes_too_long_is_unavailable(
    gateway: CannedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PUBLIC_SECONDS", 0)

    async def never(federation_id: str) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(gateway, "routing_info", never)
    with capture_logs():
        async with server(gateway) as address, await anyio.connect_tcp(*address) as stream:
            await stream.send(post("/routing_info", b'"' + b"01" * 32 + b'"'))
            assert await status_of(stream) == 503
