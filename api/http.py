"""The aiohttp adapter: requests to structs, structs and errors to responses.

Paths, layers and statuses follow gateway-server/src/rpc_server.rs and error.rs; bad input is a 4xx also
where Rust answers 500.
"""

import time
from collections.abc import Awaitable, Callable, Iterable

import anyio
import msgspec
import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from api import limits
from api.auth import PasswordCheck
from api.body import BodyTimeoutError, BodyTooLargeError, decode, in_words, require_json
from api.callers import Callers
from api.connections import Connections
from api.payment_structs import LnurlError
from api.routes import INTERNAL, Route
from errors import (
    BusyError,
    GatewayError,
    InputError,
    NotReadyError,
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
_CLIENT_LEFT = 499

CONNECTIONS = web.AppKey("connections", Connections[RequestHandler])
_NO_ROUTE = web.AppKey("no_route", str)
_CALLERS = web.AppKey("callers", Callers)
_CALLER = web.RequestKey("caller", str)

_log = structlog.get_logger("http")


def create_app(
    routes: Iterable[Route],
    password: PasswordCheck,
    *,
    callers: Callers | None = None,
    debug: bool = False,
    closing: bool = False,
    no_route: str = "There is no such route",
) -> web.Application:
    """Build the application: every route at its path and once more under `/v1`.

    `callers` tells who calls; without it nobody is believed to speak for others. With `debug` the callers of public
    routes, too, are told what failed inside. With `closing` each answer ends its connection. `no_route` is said
    where there is none.
    """
    app = web.Application(middlewares=[_closing, _outermost] if closing else [_outermost])
    app[_CALLERS] = callers or Callers()
    app[CONNECTIONS] = Connections()
    app[_NO_ROUTE] = no_route
    for route in routes:
        handler = _handler(route, password, debug=debug)
        for prefix in ("", "/v1"):
            app.router.add_route(route.method, prefix + route.path, handler)
            if route.method == "GET":
                app.router.add_route("HEAD", prefix + route.path, handler)
    return app


@web.middleware
async def _closing(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    response.force_close()
    return response


@web.middleware
async def _outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
    """CORS, errors to responses, and one line of access log for every request."""
    started = time.monotonic()
    status = _CLIENT_LEFT
    forwarded_for = request.headers.getall("X-Forwarded-For", [])
    request[_CALLER] = request.app[_CALLERS].caller(request.remote, forwarded_for)
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
            remote=request[_CALLER],
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
        return _sentence(404, request.app[_NO_ROUTE])
    except Exception:  # noqa: BLE001 - nobody outside may see what went wrong inside
        _log.exception("a handler failed", path=request.path[:100])
        return _sentence(500, INTERNAL)


def _handler(route: Route, password: PasswordCheck, *, debug: bool) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            if route.level != "public":
                await password.require(
                    request.headers.get("Authorization"),
                    remote=request[_CALLER],
                    manager_may=route.level == "manager",
                )
            read = await _read(route, request)
            with request.app[CONNECTIONS].answering(request.protocol):
                return _json(await _call(route, request[_CALLER], read))
        except UnauthorizedError:
            return web.Response(status=401)
        except GatewayError as error:
            return _refusal(route, error, debug=debug)

    return handle


async def _read(route: Route, request: web.Request) -> object:
    """What the route reads: its body, its URL, or None."""
    if route.query is None:
        return await _payload(route, request)
    named: dict[str, object] = {**dict.fromkeys(request.query, True), **request.match_info}
    try:
        return msgspec.convert(named, route.query)
    except msgspec.ValidationError as error:
        raise InputError(f"The URL does not fit this route: {in_words(error)}") from None


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


async def _call(route: Route, caller: str, payload: object) -> object:
    with route.admitted(caller, payload):
        with anyio.move_on_after(route.seconds):
            return await route.handle(payload)
        raise UnavailableError(
            f"Not finished within {route.seconds:.0f} seconds; it may still be under way"
        )


def _json(answer: object, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(answer), status=status, content_type="application/json"
    )


def _refusal(route: Route, error: GatewayError, *, debug: bool) -> web.Response:
    sentence = str(error)
    if error.http_status >= 500:
        _log.warning("request failed", path=route.path, status=error.http_status, error=sentence)
        if not debug and route.failure is not None and not isinstance(error, NotReadyError):
            sentence = route.failure
    if route.lnurl:
        response = _json(LnurlError(reason=sentence), error.http_status)
    else:
        response = _sentence(error.http_status, sentence)
    if isinstance(error, BusyError):
        response.headers["Retry-After"] = "1"
    return response


def _sentence(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text)
