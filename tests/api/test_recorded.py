"""Every recorded request of clients and the Rust gateway-cli, sent to our HTTP API."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import bcrypt
import pytest
from structlog.testing import capture_logs

from api.auth import PasswordCheck
from api.http_server import serving
from api.testing.gateway import CannedGateway
from api.testing.http import canned_app
from tests.api.recorded import CAPTURE

pytestmark = pytest.mark.anyio

PASSWORD = "pw"
FED = "01" * 32
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
#: Fields of ours beside those of Rust.
OURS = {"open_payments", "problems", "frozen_until", "exposures", "amount_sats"}
#: Their names are ids of federations, kinds of transports, and those of the last event.
KEYED = {"federation_fake_scids", "registrations", "payload"}
RECORDED = [json.loads(line) for line in CAPTURE.read_text().splitlines()]
#: Of modules of version 1, which this gateway does not serve.
VERSION_1 = "/pay_invoice"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    app = canned_app(CannedGateway(), PasswordCheck(HASH))
    with capture_logs():
        async with (
            serving(app, "127.0.0.1", 0) as (host, port),
            aiohttp.ClientSession(f"http://{host}:{port}") as session,
        ):
            yield session


def of_ours(request: Any) -> Any:
    """The request, about the one federation that the canned gateway serves."""
    if isinstance(request, str):
        return FED
    return {**request, "federation_id": FED} if "federation_id" in request else request


def alike(ours: Any, theirs: Any) -> bool:
    """Whether both have the same names and types at every depth; null fits any, a list is known by its first."""
    if ours is None or theirs is None:
        return True
    if isinstance(ours, dict) and isinstance(theirs, dict):
        names = set(ours) - OURS
        return names == set(theirs) and all(
            alike(ours[name], theirs[name]) for name in names - KEYED
        )
    if isinstance(ours, list) and isinstance(theirs, list):
        return not (ours and theirs) or alike(ours[0], theirs[0])
    return type(ours) is type(theirs)


async def test_what_was_asked_of_a_rust_gateway_is_answered_alike(
    client: aiohttp.ClientSession,
) -> None:
    asked = [one for one in RECORDED if one["path"] != VERSION_1 and one["status"] == 200]
    assert len({one["path"] for one in asked}) > 15
    # What their fields are called depends on ids, or on how a payment ended.
    maps = {"/invite_codes", "/config", "/send_payment"}
    for one in asked:
        body = None if one["method"] == "GET" else json.dumps(of_ours(one["request"]))
        async with client.request(
            one["method"],
            one["path"],
            data=body,
            headers={"Authorization": f"Bearer {PASSWORD}", "Content-Type": "application/json"},
        ) as response:
            text = await response.text()
            assert response.status == 200, (one["path"], text)
            assert response.content_type == one["content_type"].partition(";")[0]
            if one["path"] not in maps and one["response"] is not None:
                assert alike(json.loads(text), one["response"]), (one["path"], text)
