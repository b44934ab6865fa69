"""The server of the HTTP API: one listening socket, behind which the application can be exchanged."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from aiohttp import web

from api import limits
from errors import ConfigError


class Listener:
    """A bound address. Until it serves, and beyond `limits.CONNECTIONS`, connections are closed at once."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._runners: list[web.AppRunner] = []

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
        )
        await runner.setup()
        self._runners.append(runner)

    def protocol(self) -> asyncio.BaseProtocol:
        """What speaks with one new connection."""
        servers = [runner.server for runner in self._runners if runner.server is not None]
        if not servers or sum(len(one.connections) for one in servers) >= limits.CONNECTIONS:
            return _Refusal()
        return servers[-1]()

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
        server = await asyncio.get_running_loop().create_server(listener.protocol, host, port)
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
