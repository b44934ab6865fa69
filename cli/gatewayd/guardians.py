"""Chooses how each guardian is reached: over WebSocket, over iroh with the native part, or not at all."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from cli.gatewayd.reach_settings import ReachSettings, node_id
from fedimint.client.iroh import IrohConnection, IrohNode
from fedimint.client.transport import GuardianConnection, OutOfReach
from fedimint.client.websocket import WebSocketConnection
from fedimint.discovery import Connect

_TO_INSTALL: Final = "uv sync --extra native"
_OVERRIDE: Final = "name its WebSocket URL: FM_WS_API_CONNECT_OVERRIDES=iroh://…=ws://host:port"

_log = structlog.get_logger("gatewayd")


@asynccontextmanager
async def guardian_connections(reach: ReachSettings) -> AsyncIterator[Connect]:
    """Makes connections until the block ends. Says in the log where those over iroh are missing. asyncio only."""
    try:
        from cli.gatewayd.iroh_nodes import iroh_nodes  # noqa: PLC0415 - the native part may be missing
    except ImportError as error:
        _log.info(
            "native_part_missing",
            module="iroh",
            reason=str(error),
            cost="guardians with iroh:// URLs are out of reach",
            to_install=_TO_INSTALL,
        )
        yield Reach(reach, None).connect
    else:
        async with iroh_nodes(reach) as nodes:
            yield Reach(reach, nodes).connect


class Reach:
    """`nodes` are the guardians of iroh by node id; None without the native part."""

    def __init__(self, settings: ReachSettings, nodes: Callable[[str], IrohNode] | None) -> None:
        self._settings = settings
        self._nodes = nodes

    def connect(self, url: str, api_secret: str | None) -> GuardianConnection:
        """A `fedimint.discovery.Connect`. A guardian that there is no way to has a connection that says so."""
        target = self._settings.url(url)
        scheme, _, rest = target.partition("://")
        if scheme != "iroh":
            return WebSocketConnection(target, api_secret=api_secret)
        if self._nodes is None:
            return OutOfReach(
                "guardians with iroh:// URLs are reached by the native part, which is not installed: "
                f"{_TO_INSTALL}; or {_OVERRIDE}"
            )
        if api_secret is not None:
            return OutOfReach(
                f"its federation wants an API secret, which cannot be given over iroh: {_OVERRIDE}"
            )
        try:
            name = node_id(rest.rstrip("/"))
        except ValueError as error:
            return OutOfReach(f"{target[:100]!r} is no guardian's URL for iroh 0.35: {error}")
        return IrohConnection(f"iroh://{name}", self._nodes(name))
