"""Every route over a real socket: who may call it, at both mounts. asyncio only, as aiohttp is."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import anyio
import bcrypt
import pytest
from structlog.testing import capture_logs

from api.auth import PasswordCheck
from api.gates import RateLimit, TokenBucket
from api.http import create_app
from api.http_server import Listener, listening, serving
from api.routes import Route, routes, setup_routes
from api.testing import canned
from api.testing.gateway import CannedGateway
from api.testing.http import canned_app
from errors import ConflictError, NotFoundError, PeerError
from gateway import views
from tests.api.recorded import exchanges

pytestmark = pytest.mark.anyio

ADMIN, MANAGER = "theresnosecondbest", "theresathirdbest"
ADMIN_HASH = bcrypt.hashpw(ADMIN.encode(), bcrypt.gensalt(4)).decode()
MANAGER_HASH = bcrypt.hashpw(MANAGER.encode(), bcrypt.gensalt(4)).decode()
FED = "01" * 32
KEY = "02" + "ab" * 32

# As gateway-server/src/rpc_server.rs sorts them.
PUBLIC = """
    receive_ecash id routing_info send_payment create_bolt11_invoice verify federation_status
"""
MANAGERS = """
    address address_recheck close_channels_with_peer config connect_peer
    create_bolt11_invoice_for_operator create_bolt12_offer_for_operator info balances get_invoice
    get_ln_onchain_address invite_codes list_channels list_transactions open_channel payment_log
    payment_summary pegin_from_onchain set_channel_fees set_fees set_payment_policy
    withdraw_to_onchain
"""
# Routes of our own, beside those of Rust.
MANAGERS += " list_sent_ecash"
ADMINS = """
    withdraw connect_fed leave_fed backup pay_invoice_for_operator pay_offer_for_operator
    open_channel_with_push send_onchain spend_ecash mnemonic stop
"""
ADMINS += " show_sent_ecash dismiss set_exposure_cap trust_again retry replace_node"

BODIES: dict[str, object] = {
    "/address": {"federation_id": FED},
    "/address_recheck": {"federation_id": FED, "address": "bc1qa"},
    "/backup": {"federation_id": FED},
    "/close_channels_with_peer": {"pubkey": KEY},
    "/config": {},
    "/connect_fed": {"invite_code": "fed11x"},
    "/connect_peer": {"node_address": f"{KEY}@bob"},
    "/create_bolt11_invoice": exchanges("/create_bolt11_invoice")[0]["request"],
    "/create_bolt11_invoice_for_operator": {"amount_msats": 1},
    "/dismiss": {"stream": "node_order/1"},
    "/retry": {"stream": "tx/1"},
    "/federation_status": {"federation_id": FED},
    "/replace_node": {"gone_node": KEY},
    "/get_invoice": {"payment_hash": "ab" * 32},
    "/leave_fed": {"federation_id": FED},
    "/list_transactions": {"start_secs": 0, "end_secs": 1},
    "/open_channel": {
        "pubkey": KEY,
        "host": "bob",
        "channel_size_sats": 20_000,
        "push_amount_sats": 0,
    },
    "/open_channel_with_push": {
        "pubkey": KEY,
        "host": "bob",
        "channel_size_sats": 20_000,
        "push_amount_sats": 1,
    },
    "/pay_invoice_for_operator": {"invoice": "lnbc1"},
    "/payment_log": {"federation_id": FED, "pagination_size": 1, "event_kinds": []},
    "/payment_summary": {"start_millis": 0, "end_millis": 1},
    "/pegin_from_onchain": {"federation_id": FED, "amount": 1, "fee_rate_sats_per_vbyte": 1},
    "/receive_ecash": {"notes": "fedimint1x"},
    "/list_sent_ecash": {},
    "/routing_info": FED,
    "/send_onchain": {"address": "bc1qa", "amount": "all", "fee_rate_sats_per_vbyte": 1},
    "/send_payment": exchanges("/send_payment")[0]["request"],
    "/set_channel_fees": {
        "funding_outpoint": f"{canned.TXID}:0",
        "base_fee_msat": 1,
        "parts_per_million": 1,
    },
    "/set_exposure_cap": {},
    "/set_fees": {},
    "/set_payment_policy": {},
    "/show_sent_ecash": {"id": "ab" * 16},
    "/spend_ecash": {"federation_id": FED, "amount": 1},
    "/trust_again": {"federation_id": FED},
    "/withdraw": {"federation_id": FED, "amount": 1, "address": "bc1qa"},
    "/withdraw_to_onchain": {"federation_id": FED, "amount": 1},
}
# These end in a refusal whatever is asked.
REFUSED = {
    "/create_bolt12_offer_for_operator": ({}, 400),
    "/pay_offer_for_operator": ({"offer": "lno1"}, 400),
    "/mnemonic": ({}, 409),
}


async def _nothing() -> None:
    """Nobody calls it here."""


def _table() -> tuple[Route, ...]:
    bucket = TokenBucket(RateLimit(), now_s=lambda: 0.0)
    return routes(CannedGateway(), canned.facts(), bucket, _nothing)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def gateway() -> CannedGateway:
    gateway = CannedGateway()
    gateway.stopped.set()
    return gateway


@asynccontextmanager
async def client_of(
    gateway: CannedGateway, *, limit: RateLimit | None = None, debug: bool = False
) -> AsyncIterator[aiohttp.ClientSession]:
    app = canned_app(gateway, PasswordCheck(ADMIN_HASH, MANAGER_HASH), limit=limit, debug=debug)
    with capture_logs():
        async with (
            serving(app, "127.0.0.1", 0) as (host, port),
            aiohttp.ClientSession(f"http://{host}:{port}") as session,
        ):
            yield session


@pytest.fixture
async def client(gateway: CannedGateway) -> AsyncIterator[aiohttp.ClientSession]:
    async with client_of(gateway) as session:
        yield session


async def ask(
    client: aiohttp.ClientSession, method: str, path: str, password: str | None
) -> tuple[int, str]:
    body = BODIES.get(path, REFUSED.get(path, (None, 0))[0])
    headers = {} if password is None else {"Authorization": f"Bearer {password}"}
    url = path.replace("{payment_hash}", "ab" * 32)
    sent = body if method == "POST" else None
    async with client.request(method, url, json=sent, headers=headers) as response:
        return response.status, await response.text()


def test_levels_are_those_of_rust() -> None:
    levels: dict[str, set[str]] = {"public": set(), "manager": set(), "admin": set()}
    for route in _table():
        levels[route.level].add(route.path.split("/")[1])
    assert levels == {
        "public": set(PUBLIC.split()),
        "manager": set(MANAGERS.split()),
        "admin": set(ADMINS.split()),
    }
    assert len(_table()) == sum(map(len, levels.values())) + 1  # GET and POST /mnemonic


@pytest.mark.parametrize("route", _table(), ids=lambda route: f"{route.method} {route.path}")
async def test_each_answers_whom_it_may(client: aiohttp.ClientSession, route: Route) -> None:
    expected = 200
    if route.method == "POST" and route.path in REFUSED:
        expected = REFUSED[route.path][1]
    for password, may in [
        (ADMIN, True),
        (MANAGER, route.level != "admin"),
        ("wrong", route.level == "public"),
        (None, route.level == "public"),
    ]:
        status, text = await ask(client, route.method, route.path, password)
        assert status == (expected if may else 401), text
        assert may or not text


async def test_both_mounts_are_the_same(client: aiohttp.ClientSession) -> None:
    for path in ("/invite_codes", "/id", "/mnemonic", f"/verify/{'ab' * 32}"):
        plain = await ask(client, "GET", path, ADMIN)
        assert plain[0] == 200
        async with client.get(
            f"/v1{path}", headers={"Authorization": f"Bearer {ADMIN}"}
        ) as response:
            assert (response.status, await response.text()) == plain


async def test_what_has_no_answer_answers_null(client: aiohttp.ClientSession) -> None:
    for path in ("/backup", "/connect_peer", "/set_channel_fees", "/set_fees"):
        assert await ask(client, "POST", path, ADMIN) == (200, "null")
    assert await ask(client, "GET", "/stop", ADMIN) == (200, "null")
    assert await ask(client, "POST", "/address_recheck", ADMIN) == (200, "{}")
    assert await ask(client, "POST", "/address", ADMIN) == (200, f'"{canned.ADDRESS}"')


async def test_configs_and_invites_are_keyed_by_federation(client: aiohttp.ClientSession) -> None:
    status, text = await ask(client, "POST", "/config", ADMIN)
    config = json.loads(text)["federations"][FED]
    assert (status, set(config)) == (200, {"global", "modules"})
    status, text = await ask(client, "GET", "/invite_codes", ADMIN)
    assert json.loads(text)[FED]["1"] == ["Guardian 1", "fed11qgqpw9thwvaz7te3xgmjuvpwxqhrzw3jxqe1"]


async def test_verify_refuses_as_lnurl_wants_it(
    client: aiohttp.ClientSession, gateway: CannedGateway
) -> None:
    async with client.get(f"/verify/{'AB' * 32}?wait=&more=1") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        assert await response.json() == {
            "settled": True,
            "preimage": canned.PREIMAGE.hex(),
            "status": "OK",
        }
    assert gateway.calls == [("verify", "ab" * 32, True)]
    async with client.get("/verify/nonsense") as response:
        refusal = await response.json()
        assert (response.status, refusal["status"]) == (400, "ERROR")
        assert "payment_hash" in refusal["reason"]
    gateway.failure = NotFoundError("Unknown payment hash")
    async with client.get(f"/verify/{'ab' * 32}") as response:
        assert response.status == 404
        assert await response.json() == {"status": "ERROR", "reason": "Unknown payment hash"}
    gateway.failure = None
    gateway.answers["verify"] = views.Verification(None, "Payment has failed")
    async with client.get(f"/verify/{'ab' * 32}") as response:
        assert response.status == 409
        assert await response.json() == {"status": "ERROR", "reason": "Payment has failed"}
    gateway.failure = PeerError("guardian 3 lies")
    async with client.get(f"/verify/{'ab' * 32}") as response:
        assert response.status == 502
        assert "guardian" not in (await response.json())["reason"]


async def test_too_many_invoices_are_429_until_the_bucket_fills(gateway: CannedGateway) -> None:
    limit = RateLimit(burst=2, per_second=1)
    async with client_of(gateway, limit=limit) as client:
        path = "/create_bolt11_invoice"
        answers = [await ask(client, "POST", path, None) for _ in range(3)]
        assert [status for status, _ in answers] == [200, 200, 429]
        assert answers[2][1] == "Too many requests, please try again later"
        assert (await ask(client, "POST", "/routing_info", None))[0] == 200
    assert [call[0] for call in gateway.calls].count("create_invoice") == 2


async def test_with_debug_the_public_hears_what_failed(gateway: CannedGateway) -> None:
    gateway.failure = PeerError("guardian 3 lies")
    async with client_of(gateway) as client:
        assert await ask(client, "POST", "/receive_ecash", None) == (502, "Failed to receive ecash")
        assert await ask(client, "GET", "/id", None) == (502, "Gateway internal error")
    async with client_of(gateway, debug=True) as client:
        assert await ask(client, "POST", "/receive_ecash", None) == (502, "guardian 3 lies")
        gateway.failure = KeyError("secret")
        assert await ask(client, "GET", "/id", None) == (500, "Gateway internal error")


class _Setup:
    """Takes words once, and starts when told."""

    def __init__(self) -> None:
        self.given: list[str | None] = []
        self.started = anyio.Event()

    async def set_mnemonic(self, words: str | None) -> None:
        if self.given:
            raise ConflictError("This gateway has been given its mnemonic already")
        self.given.append(words)
        await self.started.wait()


async def _mnemonic(address: str, body: object, password: str | None = ADMIN) -> tuple[int, str]:
    headers = {} if password is None else {"Authorization": f"Bearer {password}"}
    async with (
        aiohttp.ClientSession(address) as client,
        client.post("/v1/mnemonic", json=body, headers=headers) as response,
    ):
        return response.status, await response.text()


async def test_before_there_is_a_mnemonic_nothing_else_is_there() -> None:
    setup, password = _Setup(), PasswordCheck(ADMIN_HASH, MANAGER_HASH)
    app = create_app(setup_routes(setup), password, closing=True)
    with capture_logs():
        async with serving(app, "127.0.0.1", 0) as (host, port):
            address = f"http://{host}:{port}"
            async with aiohttp.ClientSession(address) as client:
                for route in _table():
                    if (route.method, route.path) != ("POST", "/mnemonic"):
                        for given in (None, ADMIN):
                            status, _ = await ask(client, route.method, route.path, given)
                            assert status == 404
                async with client.get("/info") as response:
                    assert response.headers["Connection"] == "close"
                    assert await response.text() == "There is no such route"
            assert await _mnemonic(address, {}, None) == (401, "")
            assert await _mnemonic(address, {}, MANAGER) == (401, "")
            status, text = await _mnemonic(address, {"words": 7})
            assert (status, "words" in text) == (422, True)
            assert setup.given == []
            setup.started.set()
            assert await _mnemonic(address, {"words": "abandon about"}) == (200, "null")
            assert (await _mnemonic(address, {}))[0] == 409
            assert setup.given == ["abandon about"]


async def test_every_address_of_ipv6_is_every_address_of_ipv4_too(gateway: CannedGateway) -> None:
    app = canned_app(gateway, PasswordCheck(ADMIN_HASH))
    async with serving(app, "::", 0) as (host, port):
        assert host == "::"
        for address in (f"http://127.0.0.1:{port}", f"http://[::1]:{port}"):
            async with aiohttp.ClientSession(address) as client:
                assert (await ask(client, "GET", "/info", ADMIN))[0] == 200


async def test_headers_are_as_long_and_as_many_as_elsewhere(gateway: CannedGateway) -> None:
    async with client_of(gateway) as client:
        for headers, status in (
            ({"X-Long": "a" * 9_000}, 200),
            ({f"X-{number}": "a" * 600 for number in range(90)}, 200),
            ({"X-Long": "a" * 11_000}, 400),
            ({f"X-{number}": "a" for number in range(110)}, 400),
        ):
            async with client.get("/id", headers=headers) as response:
                assert response.status == status


async def test_the_application_behind_an_address_can_be_exchanged(gateway: CannedGateway) -> None:
    setup, password = _Setup(), PasswordCheck(ADMIN_HASH)
    answers: list[tuple[int, str]] = []

    async def set_up(listener: Listener) -> None:
        answers.append(await _mnemonic(f"http://{listener.host}:{listener.port}", {}))

    with capture_logs():
        async with listening("127.0.0.1", 0) as listener, anyio.create_task_group() as tasks:
            address = f"http://{listener.host}:{listener.port}"
            with pytest.raises(aiohttp.ClientError):  # nobody serves yet
                await _mnemonic(address, {})
            await listener.serve(create_app(setup_routes(setup), password, closing=True))
            tasks.start_soon(set_up, listener)
            while not setup.given:
                await anyio.lowlevel.checkpoint()
            await listener.serve(canned_app(gateway, password))
            async with aiohttp.ClientSession(address) as client:
                assert (await ask(client, "GET", "/info", ADMIN))[0] == 200
            assert answers == []
            setup.started.set()  # its operator is still connected, with the old application
        assert answers == [(200, "null")]
