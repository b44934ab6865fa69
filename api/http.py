"""The aiohttp adapter: requests to structs, structs and errors to responses, and the server itself.

Only this file of the room knows aiohttp and asyncio. Paths, layers and statuses follow
gateway-server/src/rpc_server.rs and error.rs; bad input is a 4xx also where Rust answers 500.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import msgspec
import structlog
from aiohttp import web

from api import limits
from api.auth import PasswordCheck
from api.body import BodyTimeoutError, BodyTooLargeError, decode, require_json
from api.handlers import Gateway, NodeFacts
from api.routes import Route, routes
from errors import (
    BusyError,
    ConfigError,
    GatewayError,
    InputError,
    UnauthorizedError,
    UnavailableError,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Any page of any origin may call, as with tower-http's permissive layer; the password is no cookie.
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "*",
    "Vary": "origin, access-control-request-method, access-control-request-headers",
}
_PREFLIGHT = {"Access-Control-Allow-Methods": "*", "Access-Control-Allow-Headers": "*"}
_INTERNAL = "Gateway internal error"
_CLIENT_LEFT = 499

_log = structlog.get_logger("http")


def create_app(gateway: Gateway, facts: NodeFacts, password: PasswordCheck) -> web.Application:
    """Build the application: every route at its path and once more under `/v1`."""
    app = web.Application(middlewares=[_outermost])
    for route in routes(gateway, facts):
        handler = _handler(route, password)
        for prefix in ("", "/v1"):
            app.router.add_route(route.method, prefix + route.path, handler)
            if route.method == "GET":
                app.router.add_route("HEAD", prefix + route.path, handler)
    return app


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
    """Serve `app` for the length of the block and yield the address bound; port 0 takes a free one.

    Raises ConfigError when the address cannot be listened on.
    """
    silent = logging.getLogger("aiohttp.server.silent")
    silent.addHandler(logging.NullHandler())
    silent.propagate = False  # malformed requests are the sender's business, not the operator's
    runner = web.AppRunner(
        app,
        handle_signals=False,
        access_log=None,
        logger=silent,
        handler_cancellation=True,
        keepalive_timeout=limits.IDLE_SECONDS,
        lingering_time=limits.LINGERING_SECONDS,
        shutdown_timeout=limits.SHUTDOWN_SECONDS,
        auto_decompress=False,
    )
    await runner.setup()
    try:
        server = await _listen(runner, host, port)
        try:
            bound = server.sockets[0].getsockname()
            yield bound[0], bound[1]
        finally:
            server.close()
    finally:
        # A stopping process is a cancelled one, and waiting requests still want their end.
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> asyncio.Server:
    protocols = runner.server
    assert protocols is not None

    def protocol() -> asyncio.BaseProtocol:
        if len(protocols.connections) >= limits.CONNECTIONS:
            return _Refusal()
        return protocols()

    try:
        return await asyncio.get_running_loop().create_server(protocol, host, port)
    except OSError as error:
        raise ConfigError(f"Cannot listen on {host} port {port}: {error.strerror}") from error


class _Refusal(asyncio.Protocol):
    """Closes the connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


@web.middleware
async def _outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
    """CORS, errors to responses, and one line of access log for every request."""
    started = time.monotonic()
    status = _CLIENT_LEFT
    try:
        response = await _respond(request, handler)
        response.headers.update(_CORS)
        status = response.status
    finally:
        _log.info(
            "request",
            method=request.method,
            path=request.path[:100],
            status=status,
            duration_ms=round((time.monotonic() - started) * 1000),
            remote=request.remote,
        )
    return response


async def _respond(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.method == "OPTIONS":
        return web.Response(headers=_PREFLIGHT)
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as refusal:
        allowed = ", ".join(sorted(refusal.allowed_methods))
        response = _sentence(405, f"{request.method} is not allowed here, only {allowed}")
        response.headers["Allow"] = allowed
        return response
    except web.HTTPNotFound:
        return _sentence(404, "There is no such route")
    except Exception:  # noqa: BLE001 - nobody outside may see what went wrong inside
        _log.exception("a handler failed", path=request.path[:100])
        return _sentence(500, _INTERNAL)


def _handler(route: Route, password: PasswordCheck) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            if not route.is_public:
                await password.require(
                    request.headers.get("Authorization"), remote=request.remote or ""
                )
            payload = await _payload(route, request)
            return _json(await _call(route, payload))
        except GatewayError as error:
            return _refusal(route, error)

    return handle


async def _payload(route: Route, request: web.Request) -> object:
    """Read and decode the body within the route's bounds; None for a route without one."""
    if route.body is None:
        return None
    require_json(request.headers.get("Content-Type"))
    too_large = BodyTooLargeError(f"The body is longer than {route.body_bytes} bytes")
    if request.content_length is not None and request.content_length > route.body_bytes:
        raise too_large
    body = bytearray()
    try:
        with anyio.fail_after(limits.BODY_SECONDS):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > route.body_bytes:
                    raise too_large
    except web.RequestPayloadError:
        raise InputError("The body is not framed as its headers say") from None
    except TimeoutError:
        raise BodyTimeoutError(
            f"The body did not arrive within {limits.BODY_SECONDS:.0f} seconds"
        ) from None
    return decode(bytes(body), route.body)


async def _call(route: Route, payload: object) -> object:
    with route.gate.hold():
        with anyio.move_on_after(route.seconds):
            return await route.handle(payload)
        raise UnavailableError(
            f"Not finished within {route.seconds:.0f} seconds; what was begun may still go on"
        )


def _json(answer: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


def _refusal(route: Route, error: GatewayError) -> web.Response:
    if isinstance(error, UnauthorizedError):
        return web.Response(status=401)
    if error.http_status < 500:
        response = _sentence(error.http_status, str(error))
        if isinstance(error, BusyError):
            response.headers["Retry-After"] = "1"
        return response
    _log.warning("request failed", path=route.path, status=error.http_status, error=str(error))
    return _sentence(error.http_status, route.failure or str(error))


def _sentence(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text)
