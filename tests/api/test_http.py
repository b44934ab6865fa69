"""The aiohttp adapter over a real socket: routes, statuses, hostile input. asyncio only, as aiohttp is."""

import ipaddress
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import msgspec
import pytest
from structlog.testing import capture_logs

from api import limits
from api.auth import PasswordCheck
from api.callers import Callers
from api.gates import RateLimit, TokenBucket
from api.http import create_app
from api.http_server import serving
from api.routes import routes
from api.testing import canned
from api.testing.gateway import CannedGateway
from api.testing.http import canned_app
from errors import (
    BusyError,
    ConfigError,
    ConflictError,
    FatalError,
    GatewayError,
    InputError,
    NotFoundError,
    NotReadyError,
    PeerError,
    UnavailableError,
)
from fedimint.lnv2.gateway_api import Forfeited
from tests.api.recorded import exchanges

pytestmark = pytest.mark.anyio

PASSWORD = "theresnosecondbest"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
ADMIN = {"Authorization": f"Bearer {PASSWORD}"}
RECORDED = Path(__file__).parents[1] / "vectors" / "http" / "rust-gateway-0.13.jsonl"


def recorded_send() -> dict[str, Any]:
    lines = map(json.loads, RECORDED.read_text().splitlines())
    request: dict[str, Any] = next(e for e in lines if e["path"] == "/send_payment")["request"]
    return request


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def gateway() -> CannedGateway:
    return CannedGateway()


@pytest.fixture
async def client(gateway: CannedGateway) -> AsyncIterator[aiohttp.ClientSession]:
    app = canned_app(gateway, PasswordCheck(HASH))
    async with (
        serving(app, "127.0.0.1", 0) as (host, port),
        aiohttp.ClientSession(f"http://{host}:{port}", auto_decompress=False) as session,
    ):
        yield session


async def post(
    client: aiohttp.ClientSession, path: str, body: bytes, **headers: str
) -> tuple[int, str]:
    named = {"Content-Type": "application/json"}
    named.update({name.replace("_", "-"): value for name, value in headers.items()})
    async with client.post(path, data=body, headers=named) as response:
        return response.status, await response.text()


@pytest.mark.parametrize("path", ["/info", "/v1/info", "/balances", "/v1/balances"])
async def test_admin_routes_answer_at_both_mounts(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path, headers=ADMIN) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/json"
        answer = await response.json()
    assert ("gateway_state" in answer) == path.endswith("info")


@pytest.mark.parametrize(
    "path", ["/v1/v1/info", "/v1info", "/v1", "/", "/info/", "/V1/info", "/v2/info", "/verify"]
)
async def test_other_paths_do_not_exist(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path, headers=ADMIN) as response:
        assert response.status == 404
        assert await response.text() == "There is no such route"


async def test_public_routes_need_no_password(client: aiohttp.ClientSession) -> None:
    federation_id = b'"' + b"01" * 32 + b'"'
    status, text = await post(client, "/routing_info", federation_id)
    assert status == 200
    assert json.loads(text)["expiration_delta_default"] == 1440
    assert await post(client, "/v1/routing_info", federation_id) == (200, text)
    assert await post(client, "/routing_info", federation_id.replace(b"01", b"EE")) == (
        400,
        "No federation available for prefix eeeeeeee",
    )


async def test_send_payment_answers_both_outcomes(
    client: aiohttp.ClientSession, gateway: CannedGateway
) -> None:
    body = json.dumps(recorded_send()).encode()
    assert await post(client, "/send_payment", body) == (
        200,
        msgspec.json.encode({"Ok": list(range(32))}).decode(),
    )
    gateway.outcome = Forfeited(b"\xab" * 64)
    assert await post(client, "/v1/send_payment", body) == (200, '{"Err":"' + "ab" * 64 + '"}')
    assert len(gateway.sends) == 2


async def test_connect_fed(client: aiohttp.ClientSession, gateway: CannedGateway) -> None:
    status, text = await post(client, "/connect_fed", b'{"invite_code":"fed11x"}', **ADMIN)
    assert status == 200
    assert json.loads(text)["config"]["_connector"] == "Tcp"
    assert gateway.joins == [("fed11x", False)]


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic dTpw", "x" * 200, "Bearer \udcff"],
)
async def test_no_password_no_answer(
    client: aiohttp.ClientSession, gateway: CannedGateway, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    for path in ("/info", "/v1/balances"):
        async with client.get(path, headers=headers) as response:
            assert response.status == 401
            assert await response.read() == b""
    # The body of someone unknown is not even looked at.
    async with client.post("/connect_fed", data=b"{", headers=headers) as response:
        assert response.status == 401
    assert gateway.joins == []


async def test_the_bearer_prefix_is_optional(client: aiohttp.ClientSession) -> None:
    async with client.get("/info", headers={"Authorization": PASSWORD}) as response:
        assert response.status == 200


async def test_wrong_method(client: aiohttp.ClientSession) -> None:
    async with client.get("/send_payment") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        assert await response.text() == "GET is not allowed here, only POST"
    async with client.post("/info", headers=ADMIN) as response:
        assert response.status == 405


async def test_head_asks_for_the_password_too(client: aiohttp.ClientSession) -> None:
    async with client.head("/info") as response:
        assert response.status == 401
    async with client.head("/info", headers=ADMIN) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json; charset=utf-8", 200),
        ("application/vnd.fedimint+json", 200),
        ("Application/JSON", 200),
        ("text/json", 415),
        ("application/jsonx", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ],
)
async def test_content_type(client: aiohttp.ClientSession, content_type: str, status: int) -> None:
    body = json.dumps(recorded_send()).encode()
    answered, text = await post(client, "/send_payment", body, Content_Type=content_type)
    assert answered == status
    assert status == 200 or text == "Expected a body with the content type application/json"


def altered(**changes: object) -> bytes:
    return json.dumps({**recorded_send(), **changes}).encode()


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "not valid JSON"),
        (b"{", 400, "not valid JSON"),
        (b"\xef\xbb\xbf{}", 400, "not valid JSON"),
        (b'{"auth": NaN}', 400, "not valid JSON"),
        (b'{"auth": "\x00"}', 400, "not valid JSON"),
        (b'{"auth": "\xff"}', 400, "not valid UTF-8"),
        (b'{"auth": "\\ud800"}', 400, "not valid JSON"),
        (b'{"deep": ' + b"[" * 20_000, 400, "nested too deeply"),
        (b"[" * 60_000, 422, "Expected `object`"),
        (b"{}", 422, "federation_id"),
        (b"null", 422, "Expected `object`"),
        (altered(auth=1), 422, "$.auth"),
        (altered(auth="ab" * 63 + "\x00\x00"), 422, "$.auth"),
        (altered(federation_id="ff"), 422, "$.federation_id"),
        (altered(contract=[]), 422, "$.contract"),
        (altered(invoice={"Bolt11": None}), 422, "$.invoice"),
        (altered(outpoint={"txid": "ab" * 32, "out_idx": 10**400}), 422, "out_idx"),
        (altered()[:-1] + b', "auth": "' + b"cd" * 64 + b'"}', 422, "names a field twice"),
        (altered() + b"x", 400, "not valid JSON"),
    ],
)
async def test_bad_bodies_are_told_why(
    client: aiohttp.ClientSession, gateway: CannedGateway, body: bytes, status: int, says: str
) -> None:
    answered, text = await post(client, "/send_payment", body)
    assert (answered, says in text) == (status, True), text
    assert gateway.sends == []


async def test_too_large_is_413_whatever_the_headers_say(client: aiohttp.ClientSession) -> None:
    body = b'"' + b"a" * limits.PUBLIC_BODY_BYTES + b'"'
    expected = (413, f"The body is longer than {limits.PUBLIC_BODY_BYTES} bytes")
    assert await post(client, "/routing_info", body) == expected

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 8192):
            yield body[start : start + 8192]

    async with client.post(
        "/routing_info", data=chunks(), headers={"Content-Type": "application/json"}
    ) as response:
        assert (response.status, await response.text()) == expected
    larger = b'{"invite_code": "' + b"a" * len(body) + b'"}'
    status, _ = await post(client, "/connect_fed", larger, **ADMIN)
    assert status == 200


async def test_compressed_bodies_are_not_unpacked(client: aiohttp.ClientSession) -> None:
    status, text = await post(client, "/routing_info", b"\x1f\x8b\x08\x00", Content_Encoding="gzip")
    assert (status, text) == (400, "The body is not valid UTF-8")


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (InputError("The contract is for another gateway"), 400),
        (NotFoundError("There is no such contract"), 404),
        (ConflictError("The payment hash is in use"), 409),
        (BusyError("The queue is full"), 429),
        (NotReadyError("The node is behind the chain"), 503),
    ],
)
async def test_refusals_go_out_as_they_are(
    client: aiohttp.ClientSession, gateway: CannedGateway, failure: GatewayError, status: int
) -> None:
    gateway.failure = failure
    assert await post(client, "/send_payment", altered()) == (status, str(failure))


@pytest.mark.parametrize(
    ("failure", "status", "public", "admin"),
    [
        (PeerError("guardian 3 lies"), 502, None, "guardian 3 lies"),
        (UnavailableError("LND at 10.0.0.7 is down"), 503, None, "LND at 10.0.0.7 is down"),
        (FatalError("disk full"), 503, None, "disk full"),
        (KeyError("secret"), 500, "Gateway internal error", "Gateway internal error"),
        (TimeoutError("secret"), 500, "Gateway internal error", "Gateway internal error"),
    ],
)
async def test_inner_failures_stay_inside(  # noqa: PLR0917 - parametrized
    client: aiohttp.ClientSession,
    gateway: CannedGateway,
    failure: Exception,
    status: int,
    public: str | None,
    admin: str,
) -> None:
    gateway.failure = failure
    with capture_logs():
        assert await post(client, "/send_payment", altered()) == (
            status,
            public or "LNv2 operation failed, please contact gateway operator",
        )
        assert await post(client, "/routing_info", b'"' + b"01" * 32 + b'"') == (
            status,
            public or "Lightning Network operation failed",
        )
        async with client.get("/info", headers=ADMIN) as response:
            assert (response.status, await response.text()) == (status, admin)


@pytest.mark.parametrize("path", ["/info", "/v1/send_payment", "/nowhere"])
async def test_any_origin_may_ask_first(client: aiohttp.ClientSession, path: str) -> None:
    asked = {"Origin": "https://wallet.example", "Access-Control-Request-Method": "POST"}
    async with client.options(path, headers=asked) as response:
        assert response.status == 200
        for name in ("Allow-Origin", "Allow-Methods", "Allow-Headers"):
            assert response.headers[f"Access-Control-{name}"] == "*"


async def test_every_answer_carries_the_cors_header(client: aiohttp.ClientSession) -> None:
    for path in ("/info", "/nowhere", "/send_payment"):
        async with client.get(path) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_one_line_of_log_without_bodies_or_passwords(client: aiohttp.ClientSession) -> None:
    with capture_logs() as lines:
        await post(client, "/v1/send_payment?token=abc", altered(), **ADMIN)
    (line,) = lines
    assert isinstance(line.pop("duration_ms"), int)
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "POST",
        "path": "/v1/send_payment",
        "status": 200,
        "remote": "127.0.0.1",
    }


async def test_a_proxy_of_the_operator_is_believed_about_whom_it_speaks_for(
    gateway: CannedGateway,
) -> None:
    """The flood of one of its callers is not another's."""
    table = routes(gateway, canned.facts(), TokenBucket(RateLimit(burst=2)), gateway.stop)
    proxies = Callers([ipaddress.ip_network("127.0.0.1")])
    (asked, *_) = (one["request"] for one in exchanges("/create_bolt11_invoice"))
    async with (
        serving(create_app(table, PasswordCheck(HASH), callers=proxies), "127.0.0.1", 0) as (
            host,
            port,
        ),
        aiohttp.ClientSession(f"http://{host}:{port}") as client,
    ):

        async def invoice_for(caller: str) -> int:
            headers = {"X-Forwarded-For": f"203.0.113.1, {caller}"}
            async with client.post("/create_bolt11_invoice", json=asked, headers=headers) as answer:
                return answer.status

        with capture_logs() as lines:
            flood = [await invoice_for("198.51.100.1") for _ in range(4)]
            assert flood == [200, 200, 429, 429]
            assert await invoice_for("198.51.100.2") == 200
    assert [line["remote"] for line in lines][3:] == ["198.51.100.1", "198.51.100.2"]


async def test_an_address_in_use_is_a_sentence() -> None:
    app = canned_app(CannedGateway(), PasswordCheck(HASH))
    other = canned_app(CannedGateway(), PasswordCheck(HASH))
    async with serving(app, "127.0.0.1", 0) as (host, port):
        with pytest.raises(ConfigError, match=f"Cannot listen on 127.0.0.1 port {port}"):
            async with serving(other, host, port):
                pass
