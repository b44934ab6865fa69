"""The LND backend against a server made of the same stubs, over TLS."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import grpc
import pytest
from lndgrpc.compiled import router_pb2

from backends.lightning import (
    Balances,
    Failed,
    InFlight,
    NodeInfo,
    NodeRefusedError,
    NodeUnansweredError,
    NotFound,
    PaymentStatus,
    PaymentStatuses,
    Succeeded,
)
from backends.lnd.connection import LndSettings, call_error
from backends.lnd.credentials import Credential
from backends.lnd.node import LndNode
from errors import ConfigError, InputError, PeerError
from tests.backends.lnd.fake_lnd import (
    HASH,
    INVOICE,
    MACAROON,
    PREIMAGE,
    SUCCEEDED,
    Payment,
    aborts,
    answers,
    anyio_backend,  # noqa: F401  # a fixture
    hangs,
    one_event_loop,  # noqa: F401  # a fixture
    payment,
    running,
    write_credentials,
)

pytestmark = pytest.mark.anyio


def pay(node: LndNode, **changes: Any) -> PaymentStatuses:
    order: dict[str, Any] = {"payment_hash": HASH, "max_fee_msat": 2_100, "max_delay_blocks": 40}
    return node.pay(INVOICE, **(order | changes))


async def nothing() -> None:
    """What a test does at each status unless it says otherwise."""


async def follow(
    call: PaymentStatuses,
    seen: list[PaymentStatus],
    then: Callable[[], Awaitable[None]] = nothing,
) -> None:
    async with call as statuses:
        async for status in statuses:
            seen.append(status)
            await then()


async def statuses_of(call: PaymentStatuses) -> list[PaymentStatus]:
    seen: list[PaymentStatus] = []
    await follow(call, seen)
    return seen


async def test_info_and_balances(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        assert await node.info() == NodeInfo("02" + "ab" * 32, "bob", "bitcoin", 812_000, True)
        assert await node.balances() == Balances(70_000, 5_001, 6_001)
        assert lnd.macaroons == [MACAROON.hex()]
        lnd.network = "simnet"
        with pytest.raises(PeerError, match="network"):
            await node.info()


async def test_payment_sends_the_invoice_and_its_budgets(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.send = answers(payment(Payment.IN_FLIGHT), SUCCEEDED)
        assert await statuses_of(pay(node)) == [InFlight(), Succeeded(PREIMAGE, 1_500)]
        assert lnd.requests == [
            router_pb2.SendPaymentRequest(
                payment_request=INVOICE,
                fee_limit_msat=2_100,
                cltv_limit=40,
                timeout_seconds=180,
                time_pref=0.5,
            )
        ]


async def test_budgets_above_what_lnd_takes_are_lowered(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.send = answers(SUCCEEDED)
        await statuses_of(pay(node, max_delay_blocks=5_000, max_fee_msat=2**64))
        assert lnd.requests[0].cltv_limit == 2_016
        assert lnd.requests[0].fee_limit_msat == 2**63 - 1


@pytest.mark.parametrize(
    "changes",
    [
        {"max_delay_blocks": 0},
        {"max_delay_blocks": -1},
        {"max_fee_msat": -1},
        {"payment_hash": b""},
    ],
)
async def test_impossible_budgets_never_leave(tmp_path: Path, changes: dict[str, Any]) -> None:
    async with running(tmp_path) as (lnd, node):
        with pytest.raises(InputError):
            await statuses_of(pay(node, **changes))
        assert lnd.requests == []


@pytest.mark.parametrize("number", [0, 1, 4, 99])
async def test_every_other_status_number_is_in_flight(tmp_path: Path, number: int) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.track = answers(payment(number), payment(Payment.FAILED, failure_reason=2))
        assert await node.lookup(HASH) == InFlight()
        assert await statuses_of(node.track(HASH)) == [
            InFlight(),
            Failed("no route was found within the budgets"),
        ]


async def test_unknown_failure_reason_is_still_a_failure(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.track = answers(payment(Payment.FAILED, failure_reason=77))
        assert await node.lookup(HASH) == Failed("failure reason 77")


async def test_stream_that_ends_early_is_unanswered(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.send = lnd.track = answers(payment(Payment.IN_FLIGHT))
        for call in (pay(node), node.track(HASH)):
            seen: list[PaymentStatus] = []
            with pytest.raises(NodeUnansweredError):
                await follow(call, seen)
            assert seen == [InFlight()]
        lnd.track = answers()
        with pytest.raises(NodeUnansweredError):
            await node.lookup(HASH)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (grpc.StatusCode.UNAVAILABLE, "proxy"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "late"),
        (grpc.StatusCode.CANCELLED, "cancelled over there"),
        (grpc.StatusCode.INTERNAL, "RST_STREAM"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "message too big"),
        (grpc.StatusCode.UNKNOWN, "Stream removed"),
        (grpc.StatusCode.UNKNOWN, "routerrpc server shutting down"),
        (grpc.StatusCode.UNKNOWN, "wallet not created, create one to enable full RPC access"),
        (grpc.StatusCode.UNKNOWN, "wallet locked, unlock it to enable full RPC access"),
    ],
)
async def test_no_word_of_lnd_is_unanswered(
    tmp_path: Path, code: grpc.StatusCode, text: str
) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.send = lnd.track = aborts(code, text)
        with pytest.raises(NodeUnansweredError):
            await statuses_of(pay(node))
        with pytest.raises(NodeUnansweredError):
            await node.lookup(HASH)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (grpc.StatusCode.UNKNOWN, "invoice expired. Valid until yesterday"),
        (grpc.StatusCode.ALREADY_EXISTS, "payment is in transition"),
        (grpc.StatusCode.UNKNOWN, "self-payments not allowed"),
        (grpc.StatusCode.NOT_FOUND, "payment isn't initiated"),
    ],
)
async def test_lnds_own_refusal_of_a_payment(
    tmp_path: Path, code: grpc.StatusCode, text: str
) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.send = aborts(code, text)
        with pytest.raises(NodeRefusedError) as refusal:
            await statuses_of(pay(node))
        assert (refusal.value.code, refusal.value.text) == (code.name, text)


async def test_not_found_is_an_answer_of_lookup_and_track_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.track = aborts(grpc.StatusCode.NOT_FOUND, "payment isn't initiated")
        assert await node.lookup(HASH) == NotFound()
        assert await statuses_of(node.track(HASH)) == [NotFound()]
        lnd.track = aborts(grpc.StatusCode.UNKNOWN, "permission denied")
        with pytest.raises(NodeRefusedError):
            await node.lookup(HASH)


@pytest.mark.parametrize(
    "record",
    [
        payment(Payment.SUCCEEDED, payment_preimage="00" * 32),
        payment(Payment.SUCCEEDED, payment_preimage="no hex"),
        Payment(payment_hash="00" * 32, status=Payment.FAILED),
    ],
)
async def test_answers_that_cannot_be_true(tmp_path: Path, record: Any) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.send = lnd.track = answers(record)
        with pytest.raises(PeerError):
            await node.lookup(HASH)
        with pytest.raises(PeerError):
            await statuses_of(pay(node))


async def test_leaving_the_block_ends_the_call(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        ended = anyio.Event()

        async def watched(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                async for message in hangs(request, context):
                    yield message
            finally:
                ended.set()

        lnd.send = watched
        async with pay(node) as statuses:
            assert await anext(statuses) == InFlight()
        await ended.wait()


async def test_cancelling_a_follower_leaves_cleanly(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.track = hangs
        with anyio.CancelScope() as scope:
            async with node.track(HASH) as statuses:
                async for _ in statuses:
                    scope.cancel()
        assert scope.cancelled_caught
        assert await node.lookup(HASH) == InFlight()


async def test_patience_that_ends_ends_nothing_else(tmp_path: Path) -> None:
    """gRPC swallows a cancellation and raises one of its own; that must not pass for a task's end."""
    scope = anyio.CancelScope()
    async with running(tmp_path) as (lnd, node):
        lnd.is_slow = True

        async def ask() -> None:
            with scope:
                await node.info()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            while not lnd.requests:
                await anyio.lowlevel.checkpoint()
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            assert not tasks.cancel_scope.cancel_called
    assert scope.cancelled_caught


async def test_closing_the_node_ends_open_streams_unanswered(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.track = hangs
        with pytest.raises(NodeUnansweredError):
            await follow(node.track(HASH), [], node.aclose)
        with pytest.raises(NodeUnansweredError):
            await node.info()


async def test_a_dead_server_is_unanswered_until_it_is_back(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, node):
        lnd.track = hangs
        with pytest.raises(NodeUnansweredError):
            await follow(node.track(HASH), [], lnd.stop)
        with pytest.raises(NodeUnansweredError):
            await node.info()
        old = node._connection._channel
        assert old is not None
        # A new certificate and a new macaroon, as after a reinstall: the files are read again.
        write_credentials(tmp_path)
        (tmp_path / "gateway.macaroon").write_bytes(b"another")
        await lnd.start()
        assert (await node.info()).alias == "bob"
        assert lnd.macaroons[-1] == b"another".hex()
        assert old.grpc_channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN


async def test_a_proxy_of_the_environment_does_not_stand_before_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with running(tmp_path) as (_, node):
        assert (await node.info()).alias == "bob"


async def test_missing_credentials_are_no_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, _):
        (tmp_path / "gateway.macaroon").unlink()
        node = LndNode(lnd.settings())
        with pytest.raises(NodeUnansweredError, match=r"gateway\.macaroon"):
            await node.info()
        await node.aclose()


async def test_what_is_no_certificate_is_said_so(tmp_path: Path) -> None:
    async with running(tmp_path) as (lnd, _):
        (tmp_path / "tls.cert").write_text("a host name, perhaps")
        node = LndNode(lnd.settings())
        with pytest.raises(NodeUnansweredError, match=r"tls\.cert is not a certificate in PEM"):
            await node.info()
        await node.aclose()


@pytest.mark.parametrize(
    "values",
    [
        {"time_pref": 1.5},
        {"payment_timeout_s": 0},
        {"payment_timeout_s": 601},
        {"max_delay_cap_blocks": 0},
    ],
)
def test_settings_out_of_range(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        LndSettings("localhost:10009", Credential(), Credential(), **values)


async def test_no_secret_in_a_repr(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, node):
        await node.info()
        assert MACAROON.hex() not in repr(node._connection._channel)
        assert str(MACAROON) not in repr(node._connection._channel)
        assert PREIMAGE.hex() not in repr(Succeeded(PREIMAGE, 1))
        assert repr(PREIMAGE) not in repr(Succeeded(PREIMAGE, 1))


def test_refusal_names_code_and_text() -> None:
    error = call_error(grpc.StatusCode.UNKNOWN, "invoice expired")
    assert str(error) == "the Lightning node refused the call: invoice expired (UNKNOWN)"
