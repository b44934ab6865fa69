"""Embedded guardians over loopback WebSockets: JSON-RPC 2.0 as fedimintd speaks it.

Sources: fedimint-server src/net/api/mod.rs and src/net/api/http_auth.rs. A gateway process reaches
them like any federation, and their faults act over the socket too: a guardian that is down closes its
connections and takes no new ones. This file is bound to asyncio, because of aiohttp.
"""

import base64
import hmac
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import anyio
import msgspec
from aiohttp import WSMsgType, web

from devnet.guardians.federation import EmbeddedFederation
from devnet.guardians.guardian import BAD_REQUEST, EmbeddedGuardian
from errors import ConfigError
from fedimint.client.transport import (
    TIMEOUT_CODE,
    Envelope,
    GuardianRefused,
    GuardianTimeout,
    GuardianUnreachable,
)
from fedimint.client.websocket import MAX_FRAME_BYTES

PING_S: Final = 10.0
PARSE_ERROR_CODE: Final = -32700
INVALID_PARAMS_CODE: Final = -32602


class _Request(msgspec.Struct, frozen=True):
    id: int | str
    method: str
    params: tuple[object, ...] = ()


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str


class _Result(msgspec.Struct, frozen=True):
    id: int | str
    result: object
    jsonrpc: str = "2.0"


class _Failure(msgspec.Struct, frozen=True):
    id: int | str | None
    error: _Error
    jsonrpc: str = "2.0"


@asynccontextmanager
async def serving(federation: EmbeddedFederation) -> AsyncIterator[None]:
    """Serve all guardians at the URLs the federation was dealt with, until the end of the block.

    Raises as `GuardianServer` does.
    """
    async with AsyncExitStack() as stack:
        for guardian in federation.guardians:
            url = federation.config.api_endpoints[guardian.peer].url
            server = GuardianServer(guardian, url, federation.api_secret)
            stack.push_async_callback(server.aclose)
            await server.start()
        yield


class GuardianServer:
    """One guardian at the loopback port that `url` names; start it once.

    With an `api_secret`, an upgrade that lacks it is answered with 401.
    """

    def __init__(self, guardian: EmbeddedGuardian, url: str, api_secret: str | None = None) -> None:
        """Raises ConfigError for a URL other than `ws://127.0.0.1:PORT/`."""
        address = urlsplit(url)
        if (address.scheme, address.hostname) != ("ws", "127.0.0.1") or not address.port:
            raise ConfigError(f"embedded guardians are served at ws://127.0.0.1:PORT/, not {url}")
        self._guardian = guardian
        self._port = address.port
        self._authorization = None if api_secret is None else _basic(api_secret)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        app = web.Application()
        app.router.add_get("/", self._upgrade)
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def aclose(self) -> None:
        """Close all connections and stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        if self._guardian.faults.is_down:
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        if not self._is_authorised(request.headers.get("Authorization", "")):
            return web.Response(status=HTTPStatus.UNAUTHORIZED)
        socket = web.WebSocketResponse(heartbeat=PING_S, max_msg_size=MAX_FRAME_BYTES)
        await socket.prepare(request)
        await self._converse(socket)
        return socket

    def _is_authorised(self, authorization: str) -> bool:
        if self._authorization is None:
            return True
        return hmac.compare_digest(self._authorization.encode(), authorization.encode())

    async def _converse(self, socket: web.WebSocketResponse) -> None:
        """Serve until a side goes. Each request is a task: a long poll holds up no other."""
        async with anyio.create_task_group() as group:

            async def serve(frame: str) -> None:
                try:
                    answer = await self._answer(frame)
                except GuardianUnreachable:
                    group.cancel_scope.cancel()
                    return
                if not socket.closed:
                    await socket.send_str(msgspec.json.encode(answer).decode())

            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    group.start_soon(serve, message.data)
            group.cancel_scope.cancel()

    async def _answer(self, frame: str) -> _Result | _Failure:
        """Raises GuardianUnreachable when the guardian is down or is to lose the answer."""
        try:
            request = msgspec.json.decode(frame, type=_Request)
        except msgspec.DecodeError as error:
            return _Failure(None, _Error(PARSE_ERROR_CODE, str(error)))
        if len(request.params) != 1:
            return _Failure(request.id, _Error(INVALID_PARAMS_CODE, "Invalid params"))
        try:
            envelope = msgspec.convert(request.params[0], Envelope)
            params, auth = envelope.params, envelope.auth
            result = await self._guardian.request(request.method, params, auth=auth)
        except msgspec.ValidationError as error:
            return _Failure(request.id, _Error(BAD_REQUEST, str(error)))
        except GuardianRefused as error:
            return _Failure(request.id, _Error(error.code, error.message))
        except GuardianTimeout:
            return _Failure(request.id, _Error(TIMEOUT_CODE, "Request timeout"))
        return _Result(request.id, result)


def _basic(api_secret: str) -> str:
    return "Basic " + base64.b64encode(f"fedimint:{api_secret}".encode()).decode()
