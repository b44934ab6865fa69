"""The server of the HTTP API: one listening socket, behind which the application can be exchanged."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from api import limits
from api.http import CONNECTIONS
from errors import ConfigError

#: Between two warnings that every connection is taken.
_FULL_PAUSE_S = 60.0

_log = structlog.get_logger("http")


class Listener:
    """A bound address. Until it serves, connections are closed at once.

    At `limits.CONNECTIONS` each new one takes the place of one that waits for no answer (`api/connections.py`).
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._runners: list[web.AppRunner] = []
        self._told_full_at_s = -_FULL_PAUSE_S

    async def serve(self, app: web.Application) -> None:
        """Answer every new connection by `app`; older ones stay with the application they began with."""
        runner = web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            logger=_silent(),
            handler_cancellation=True,
            keepalive_timeout=limits.IDLE_SECONDS,
            lingering_time=limits.LINGERING_SECONDS,
            shutdown_timeout=limits.SHUTDOWN_SECONDS,
            auto_decompress=False,
            max_line_size=limits.HEADER_LINE_BYTES,
            max_field_size=limits.HEADER_LINE_BYTES,
            max_headers=limits.HEADERS,
        )
        await runner.setup()
        self._runners.append(runner)

    def protocol(self) -> asyncio.BaseProtocol:
        """What speaks with one new connection."""
        served = [(runner.app, runner.server) for runner in self._runners if runner.server]
        if not served:
            return _Refusal()
        opened = [(app, _open_connections(server)) for app, server in served]
        if sum(len(connections) for _, connections in opened) < limits.CONNECTIONS:
            for app, connections in opened:
                app[CONNECTIONS].forget_closed(connections)
        elif not self._make_room(opened):
            return _Refusal()
        return served[-1][1]()

    def _make_room(self, opened: Sequence[tuple[web.Application, list[RequestHandler]]]) -> bool:
        """Close one connection; False when somebody waits for an answer on each."""
        self._tell_full()
        for app, connections in opened:
            leaves = app[CONNECTIONS].least_needed(connections)
            if leaves is not None and leaves.transport is not None:
                leaves.transport.abort()
                return True
        return False

    def _tell_full(self) -> None:
        now_s = anyio.current_time()
        if now_s - self._told_full_at_s >= _FULL_PAUSE_S:
            self._told_full_at_s = now_s
            _log.warning("all_connections_taken", connections=limits.CONNECTIONS)

    async def aclose(self) -> None:
        """Let running requests end for `limits.SHUTDOWN_SECONDS`, and close every connection."""
        for runner in reversed(self._runners):
            await runner.cleanup()


@asynccontextmanager
async def listening(host: str, port: int) -> AsyncIterator[Listener]:
    """Listen for the length of the block; port 0 takes a free one.

    Raises ConfigError when the address cannot be listened on.
    """
    listener = Listener(host, port)
    try:
        server = await asyncio.get_running_loop().create_server(
            listener.protocol, sock=_bound(host, port)
        )
    except OSError as error:
        raise ConfigError(f"Cannot listen on {host} port {port}: {error.strerror}") from error
    listener.host, listener.port = server.sockets[0].getsockname()[:2]
    try:
        yield listener
    finally:
        server.close()
        # A stopping process is a cancelled one, and waiting requests still want their end.
        with anyio.CancelScope(shield=True):
            await listener.aclose()


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
    """Serve one application for the length of the block and yield the address bound, as `listening` does."""
    async with listening(host, port) as listener:
        await listener.serve(app)
        yield listener.host, listener.port


def _bound(host: str, port: int) -> socket.socket:
    """A socket at an IP address. `::` is every address of IPv4, too, whatever the machine's default is."""
    is_ipv6 = ":" in host
    bound = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_ipv6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind((host, port))
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound


def _open_connections(server: web.Server) -> list[RequestHandler]:
    """Without those that are being closed; the oldest first."""
    return [
        one
        for one in server.connections
        if one.transport is not None and not one.transport.is_closing()
    ]


class _Refusal(asyncio.Protocol):
    """Closes a connection that nobody is there for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


def _silent() -> logging.Logger:
    """Malformed requests are the sender's business, not the operator's."""
    silent = logging.getLogger("aiohttp.server.silent")
    if not silent.handlers:
        silent.addHandler(logging.NullHandler())
    silent.propagate = False
    return silent
