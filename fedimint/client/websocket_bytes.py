"""Counts bytes of a guardian that became no message, such as endless empty fragments.

aiohttp reads frames in a callback of the event loop, a microsecond each, before anybody is asked. So this stands
between it and the socket, counts what comes, and ends what comes to nothing. Bound to asyncio.
"""

import asyncio
from typing import Final

from fedimint.client.inflow import MAX_FRAME_BYTES

MAX_UNSAID_BYTES: Final = 2 * MAX_FRAME_BYTES
"""The longest frame that is being read, the longest that waits to be, and what one reading of the socket brings."""
_AROUND_BYTES: Final = 256
"""What a message may have beside its data: headers of its fragments."""


class WatchedBytes(asyncio.Protocol):
    """Takes the place of the protocol of a transport, and hands everything on until it is too much."""

    def __init__(self, transport: asyncio.Transport) -> None:
        inner = transport.get_protocol()
        assert isinstance(inner, asyncio.Protocol)
        self._transport = transport
        self._inner = inner
        self._unsaid_bytes = 0
        self.is_too_much = False
        transport.set_protocol(self)

    def said(self, size: int) -> None:
        """A message of `size` bytes was read. There is no credit for short ones."""
        self._unsaid_bytes = max(0, self._unsaid_bytes - size - _AROUND_BYTES)

    def abort(self) -> None:
        """Close the socket at once: aiohttp would first read whatever waits in it."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hand on, or end the connection."""
        self._unsaid_bytes += len(data)
        if self._unsaid_bytes > MAX_UNSAID_BYTES:
            self.is_too_much = True
            self.abort()
        else:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Hand on."""
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on."""
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Hand on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Hand on."""
        self._inner.resume_writing()
