"""Embedded guardians behind real sockets, asked by the gateway's own WebSocket client and by raw frames."""

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import anyio
import pytest

from backends.simulated.chain import SimulatedChain
from devnet.guardians.faults import garbage, wrong_shares
from devnet.guardians.federation import PASSWORD, EmbeddedFederation
from devnet.guardians.server import GuardianServer, serving
from devnet.processes import free_port
from devnet.users.user import EmbeddedUser
from errors import ConfigError, InputError
from fedimint.client.transport import (
    METHOD_NOT_FOUND_CODE,
    GuardianConnection,
    GuardianRefused,
    GuardianTimeout,
    GuardianUnreachable,
)
from fedimint.client.websocket import WebSocketConnection
from fedimint.codec import secp
from fedimint.lnv2 import HashImage, OutgoingContract
from tests.devnet.joined import JoinedFederation

pytestmark = pytest.mark.anyio

CONTRACT_MSAT = 500_000
_KEY = secp.public_key(bytes([9]) * 32)


@pytest.fixture
def anyio_backend() -> str:
    """The server is aiohttp's, which is bound to asyncio."""
    return "asyncio"


def federation(guardians: int = 1, api_secret: str | None = None) -> EmbeddedFederation:
    urls = [f"ws://127.0.0.1:{free_port()}/" for _ in range(guardians)]
    return EmbeddedFederation(
        SimulatedChain(height=10),
        random.Random(5).randbytes,
        guardians=guardians,
        urls=urls,
        api_secret=api_secret,
    )


@asynccontextmanager
async def connected(
    served: EmbeddedFederation, api_secret: str | None = None
) -> AsyncIterator[WebSocketConnection]:
    """A connection to the first guardian that tries again at once after a loss."""
    url = served.config.api_endpoints[served.guardians[0].peer].url
    connection = WebSocketConnection(url, api_secret=api_secret, jitter=lambda: -1.0)
    async with serving(served):
        try:
            yield connection
        finally:
            await connection.aclose()


async def test_answers_over_the_socket_are_the_guardians_own() -> None:
    served = federation()
    guardian = served.guardians[0]
    async with connected(served) as connection:
        for method in ("client_config", "version", "status", "module_0_consensus_block_count"):
            assert await connection.request(method, None) == await guardian.request(method, None)
        with pytest.raises(GuardianRefused) as unknown:
            await connection.request("no_such_method", None)
        assert unknown.value.code == METHOD_NOT_FOUND_CODE
        with pytest.raises(GuardianRefused) as malformed:
            await connection.request("await_transaction", 5)
        assert malformed.value.code == 400
        for auth, code in ((None, 401), (PASSWORD, None)):
            added = connection.request("module_0_add_gateway", "http://g.invalid/", auth=auth)
            if code is None:
                assert await added is True
                continue
            with pytest.raises(GuardianRefused) as refused:
                await added
            assert refused.value.code == code


async def test_a_real_join_and_a_real_payment_over_four_sockets() -> None:
    served = federation(guardians=4)
    served.guardians[3].faults.lie = wrong_shares
    async with serving(served):
        joined = await JoinedFederation.join(served.invite_code().to_text())
        try:
            assert joined.config == served.config
            user = EmbeddedUser(joined, random.Random(6).randbytes)
            user.wallet.add(served.issue_notes(user.wallet.module, 1_024_000))
            contract = OutgoingContract(HashImage(bytes(32)), CONTRACT_MSAT, 200, _KEY, _KEY, _KEY)
            payment = await user.fund_contract(contract, bytes([9]) * 32, "lnbcrt1")
        finally:
            await joined.aclose()
    assert served.audit().contracts_msat == {payment.out_point: CONTRACT_MSAT}
    assert served.audit().is_balanced()


async def test_long_polls_share_a_socket_and_end_when_the_guardian_goes_down() -> None:
    served = federation()
    guardian = served.guardians[0]
    async with connected(served) as connection, anyio.create_task_group() as group:
        asked = anyio.Event()

        async def note(method: str) -> None:
            if method == "await_transaction":
                asked.set()

        async def wait() -> None:
            with pytest.raises(GuardianUnreachable):
                await connection.request("await_transaction", "00" * 32)
            group.cancel_scope.cancel()

        guardian.faults.pause = note
        group.start_soon(wait)
        await asked.wait()
        assert await connection.request("session_count", None) == 0
        guardian.stop()
        await anyio.sleep_forever()


async def test_a_guardian_that_is_back_is_reached_again() -> None:
    served = federation()
    guardian = served.guardians[0]
    async with connected(served) as connection:
        assert await connection.request("session_count", None) == 0
        guardian.stop()
        await expect_unreachable(connection)
        await expect_unreachable(connection)
        guardian.start()
        assert await connection.request("session_count", None) == 0


async def expect_unreachable(connection: GuardianConnection) -> None:
    with pytest.raises(GuardianUnreachable):
        await connection.request("session_count", None)


async def test_faults_act_over_the_socket() -> None:
    served = federation()
    faults = served.faults(0)
    async with connected(served) as connection:
        faults.long_poll_limit_s = 0
        with pytest.raises(GuardianTimeout):
            await connection.request("await_transaction", "00" * 32)
        faults.lie = garbage
        said = await connection.request("session_count", None)
        assert said == {"method": ["session_count", None, -1]}
        faults.loses_answer = "session_count".__eq__
        await expect_unreachable(connection)


async def test_a_federation_with_a_secret_lets_nobody_else_in() -> None:
    served = federation(api_secret="hush")
    assert served.invite_code().api_secret() == "hush"
    async with connected(served, "hush") as connection:
        assert await connection.request("session_count", None) == 0
        for wrong in (None, "hash"):
            stranger = WebSocketConnection(connection.url, api_secret=wrong)
            with pytest.raises(GuardianRefused) as refused:
                await stranger.request("session_count", None)
            assert refused.value.code == 401
            await stranger.aclose()
            with pytest.raises(GuardianRefused):
                served.connect(connection.url, wrong)
    assert served.connect(connection.url, "hush") is served.guardians[0]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", -32700),
        ('{"jsonrpc":"2.0","id":7,"method":"session_count","params":[]}', -32602),
        ('{"jsonrpc":"2.0","id":7,"method":"session_count","params":[{"auth":3}]}', 400),
    ],
)
async def test_frames_that_are_no_request(frame: str, code: int) -> None:
    served = federation()
    async with connected(served) as connection, aiohttp.ClientSession() as session:
        socket = await session.ws_connect(connection.url)
        await socket.send_bytes(b"ignored")
        await socket.send_str(frame)
        answer = json.loads((await socket.receive()).data)
        assert answer["error"]["code"] == code
        assert answer["id"] in (7, None)
        await socket.close()


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1/", "wss://127.0.0.1:80/", "ws://example.invalid:80/"]
)
def test_only_loopback_urls_can_be_served(url: str) -> None:
    with pytest.raises(ConfigError):
        GuardianServer(federation().guardians[0], url)


def test_every_guardian_needs_a_url() -> None:
    with pytest.raises(InputError):
        EmbeddedFederation(SimulatedChain(), random.Random(5).randbytes, urls=[])
