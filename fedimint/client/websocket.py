"""The guardian API over WebSocket: JSON-RPC 2.0 in text frames, many requests on one connection.

fedimint-connectors/src/ws.rs and fedimint-server/src/net/api/mod.rs. This file, `websocket_link.py`, one open
socket of it, and `websocket_bytes.py` are the ones of this folder that are bound to asyncio, because of aiohttp.
"""

import asyncio
import base64
import random
import re
import time
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
import anyio

from fedimint.client.backoff import Backoff
from fedimint.client.inflow import MAX_FRAME_BYTES, Inflow
from fedimint.client.transport import (
    Envelope,
    GuardianError,
    GuardianProtocolError,
    GuardianRefused,
    GuardianTimeout,
    GuardianUnreachable,
    cut,
)
from fedimint.client.websocket_bytes import WatchedBytes
from fedimint.client.websocket_link import CLOSE_TIMEOUT_S, Link

MAX_IN_FLIGHT: Final = 512
HEARTBEAT_S: Final = 20.0
CONNECT_TIMEOUT_S: Final = 10.0
# The server cuts every call after 60 s; one silent for longer has forgotten the call.
REQUEST_TIMEOUT_S: Final = 90.0

__all__ = ["MAX_FRAME_BYTES", "WebSocketConnection"]


class WebSocketConnection:
    """A `GuardianConnection` that connects when first asked and again after a loss.

    A request fails at once with GuardianUnreachable while a lost connection backs off (0.5 s
    doubling to 30 s, with jitter, until the guardian has answered and kept to its protocol); callers retry. At
    most `max_in_flight` requests are out, more of them wait. A guardian that sends faster than
    `Inflow` allows is read more slowly; one that answers with more than a method has to say, or twice,
    loses its connection. Bound to the event loop of the first request; asyncio only.
    """

    def __init__(
        self,
        url: str,
        *,
        api_secret: str | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep_s: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Prepare a connection to the guardian at `url`; nothing is sent yet.

        `api_secret` goes with each connection attempt. `jitter` gives numbers in [0, 1).
        """
        self.url = url
        self._target = _without_user(url)
        self._headers = {} if api_secret is None else {"Authorization": _basic(api_secret)}
        self._slots = asyncio.Semaphore(max_in_flight)
        self._request_timeout_s = request_timeout_s
        self._sleep_s = sleep_s
        self._inflow = Inflow(monotonic_s)
        self._backoff = Backoff(monotonic_s, jitter)
        self._session: aiohttp.ClientSession | None = None
        self._watched: WatchedBytes | None = None
        self._link: Link | None = None
        self._connecting = asyncio.Lock()
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

    async def _open_link(self) -> Link:
        async with self._connecting:
            if self._closed:
                raise GuardianUnreachable(f"the connection to {self._target} was closed by us")
            if self._link is not None and self._link.failure is None:
                return self._link
            if self._link is not None:
                lost, self._link = self._link, None
                await lost.aclose()
            self._backoff.check()
            try:
                socket = await self._connect()
            except (GuardianUnreachable, GuardianRefused) as error:
                self._backoff.begin(error, answered=False)
                raise
            assert self._watched is not None
            self._link = Link(
                socket,
                self._watched,
                self._target,
                self._lost,
                inflow=self._inflow,
                sleep_s=self._sleep_s,
            )
            return self._link

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        if not self._target.startswith(("ws://", "wss://")):
            raise GuardianUnreachable(f"{self._target} is no WebSocket URL")
        if self._session is None:
            # Environment proxies and cookies have no business between us and a guardian.
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                trace_configs=[self._watching()],
            )
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await self._session.ws_connect(
                    self._target,
                    headers=self._headers,
                    heartbeat=HEARTBEAT_S,
                    autoping=False,
                    max_msg_size=MAX_FRAME_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                )
        except aiohttp.WSServerHandshakeError as error:
            if error.status == 401:
                raise GuardianRefused(401, "the federation wants another API secret") from error
            raise GuardianUnreachable(
                cut(f"{self._target} refused the upgrade: {error}")
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise GuardianUnreachable(cut(f"cannot connect to {self._target}: {reason}")) from error

    def _watching(self) -> aiohttp.TraceConfig:
        """Puts a watch on the socket of each upgrade, before anything of it is read as frames."""

        async def watch(_: object, __: object, ended: aiohttp.TraceRequestEndParams) -> None:
            connection = ended.response.connection
            if connection is not None and connection.transport is not None:
                self._watched = WatchedBytes(connection.transport)

        tracing = aiohttp.TraceConfig()
        tracing.on_request_end.append(watch)
        return tracing

    def _lost(self, link: Link, failure: GuardianError) -> None:
        # A peer that speaks no protocol has answered nothing, and must wait longer each time.
        is_fair = not isinstance(failure, GuardianProtocolError)
        self._backoff.begin(failure, answered=link.answered and is_fair)


def _without_user(url: str) -> str:
    # Guardians know the API secret only; what a URL carries before "@" stays out of logs too.
    return re.sub(r"(?<=//)[^/@]*@", "", url)


def _basic(api_secret: str) -> str:
    return "Basic " + base64.b64encode(f"fedimint:{api_secret}".encode()).decode()
