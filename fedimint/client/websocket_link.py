"""One open socket to a guardian: its requests, and which answers are read and decoded.

JSON-RPC 2.0 (fedimint-connectors/src/ws.rs). What a guardian sends is read no faster than `inflow.py` says, and an
answer is decoded only while somebody waits for it. Bound to asyncio, because of aiohttp.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Literal, NamedTuple, TypeVar

import aiohttp
import anyio
import msgspec

from errors import InputError
from fedimint.client.inflow import MAX_FRAME_BYTES, Inflow, max_answer_bytes
from fedimint.client.transport import (
    GUARDIAN_ERRORS,
    Envelope,
    GuardianError,
    GuardianProtocolError,
    GuardianRefused,
    GuardianUnreachable,
    cut,
    error_from_code,
)
from fedimint.client.websocket_bytes import WatchedBytes

CLOSE_TIMEOUT_S: Final = 2.0
MAX_LATE: Final = 65_536
"""Abandoned questions, whose answers may still come; guardians cut each after 60 s."""

T = TypeVar("T")


class _Request(msgspec.Struct, frozen=True):
    id: int
    method: str
    params: tuple[Envelope]
    jsonrpc: Literal["2.0"] = "2.0"


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str


class _Response(msgspec.Struct, frozen=True):
    """An answer whose result is not decoded yet: of a field that is missing, there are no bytes."""

    jsonrpc: Literal["2.0"]
    id: int
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_decode_response = msgspec.json.Decoder(_Response).decode
_decode_result = msgspec.json.Decoder().decode
_decode_error = msgspec.json.Decoder(_Error).decode


class _Question(NamedTuple):
    """Somebody waits for the answer. A failure is a result too: an exception nobody fetches would be logged."""

    method: str
    answer: "asyncio.Future[object | GuardianError]"


class Link:
    """One open socket: its reader task and the requests waiting on it. It lives once."""

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        watched: WatchedBytes,
        label: str,
        on_loss: Callable[["Link", GuardianError], None],
        *,
        inflow: Inflow,
        sleep_s: Callable[[float], Awaitable[None]],
    ) -> None:
        self._socket = socket
        self._watched = watched
        self._label = label
        self._on_loss = on_loss
        self._inflow = inflow
        self._sleep_s = sleep_s
        self._waiting: dict[int, _Question] = {}
        self._late: dict[int, None] = {}
        self._next_id = 0
        self.failure: GuardianError | None = None
        self.answered = False
        self._reader = asyncio.create_task(self._read())

    async def request(self, method: str, envelope: Envelope) -> object:
        request_id = self._next_id
        frame = msgspec.json.encode(_Request(request_id, method, (envelope,)))
        if len(frame) > MAX_FRAME_BYTES:
            raise InputError(f"request {method} of {len(frame)} bytes is too large for a guardian")
        if self.failure is not None:
            raise _copy(self.failure)
        self._next_id += 1
        question = _Question(method, asyncio.get_running_loop().create_future())
        self._waiting[request_id] = question
        try:
            try:
                await self._socket.send_str(frame.decode())
            except (aiohttp.ClientError, OSError, RuntimeError) as error:
                raise GuardianUnreachable(f"lost {self._label} while sending: {error}") from error
            outcome = await question.answer
            if isinstance(outcome, GUARDIAN_ERRORS):
                raise outcome
            return outcome
        finally:
            if self._waiting.pop(request_id, None) is not None:
                self._expect_late(request_id)

    def _expect_late(self, request_id: int) -> None:
        if len(self._late) == MAX_LATE:
            del self._late[next(iter(self._late))]
        self._late[request_id] = None

    async def _read(self) -> None:
        failure: GuardianError = GuardianUnreachable(f"lost the connection to {self._label}")
        try:
            while True:
                message = await self._socket.receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._deliver(message.data)
                    await self._let_pass(message.data)
                elif message.type is aiohttp.WSMsgType.PING:
                    # Not left to aiohttp, which would answer any number of them unseen.
                    await self._socket.pong(message.data)
                    await self._let_pass(message.data)
                elif message.type is aiohttp.WSMsgType.PONG:
                    await self._let_pass(message.data)
                else:
                    failure = self._failure_of(message)
                    return
        except GuardianProtocolError as error:
            failure = error
        finally:
            self._fail(failure)
            await self._close_socket()

    def _failure_of(self, message: aiohttp.WSMessage) -> GuardianError:
        if self._watched.is_too_much:
            return GuardianProtocolError(f"{self._label} sent much that became no message")
        return _failure_of_frame(message, self._label)

    async def _let_pass(self, data: str | bytes) -> None:
        """Read nothing for a while when the guardian sends too fast; what it sends meanwhile waits at its side.

        Others have a turn between any two messages: thousands of short ones may be there already.
        """
        size = len(data.encode()) if isinstance(data, str) and not data.isascii() else len(data)
        self._watched.said(size)
        pause_s = self._inflow.pause_s(size)
        await (self._sleep_s(pause_s) if pause_s else asyncio.sleep(0))

    def _deliver(self, text: str) -> None:
        response = self._decoded(_decode_response, text)
        if not 0 <= response.id < self._next_id:
            raise GuardianProtocolError(f"{self._label} answered a request that was never made")
        if bool(response.error) == bool(response.result):
            raise GuardianProtocolError(f"{self._label} must send either a result or an error")
        question = self._waiting.get(response.id)
        if question is None:
            # Of a caller that left there may be one answer more.
            if self._late.pop(response.id, 0) is not None:
                raise GuardianProtocolError(f"{self._label} answered a request twice")
            return
        outcome = self._outcome(question.method, response)
        del self._waiting[response.id]
        self.answered = True
        if not question.answer.done():
            question.answer.set_result(outcome)

    def _outcome(self, method: str, response: _Response) -> object | GuardianError:
        """The result as builtins, or the guardian's error. Raises GuardianProtocolError for one that is too long."""
        is_error = bool(response.error)
        encoded = response.error if is_error else response.result
        if len(memoryview(encoded)) > max_answer_bytes(method):
            raise GuardianProtocolError(
                f"{self._label} answered {method} with more than {max_answer_bytes(method)} bytes"
            )
        if is_error:
            error = self._decoded(_decode_error, encoded)
            return error_from_code(error.code, error.message)
        result: object = self._decoded(_decode_result, encoded)
        return result

    def _decoded(self, decode: Callable[[str | msgspec.Raw], T], text: str | msgspec.Raw) -> T:
        try:
            return decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise GuardianProtocolError(
                f"{self._label} sent no JSON-RPC answer: {cut(str(error))}"
            ) from error

    def _fail(self, failure: GuardianError) -> None:
        self.failure = failure
        for question in self._waiting.values():
            if not question.answer.done():
                question.answer.set_result(_copy(failure))
        self._waiting.clear()
        self._on_loss(self, failure)

    async def aclose(self) -> None:
        self._reader.cancel()
        # Unlike awaiting the task, this does not mistake its cancellation for our own.
        await asyncio.wait([self._reader])
        if self.failure is None:  # cancelled before its first step
            self._fail(GuardianUnreachable(f"the connection to {self._label} was closed by us"))
            await self._close_socket()

    async def _close_socket(self) -> None:
        # A peer that does not close its side must not hold ours open, and what it has sent is no longer read.
        self._watched.abort()
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            await self._socket.close()


def _failure_of_frame(message: aiohttp.WSMessage, label: str) -> GuardianError:
    if message.type is aiohttp.WSMsgType.BINARY:
        return GuardianProtocolError(f"{label} sent a binary frame")
    if isinstance(message.data, aiohttp.WebSocketError):
        return GuardianProtocolError(f"{label} sent a broken frame: {message.data}")
    return GuardianUnreachable(f"lost the connection to {label}")


def _copy(failure: GuardianError) -> GuardianError:
    # One exception object raised in several tasks would gather all their tracebacks.
    if isinstance(failure, GuardianRefused):
        return GuardianRefused(failure.code, failure.message)
    return type(failure)(*failure.args)
