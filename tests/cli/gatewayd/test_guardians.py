"""How each guardian is reached: over WebSocket, over iroh with the native part, or not, which it then says."""

import random
import sys
from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from backends.simulated.chain import SimulatedChain
from cli.gatewayd.guardians import Reach, guardian_connections
from cli.gatewayd.reach_settings import ReachSettings, read_reach
from devnet.guardians.federation import EmbeddedFederation
from errors import ConfigError
from fedimint.client.iroh import IrohConnection, IrohLink
from fedimint.client.query import FederationUnavailable
from fedimint.client.transport import GuardianConnection, GuardianOutOfReach, GuardianUnreachable
from fedimint.client.websocket import WebSocketConnection
from fedimint.discovery import download_config

NODE_ID = "ab" * 32
IROH_URL = f"iroh://{NODE_ID}"

pytestmark = pytest.mark.anyio


class Node:
    """Of this id; nobody is there."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id

    async def dial(self) -> IrohLink:
        raise GuardianUnreachable(f"dialled {self.node_id}")


def reach(environ: Mapping[str, str] | None = None, *, has_iroh: bool = True) -> Reach:
    nodes = Node if has_iroh else None
    return Reach(read_reach(None, environ or {}), nodes)


async def test_each_scheme_has_its_transport() -> None:
    assert isinstance(reach().connect("wss://one.example/", "secret"), WebSocketConnection)
    for url in (IROH_URL, IROH_URL + "/", IROH_URL.upper().replace("IROH", "iroh")):
        connection = reach().connect(url, None)
        assert isinstance(connection, IrohConnection)
        with pytest.raises(GuardianUnreachable, match=f"{IROH_URL}: dialled {NODE_ID}"):
            await connection.request("x", None)


@pytest.mark.parametrize("key", [IROH_URL, IROH_URL + "/"])
@pytest.mark.parametrize("url", [IROH_URL, IROH_URL + "/"])
@pytest.mark.parametrize("has_iroh", [True, False])
async def test_an_override_replaces_the_url(key: str, url: str, *, has_iroh: bool) -> None:
    overrides = {"FM_WS_API_CONNECT_OVERRIDES": f"ws://other=ws://x, {key}=ws://127.0.0.1:1,"}
    connection = reach(overrides, has_iroh=has_iroh).connect(url, "secret")
    assert isinstance(connection, WebSocketConnection)
    assert connection.url == "ws://127.0.0.1:1"


async def test_an_override_may_lead_to_another_node() -> None:
    other = "cd" * 32
    overrides = {"FM_WS_API_CONNECT_OVERRIDES": f"{IROH_URL}=iroh://{other}"}
    with pytest.raises(GuardianUnreachable, match=f"dialled {other}"):
        await reach(overrides).connect(IROH_URL, None).request("x", None)


async def test_without_the_native_part_a_guardian_says_what_to_install() -> None:
    connection = reach(has_iroh=False).connect(IROH_URL, None)
    with pytest.raises(GuardianOutOfReach) as caught:
        await connection.request("client_config", None)
    assert "uv sync --extra native" in str(caught.value)
    assert "FM_WS_API_CONNECT_OVERRIDES" in str(caught.value)
    await connection.aclose()


async def test_an_api_secret_is_never_left_out() -> None:
    with pytest.raises(GuardianOutOfReach, match="API secret") as caught:
        await reach().connect(IROH_URL, "hush").request("x", None)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("rest", ["", "00", NODE_ID + "/v1", "x" * 64, f"u:pw@{NODE_ID}"])
async def test_what_is_no_node_of_ours_is_out_of_reach(rest: str) -> None:
    with pytest.raises(GuardianOutOfReach, match="no guardian's URL"):
        await reach().connect(f"iroh://{rest}", None).request("x", None)


def embedded(urls: list[str]) -> EmbeddedFederation:
    chain = SimulatedChain(height=10)
    return EmbeddedFederation(chain, random.Random(5).randbytes, guardians=len(urls), urls=urls)


async def no_second_try(seconds: float) -> None:
    raise AssertionError(seconds)


async def test_without_the_native_part_a_federation_of_iroh_alone_is_refused_at_once() -> None:
    federation = embedded([f"iroh://{number:064x}" for number in range(4)])
    with pytest.raises(FederationUnavailable, match="uv sync --extra native"):
        await download_config(
            federation.invite_code(), reach(has_iroh=False).connect, sleep_s=no_second_try
        )


async def test_without_the_native_part_a_mixed_federation_is_served_through_the_others() -> None:
    federation = embedded([IROH_URL, *(f"ws://127.0.0.1:{number}/" for number in (1, 2, 3))])

    def connect(url: str, api_secret: str | None) -> GuardianConnection:
        if url == IROH_URL:
            return reach(has_iroh=False).connect(url, api_secret)
        return federation.connect(url, api_secret)

    invite = federation.invite_code()
    assert await download_config(invite, connect, sleep_s=no_second_try) == federation.config


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_log_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    monkeypatch.setitem(sys.modules, "fedimint_gateway_native.iroh", None)
    monkeypatch.delitem(sys.modules, "cli.gatewayd.iroh_nodes", raising=False)
    with capture_logs() as lines:
        async with guardian_connections(ReachSettings()) as connect:
            with pytest.raises(GuardianOutOfReach):
                await connect(IROH_URL, None).request("x", None)
            assert isinstance(connect("ws://x", None), WebSocketConnection)
    (line,) = lines
    assert (line["event"], line["module"]) == ("native_part_missing", "iroh")
    assert line["to_install"] == "uv sync --extra native"


def test_defaults_are_those_of_fedimint() -> None:
    assert read_reach(None, {}) == ReachSettings()
    assert read_reach("", {"FM_IROH_N0_DISCOVERY_ENABLE": ""}) == ReachSettings()


def test_all_of_it() -> None:
    environ = {
        "FM_IROH_N0_DISCOVERY_ENABLE": "false",
        "FM_IROH_PKARR_RESOLVER_ENABLE": "0",
        "FM_IROH_CONNECT_OVERRIDES_PLAIN": f"{NODE_ID}=127.0.0.1:1,{'cd' * 32}=[::1]:2",
        "FM_GW_IROH_CONNECT_OVERRIDES_PLAIN": f"{NODE_ID.upper()}=127.0.0.1:3",
    }
    assert read_reach("https://dns.example", environ) == ReachSettings(
        pkarr="https://dns.example",
        resolves_pkarr=False,
        uses_n0=False,
        addresses={NODE_ID: "127.0.0.1:3", "cd" * 32: "[::1]:2"},
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FM_IROH_N0_DISCOVERY_ENABLE", "yes"),
        ("FM_IROH_PKARR_RESOLVER_ENABLE", "False"),
        ("FM_IROH_CONNECT_OVERRIDES_PLAIN", NODE_ID),
        ("FM_IROH_CONNECT_OVERRIDES_PLAIN", f"{NODE_ID}=localhost:1"),
        ("FM_IROH_CONNECT_OVERRIDES_PLAIN", f"{NODE_ID}=127.0.0.1:0"),
        ("FM_IROH_CONNECT_OVERRIDES_PLAIN", f"{NODE_ID}=127.0.0.1:65536"),
        ("FM_IROH_CONNECT_OVERRIDES_PLAIN", f"{NODE_ID}=::1:2"),
        ("FM_GW_IROH_CONNECT_OVERRIDES_PLAIN", "00=127.0.0.1:1"),
        ("FM_WS_API_CONNECT_OVERRIDES", IROH_URL),
        ("FM_WS_API_CONNECT_OVERRIDES", f"{IROH_URL}=http://127.0.0.1:1"),
    ],
)
def test_a_mistake_is_told_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        read_reach(None, {name: value})


def test_a_pkarr_server_is_a_url() -> None:
    with pytest.raises(ConfigError, match="--iroh-dns"):
        read_reach("dns.example", {})
