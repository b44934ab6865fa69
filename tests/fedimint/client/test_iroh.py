"""The iroh transport over links that a test plays, on any event loop; `tests/native` has it over real ones."""

import json
from collections.abc import Awaitable, Callable

import anyio
import pytest

from errors import InputError
from fedimint.client import iroh
from fedimint.client.iroh import IrohConnection, IrohLink
from fedimint.client.transport import (
    GuardianProtocolError,
    GuardianRefused,
    GuardianTimeout,
    GuardianUnreachable,
    module_method,
)

pytestmark = pytest.mark.anyio

URL = "iroh://" + "00" * 32
Serve = Callable[[dict[str, object]], Awaitable[bytes]]


class PlayedLink:
    """Answers by `serve`, until it is closed."""

    def __init__(self, serve: Serve) -> None:
        self.serve = serve
        self.ended: str | None = None
        self.code: int | None = None
        self.asked = 0
        self.over = anyio.Event()

    async def ask(self, request: bytes, max_answer_bytes: int) -> bytes:
        self.asked += 1
        answers: list[bytes] = []
        async with anyio.create_task_group() as group:

            async def until_over() -> None:
                await self.over.wait()
                group.cancel_scope.cancel()

            group.start_soon(until_over)
            answers.append(await self.serve(json.loads(request)))
            group.cancel_scope.cancel()
        if not answers:
            raise GuardianUnreachable("connection lost")
        if len(answers[0]) > max_answer_bytes:
            raise GuardianProtocolError(f"more than {max_answer_bytes} bytes")
        if not answers[0]:
            raise GuardianProtocolError("nothing")
        return answers[0]

    def end(self) -> str | None:
        return self.ended

    def close(self, code: int, reason: str) -> None:
        self.code = code
        self.drop(reason)

    def drop(self, reason: str = "dropped") -> None:
        self.ended = reason
        self.over.set()


class PlayedNode:
    """A guardian that serves every connection alike."""

    def __init__(self, serve: Serve) -> None:
        self.serve = serve
        self.links: list[PlayedLink] = []
        self.is_there = True

    async def dial(self) -> IrohLink:
        await anyio.lowlevel.checkpoint()
        if not self.is_there:
            raise GuardianUnreachable("nobody is there")
        self.links.append(PlayedLink(self.serve))
        return self.links[-1]


def ok(result: object) -> bytes:
    return json.dumps({"Ok": result}).encode()


async def echo(request: dict[str, object]) -> bytes:
    return ok(request)


async def silent(_: dict[str, object]) -> bytes:
    await anyio.sleep_forever()
    raise AssertionError


async def test_a_request_carries_method_auth_and_params() -> None:
    connection = IrohConnection(URL, PlayedNode(echo))
    assert await connection.request(module_method(2, "shares"), {"a": [1]}, auth="secret") == {
        "method": {"Module": [2, "shares"]},
        "request": {"auth": "secret", "params": {"a": [1]}},
    }
    assert await connection.request("module_x_shares", None) == {
        "method": {"Core": "module_x_shares"},
        "request": {"auth": None, "params": None},
    }


async def test_null_is_a_result() -> None:
    async def null(_: dict[str, object]) -> bytes:
        return b'{"Ok":null}'

    assert await IrohConnection(URL, PlayedNode(null)).request("status", None) is None


@pytest.mark.parametrize(
    ("code", "kind"), [(-32000, GuardianTimeout), (404, GuardianRefused), (500, GuardianRefused)]
)
async def test_error_codes(code: int, kind: type[Exception]) -> None:
    async def refuse(_: dict[str, object]) -> bytes:
        return json.dumps({"Err": {"code": code, "message": "m" * 10_000}}).encode()

    node = PlayedNode(refuse)
    connection = IrohConnection(URL, node)
    for _ in range(2):
        with pytest.raises(kind) as caught:
            await connection.request("x", None)
        assert len(str(caught.value)) < 1_000
    # An error is an answer.
    assert len(node.links) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"Ok":1,"Err":{"code":1,"message":"both"}}',
        b'{"ok":1}',
        b'{"Ok":1,"more":2}',
        b'{"Err":{"code":"1","message":"text"}}',
        b'{"Err":null}',
        b'{"Ok":' + b"9" * 5_000 + b"}",
        b'{"Ok":' + b"[" * 20_000,
        b'{"Ok":1}{"Ok":2}',
        b'{"Ok":"\xff"}',
    ],
    ids=lambda answer: repr(answer[:40]),
)
async def test_a_malformed_answer_ends_its_connection_and_nothing_else(answer: bytes) -> None:
    async def hostile_once(request: dict[str, object]) -> bytes:
        asked = request["request"]
        assert isinstance(asked, dict)
        return ok("fine") if asked["params"] == "good" else answer

    now_s = [0.0]
    node = PlayedNode(hostile_once)
    connection = IrohConnection(URL, node, monotonic_s=lambda: now_s[0])
    with pytest.raises(GuardianProtocolError, match=f"{URL} answered x with ") as caught:
        await connection.request("x", "bad")
    assert len(str(caught.value)) < 1_000
    assert node.links[0].code == iroh.BROKE_PROTOCOL
    with pytest.raises(GuardianUnreachable, match="waiting before the next try"):
        await connection.request("x", "good")
    now_s[0] += 0.5
    assert await connection.request("x", "good") == "fine"
    assert len(node.links) == 2


@pytest.mark.parametrize(
    ("method", "most"),
    [("session_count", 64 * 1024), ("module_3_recovery_slice", 512 * 1024)],
)
async def test_an_answer_is_no_longer_than_its_method_has_to_say(method: str, most: int) -> None:
    size = most

    async def long(_: dict[str, object]) -> bytes:
        return ok("x" * (size - 2))

    connection = IrohConnection(URL, PlayedNode(long))
    assert await connection.request(method, None) == "x" * (most - 2)
    size += 1
    with pytest.raises(GuardianProtocolError, match=f"answered {method} with more than {most}"):
        await connection.request(method, None)


async def test_long_polls_of_one_connection_leave_room_for_short_calls() -> None:
    """A guardian works on fifty requests of a connection, and lets others wait behind those."""

    async def serve(request: dict[str, object]) -> bytes:
        return await (silent if request["method"] == {"Core": "await_x"} else echo)(request)

    node = PlayedNode(serve)
    connection = IrohConnection(URL, node)
    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(connection.request, "await_x", None)
        await anyio.wait_all_tasks_blocked()
        assert await connection.request("status", None) is not None
        assert [link.asked for link in node.links] == [40, 40, 21]
        group.cancel_scope.cancel()
    # Whoever was cancelled has made room.
    assert await connection.request("status", None) is not None
    assert [link.asked for link in node.links] == [41, 40, 21]


async def test_requests_out_at_once_are_bounded() -> None:
    node = PlayedNode(silent)
    connection = IrohConnection(URL, node, max_in_flight=3)
    async with anyio.create_task_group() as group:
        for _ in range(9):
            group.start_soon(connection.request, "await_x", None)
        await anyio.wait_all_tasks_blocked()
        assert [link.asked for link in node.links] == [3]
        group.cancel_scope.cancel()


async def test_a_drop_fails_what_is_pending_and_one_pause_follows() -> None:
    now_s = [0.0]
    node = PlayedNode(silent)
    connection = IrohConnection(URL, node, monotonic_s=lambda: now_s[0], jitter=lambda: 1.0)
    lost: list[str] = []

    async def ask() -> None:
        with pytest.raises(GuardianUnreachable) as caught:
            await connection.request("await_x", None)
        lost.append(str(caught.value))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        node.links[0].drop()
    assert lost == ["connection lost"] * 5
    # Five lost requests are one lost connection.
    now_s[0] += 0.5
    node.serve = echo
    assert await connection.request("status", None) is not None


async def test_a_connection_that_ends_while_idle_is_no_loss() -> None:
    """As guardians end it after five minutes."""
    node = PlayedNode(echo)
    connection = IrohConnection(URL, node)
    await connection.request("status", None)
    node.links[0].drop("idle timeout")
    await connection.request("status", None)
    assert len(node.links) == 2


async def test_a_lost_stream_alone_keeps_its_connection() -> None:
    async def reset(_: dict[str, object]) -> bytes:
        raise GuardianUnreachable("stream reset by peer")

    node = PlayedNode(reset)
    connection = IrohConnection(URL, node)
    for _ in range(2):
        with pytest.raises((GuardianUnreachable, ExceptionGroup)):
            await connection.request("status", None)
    assert len(node.links) == 1
    assert node.links[0].code is None


async def test_backoff_grows_to_thirty_seconds_and_an_answer_resets_it() -> None:
    now_s = [0.0]
    node = PlayedNode(echo)
    node.is_there = False
    connection = IrohConnection(URL, node, monotonic_s=lambda: now_s[0], jitter=lambda: 1.0)
    for backoff_s in [0.5, 1, 2, 4, 8, 16, 30, 30]:
        with pytest.raises(GuardianUnreachable, match=f"cannot connect to {URL}: nobody is there"):
            await connection.request("x", None)
        now_s[0] += backoff_s - 0.01
        with pytest.raises(GuardianUnreachable, match="waiting"):
            await connection.request("x", None)
        now_s[0] += 0.01
    node.is_there = True
    await connection.request("x", None)


async def test_a_silent_guardian_is_a_timeout_and_loses_its_connection() -> None:
    node = PlayedNode(silent)
    connection = IrohConnection(URL, node, request_timeout_s=0.0)
    with pytest.raises(GuardianTimeout):
        await connection.request("status", None)
    assert node.links[0].code == iroh.TIMED_OUT


async def test_a_long_poll_without_an_answer_is_a_timeout_alone() -> None:
    node = PlayedNode(silent)
    connection = IrohConnection(URL, node, request_timeout_s=0.0)
    for method in ("await_transaction", "module_0_await_preimage", "wait_signature_x"):
        with pytest.raises(GuardianTimeout):
            await connection.request(method, None)
    assert len(node.links) == 1
    assert node.links[0].code is None


async def test_a_dial_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iroh, "DIAL_TIMEOUT_S", 0.0)

    class Deaf:
        async def dial(self) -> IrohLink:
            await anyio.sleep_forever()
            raise AssertionError

    connection = IrohConnection(URL, Deaf())
    with pytest.raises(GuardianUnreachable, match="cannot connect"):
        await connection.request("x", None)


async def test_closing_fails_what_is_pending_and_what_comes_after() -> None:
    node = PlayedNode(silent)
    connection = IrohConnection(URL, node)

    async def ask() -> None:
        with pytest.raises(GuardianUnreachable):
            await connection.request("x", None)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        await connection.aclose()
    with pytest.raises(GuardianUnreachable, match="closed by us"):
        await connection.request("x", None)
    await connection.aclose()


async def test_a_connection_dialled_while_we_close_is_closed() -> None:
    go_on = anyio.Event()
    node = PlayedNode(echo)

    class Slow:
        async def dial(self) -> IrohLink:
            await go_on.wait()
            return await node.dial()

    connection = IrohConnection(URL, Slow())

    async def ask() -> None:
        with pytest.raises(GuardianUnreachable, match="closed by us"):
            await connection.request("x", None)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        await connection.aclose()
        go_on.set()
    assert node.links[0].code == iroh.LEFT


async def test_a_request_too_large_for_a_guardian_never_leaves() -> None:
    node = PlayedNode(echo)
    connection = IrohConnection(URL, node)
    with pytest.raises(InputError):
        await connection.request("x", "y" * iroh.MAX_REQUEST_BYTES)
    assert node.links == []


async def test_the_longest_transaction_that_a_gateway_makes_is_none_of_these() -> None:
    connection = IrohConnection(URL, PlayedNode(echo))
    assert await connection.request("submit_transaction", (bytes(49_900 + 3).hex(),))
