"""What strangers may send: every value of every public body is replaced by every other kind of value.

The bodies are those of real clients, so that one wrong value gets as deep as it can. None may be an error of ours,
and the gateway pays and is paid afterwards as if nothing had been said.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from api import limits
from api.body import decode
from api.gates import RateLimit, TokenBucket
from api.routes import Route, routes
from api.testing import canned
from devnet.users.receiving import IncomingOrder
from errors import GatewayError
from fedimint.lnv2.gateway_api import Paid, RoutingInfo
from gateway.application import Gateway
from statemachines import send
from tests.gateway.scene import START_UNIX_S, Scene, ask, until

pytestmark = pytest.mark.anyio

WRONG: tuple[object, ...] = (
    None,
    True,
    0,
    1,
    -1,
    1.5,
    2**31,
    2**63 - 1,
    2**63,
    2**64 - 1,
    2**64,
    10**400,
    "",
    "0",
    "00",
    "0x00",
    "g" * 64,
    "00" * 32,
    "ff" * 32,
    "02" + "00" * 32,
    "02" + "ff" * 32,
    "03" * 33,
    "c0" + "00" * 47,
    "ff" * 96,
    "٣" * 64,
    "ﬀ" * 64,
    "\x00",
    "\U0001f4a9",
    "lnbc1",
    "lnbcrt1" + "q" * 200,
    "fed11",
    "a" * 20_000,
    [],
    [[]] * 50,
    [0] * 33,
    {},
    {"": {}},
    {"Hash": "00" * 32},
    {"Hash": None, "Point": "00"},
    {"Point": "00" * 48},
    {"Bolt11": ""},
)


def mutations(value: Any) -> Iterator[Any]:
    """The value with one part of it replaced, left out, or joined by something unknown."""
    yield from WRONG
    if isinstance(value, dict):
        yield {**value, "unknown": 1}
        for name, inner in value.items():
            yield {other: value[other] for other in value if other != name}
            for wrong in mutations(inner):
                yield {**value, name: wrong}
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            for wrong in mutations(inner):
                yield [*value[:at], wrong, *value[at + 1 :]]


def public_routes(gateway: Gateway) -> dict[str, Route]:
    async def stop() -> None:
        """Nobody calls it here."""

    bucket = TokenBucket(RateLimit(burst=100_000))
    table = routes(gateway, canned.facts(), bucket, stop)
    return {route.path: route for route in table if route.level == "public"}


async def status_of(route: Route, body: bytes) -> int:
    """The status that this body gets; whatever is no error of the gateway's leaves here."""
    try:
        await route.handle(decode(body, route.body))
    except GatewayError as error:
        return error.http_status
    return 200


async def bodies(scene: Scene, routing: RoutingInfo) -> dict[str, Any]:
    """By path, what a client sends whom the gateway would serve."""
    user, payment = await scene.funded(routing)
    receiving = user.receive(IncomingOrder(2_000_000, START_UNIX_S), routing)
    return {
        "/send_payment": user.body(payment),
        "/create_bolt11_invoice": user.receive_body(receiving),
        "/routing_info": scene.federation_id,
        "/federation_status": {"federation_id": scene.federation_id},
        "/receive_ecash": {"notes": scene.federation.issue_ecash(512).to_text()},
    }


@pytest.mark.parametrize(
    "path",
    [
        "/send_payment",
        "/create_bolt11_invoice",
        "/routing_info",
        "/federation_status",
        "/receive_ecash",
    ],
)
async def test_no_value_from_outside_is_an_error_of_ours(tmp_path: Path, path: str) -> None:
    scene = Scene(tmp_path)
    async with scene.joined() as (gateway, routing):
        route = public_routes(gateway)[path]
        body = msgspec.to_builtins((await bodies(scene, routing))[path])
        refused = 0
        with capture_logs() as logs:
            for wrong in mutations(body):
                # The standard library's, which writes integers of any size.
                encoded = json.dumps(wrong).encode()
                if len(encoded) > limits.PUBLIC_BODY_BYTES:
                    continue
                status = await status_of(route, encoded)
                assert status < 500, encoded[:500]
                refused += status != 200
        assert refused > len(WRONG) // 2
        assert [line for line in logs if line["log_level"] == "error"] == []
        user, payment = await scene.funded(routing)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)
        await until(gateway, payment, send.Claimed)
