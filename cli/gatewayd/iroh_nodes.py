"""Guardians over the native part's iroh. Raises ImportError where it is not installed, or cannot be loaded."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
from fedimint_gateway_native.iroh import (
    AnswerTooLongError,
    Connection,
    Dialer,
    EmptyAnswerError,
    Inflow,
    Iroh,
    LostError,
    NativeError,
)

from cli.gatewayd.reach_settings import ReachSettings
from errors import ConfigError
from fedimint.client.inflow import BURST_BYTES, BYTES_PER_S
from fedimint.client.iroh import API_PROTOCOL, IrohLink, IrohNode
from fedimint.client.transport import GuardianProtocolError, GuardianUnreachable, cut

_CLOSE_TIMEOUT_S: Final = 2.0


@asynccontextmanager
async def iroh_nodes(reach: ReachSettings) -> AsyncIterator[Callable[[str], IrohNode]]:
    """From a node id to the guardian, until the block ends. The endpoint is made with the first dial. asyncio only.

    Raises ConfigError for settings that are none, and NativeError when no file descriptor is left.
    """
    iroh = Iroh()
    try:
        dialer = iroh.dialer(
            pkarr=reach.pkarr,
            resolves_pkarr=reach.resolves_pkarr,
            uses_n0=reach.uses_n0,
            addresses=reach.addresses,
        )
    except ValueError as error:
        iroh.close()
        raise ConfigError(f"the settings of iroh cannot be used: {error}") from error
    try:
        yield lambda node_id: _Node(dialer, node_id)
    finally:
        with anyio.move_on_after(_CLOSE_TIMEOUT_S, shield=True):
            await dialer.aclose()
        iroh.close()


class _Node:
    """An `IrohNode`, with a bound of its own on what it sends over all its connections."""

    def __init__(self, dialer: Dialer, node_id: str) -> None:
        self._dialer = dialer
        self._node_id = node_id
        self._inflow = Inflow(BURST_BYTES, BYTES_PER_S)

    async def dial(self) -> IrohLink:
        """Connect. Raises GuardianUnreachable."""
        try:
            return _Link(await self._dialer.connect(self._node_id, API_PROTOCOL, self._inflow))
        except (LostError, NativeError, ValueError) as error:
            # Not every text of 64 digits is a key, and others choose it.
            raise GuardianUnreachable(cut(str(error))) from error


class _Link:
    """An `IrohLink`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def ask(self, request: bytes, max_answer_bytes: int) -> bytes:
        """Send a request and return what comes back. Raises GuardianUnreachable and GuardianProtocolError."""
        try:
            return await self._connection.ask(request, max_answer_bytes)
        except AnswerTooLongError as error:
            raise GuardianProtocolError(f"more than {max_answer_bytes} bytes") from error
        except EmptyAnswerError as error:
            raise GuardianProtocolError("nothing") from error
        except (LostError, NativeError) as error:
            raise GuardianUnreachable(cut(str(error))) from error

    def end(self) -> str | None:
        """Why the connection is over; None while it is not."""
        return self._connection.end()

    def close(self, code: int, reason: str) -> None:
        """End it, and everything that is asked on it."""
        self._connection.close(code, reason)
