"""The guardian API over WebSocket: JSON-RPC 2.0 in text frames, many requests on one connection.

fedimint-connectors/src/ws.rs and fedimint-server/src/net/api/mod.rs. This is the one file of this
folder bound to asyncio, because of aiohttp.
"""

import asyncio
import base64
import random
import re
import time
from collections.abc import Callable, Mapping
from typing import Final, Literal

import aiohttp
import anyio
import msgspec

from errors import InputError
from fedimint.transport import (
    GUARDIAN_ERRORS,
    Envelope,
    GuardianError,
    GuardianProtocolError,
    GuardianRefused,
    GuardianTimeout,
    GuardianUnreachable,
    error_from_code,
)

MAX_FRAME_BYTES: Final = 10 * 1024 * 1024
MAX_IN_FLIGHT: Final = 512
HEARTBEAT_S: Final = 20.0
CONNECT_TIMEOUT_S: Final = 10.0
# The server cuts every call after 60 s; one silent for longer has forgotten the call.
REQUEST_TIMEOUT_S: Final = 90.0
FIRST_BACKOFF_S: Final = 0.5
MAX_BACKOFF_S: Final = 30.0
CLOSE_TIMEOUT_S: Final = 2.0


class _Request(msgspec.Struct, frozen=True):
    id: int
    method: str
    params: tuple[Envelope]
    jsonrpc: Literal["2.0"] = "2.0"


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str


class _Response(msgspec.Struct, frozen=True):
    jsonrpc: Literal["2.0"]
    id: int
    result: object = msgspec.UNSET
    error: _Error | msgspec.UnsetType = msgspec.UNSET


_decode_response = msgspec.json.Decoder(_Response).decode


class _Link:
    """One open socket: its reader task and the requests waiting on it. It lives once."""

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        label: str,
        on_loss: Callable[["_Link", GuardianError], None],
    ) -> None:
        self._socket = socket
        self._label = label
        self._on_loss = on_loss
        self._waiting: dict[int, asyncio.Future[object | GuardianError]] = {}
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
        # A failure is a result too: an exception nobody fetches would be logged as a mistake.
        answer: asyncio.Future[object | GuardianError] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        try:
            try:
                await self._socket.send_str(frame.decode())
            except (aiohttp.ClientError, OSError, RuntimeError) as error:
                raise GuardianUnreachable(f"lost {self._label} while sending: {error}") from error
            outcome = await answer
            if isinstance(outcome, GUARDIAN_ERRORS):
                raise outcome
            return outcome
        finally:
            self._waiting.pop(request_id, None)

    async def _read(self) -> None:
        failure: GuardianError = GuardianUnreachable(f"lost the connection to {self._label}")
        try:
            while True:
                message = await self._socket.receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._deliver(message.data)
                else:
                    failure = _failure_of_frame(message, self._label)
                    return
        except GuardianProtocolError as error:
            failure = error
        finally:
            self._fail(failure)
            await self._close_socket()

    def _deliver(self, text: str) -> None:
        try:
            response = _decode_response(text)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise GuardianProtocolError(
                f"{self._label} sent no JSON-RPC answer: {error}"
            ) from error
        if not 0 <= response.id < self._next_id:
            raise GuardianProtocolError(f"{self._label} answered a request that was never made")
        has_error = response.error is not msgspec.UNSET
        if has_error == (response.result is not msgspec.UNSET):
            raise GuardianProtocolError(f"{self._label} must send either a result or an error")
        self.answered = True
        # An id we made but no longer wait for belongs to a cancelled caller.
        answer = self._waiting.pop(response.id, None)
        if answer is None or answer.done():
            return
        if isinstance(response.error, _Error):
            answer.set_result(error_from_code(response.error.code, response.error.message))
        else:
            answer.set_result(response.result)

    def _fail(self, failure: GuardianError) -> None:
        self.failure = failure
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_result(_copy(failure))
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
        # A peer that does not close its side must not hold ours open.
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            await self._socket.close()


class WebSocketConnection:
    """A `GuardianConnection` that connects when first asked and again after a loss.

    A request fails at once with GuardianUnreachable while a lost connection backs off (0.5 s
    doubling to 30 s, with jitter, until the guardian has answered something); callers retry. At
    most `max_in_flight` requests are out, more of them wait. Bound to the event loop of the first
    request; asyncio only.
    """

    def __init__(
        self,
        url: str,
        *,
        api_secret: str | None = None,
        overrides: Mapping[str, str] | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        monotonic_s: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Prepare a connection to the guardian at `url`; nothing is sent yet.

        `overrides` maps URLs of the federation's config, such as `iroh://…`, to WebSocket URLs.
        `api_secret` goes with each connection attempt. `jitter` gives numbers in [0, 1).
        """
        self.url = url
        self._target = _without_user(_overridden(url, overrides or {}))
        self._headers = {} if api_secret is None else {"Authorization": _basic(api_secret)}
        self._slots = asyncio.Semaphore(max_in_flight)
        self._request_timeout_s = request_timeout_s
        self._monotonic_s = monotonic_s
        self._jitter = jitter
        self._session: aiohttp.ClientSession | None = None
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()
        self._losses = 0
        self._last_failure = ""
        self._not_before_s = float("-inf")
        self._closed = False

    def __repr__(self) -> str:
        return f"WebSocketConnection({self._target!r})"

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        """Ask the guardian once; see `GuardianConnection.request`."""
        async with self._slots:
            link = await self._open_link()
            try:
                async with asyncio.timeout(self._request_timeout_s):
                    return await link.request(method, Envelope(auth, params))
            except TimeoutError as error:
                raise GuardianTimeout(f"no answer to {method} from {self._target}") from error

    async def aclose(self) -> None:
        """Close the socket and end the reader; later requests raise GuardianUnreachable."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            link, self._link = self._link, None
            if link is not None:
                await link.aclose()
            session, self._session = self._session, None
            if session is not None:
                await session.close()

    async def _open_link(self) -> _Link:
        async with self._connecting:
            if self._closed:
                raise GuardianUnreachable(f"the connection to {self._target} was closed by us")
            if self._link is not None and self._link.failure is None:
                return self._link
            if self._link is not None:
                lost, self._link = self._link, None
                await lost.aclose()
            if self._monotonic_s() < self._not_before_s:
                raise GuardianUnreachable(f"waiting before the next try: {self._last_failure}")
            try:
                socket = await self._connect()
            except (GuardianUnreachable, GuardianRefused) as error:
                self._back_off(error, answered=False)
                raise
            self._link = _Link(socket, self._target, self._lost)
            return self._link

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        if not self._target.startswith(("ws://", "wss://")):
            raise GuardianUnreachable(
                f"{self._target} is no WebSocket URL; give an override for it"
            )
        if self._session is None:
            # Environment proxies and cookies have no business between us and a guardian.
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await self._session.ws_connect(
                    self._target,
                    headers=self._headers,
                    heartbeat=HEARTBEAT_S,
                    max_msg_size=MAX_FRAME_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                )
        except aiohttp.WSServerHandshakeError as error:
            if error.status == 401:
                raise GuardianRefused(401, "the federation wants another API secret") from error
            raise GuardianUnreachable(f"{self._target} refused the upgrade: {error}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise GuardianUnreachable(f"cannot connect to {self._target}: {reason}") from error

    def _lost(self, link: _Link, failure: GuardianError) -> None:
        self._back_off(failure, answered=link.answered)

    def _back_off(self, failure: GuardianError, *, answered: bool) -> None:
        self._last_failure = str(failure)
        self._losses = 1 if answered else self._losses + 1
        longest_s = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(self._losses - 1, 10))
        self._not_before_s = self._monotonic_s() + longest_s * (0.5 + self._jitter() / 2)


def _overridden(url: str, overrides: Mapping[str, str]) -> str:
    # "ws://host:1" and "ws://host:1/" are one URL; an iroh URL keeps its empty path.
    canonical = {key.rstrip("/"): value for key, value in overrides.items()}
    return canonical.get(url.rstrip("/"), url)


def _without_user(url: str) -> str:
    # Guardians know the API secret only; what a URL carries before "@" stays out of logs too.
    return re.sub(r"(?<=//)[^/@]*@", "", url)


def _basic(api_secret: str) -> str:
    return "Basic " + base64.b64encode(f"fedimint:{api_secret}".encode()).decode()


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
