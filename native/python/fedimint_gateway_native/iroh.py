"""Asks and serves nodes over iroh 0.35, for asyncio. Raises ImportError when the library was built without `iroh`.

The library never calls Python, and nobody waits in a thread: one reader of the event loop takes from a mailbox what
the library has done, and wakes whoever waits for it. An `Iroh` belongs to the event loop it was made on.
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from fedimint_gateway_native import NativeError
from fedimint_gateway_native._native import iroh as _iroh

Inflow = _iroh.Inflow
Request = _iroh.Request
node_id_of = _iroh.node_id_of

__all__ = [
    "AnswerTooLongError",
    "Connection",
    "Dialer",
    "EmptyAnswerError",
    "Inflow",
    "Iroh",
    "LostError",
    "NativeError",
    "Request",
    "Server",
    "node_id_of",
]


class LostError(Exception):
    """No connection, or it was lost; a request may have arrived."""


class AnswerTooLongError(Exception):
    """The answer is longer than was allowed, and was not read further."""


class EmptyAnswerError(Exception):
    """The answer has not one byte."""


_ERRORS: dict[str, type[Exception]] = {
    "lost": LostError,
    "too long": AnswerTooLongError,
    "empty": EmptyAnswerError,
    "broken": NativeError,
}


class Iroh:
    """What the library does for one event loop. Raises NativeError when no file descriptor is left."""

    def __init__(self) -> None:
        self.mailbox = _iroh.Mailbox()
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._requests: dict[int, Callable[[Request], None]] = {}
        self._loop.add_reader(self.mailbox.fileno(), self._take)

    def close(self) -> None:
        """Take nothing more. Whoever still waits gets NativeError."""
        self._loop.remove_reader(self.mailbox.fileno())
        for future in self._waiting.values():
            if not future.done():
                future.set_result(_Closed())

    def dialer(
        self,
        *,
        pkarr: str | None = None,
        resolves_pkarr: bool = False,
        uses_n0: bool = False,
        addresses: Mapping[str, str] | None = None,
    ) -> "Dialer":
        """Who dials. `pkarr` is the URL of an own pkarr server, `addresses` are `ip:port` by node id.

        Raises ValueError for what is none of these.
        """
        native = _iroh.Dialer(
            self.mailbox,
            pkarr=pkarr,
            resolves_pkarr=resolves_pkarr,
            uses_n0=uses_n0,
            addresses=dict(addresses or {}),
        )
        return Dialer(self, native)

    async def serve(
        self,
        on_request: Callable[[Request], None],
        *,
        secret: bytes,
        listen: str,
        protocol: bytes,
        relays: list[str] | None = None,
        pkarr: str | None = None,
        resolves_pkarr: bool = False,
        publishes_pkarr: bool = False,
        uses_n0: bool = False,
        max_connections: int = 1_000,
        max_requests: int = 50,
        max_request_bytes: int = 100_000,
        arrival_s: int = 10,
        idle_s: int = 300,
    ) -> "Server":
        """Serve a protocol; `on_request` is called on the event loop. `relays` None is none at all.

        Raises LostError when the address cannot be bound, and ValueError for what is no address, key or URL.
        """
        number = next(self._numbers)
        self._requests[number] = on_request

        def start(_: int) -> _iroh.Task:
            return _iroh.serve(
                self.mailbox,
                number,
                secret=secret,
                listen=listen,
                protocol=protocol,
                relays=relays,
                pkarr=pkarr,
                resolves_pkarr=resolves_pkarr,
                publishes_pkarr=publishes_pkarr,
                uses_n0=uses_n0,
                max_connections=max_connections,
                max_requests=max_requests,
                max_request_bytes=max_request_bytes,
                arrival_s=arrival_s,
                idle_s=idle_s,
            )

        try:
            return Server(self, await self.outcome(start, number), number)
        except BaseException:
            del self._requests[number]
            raise

    async def outcome(self, start: Callable[[int], _iroh.Task], number: int | None = None) -> Any:
        """What a task leaves under the number it is started with. Cancelling ends the task."""
        number = next(self._numbers) if number is None else number
        future = self._waiting[number] = self._loop.create_future()
        try:
            task = start(number)
            try:
                found = await future
            except asyncio.CancelledError:
                task.cancel()
                raise
        finally:
            del self._waiting[number]
        if isinstance(found, _iroh.Failure):
            raise _ERRORS[found.kind](found.reason)
        if isinstance(found, _Closed):
            raise NativeError("iroh was closed")
        return found

    def forget(self, number: int) -> None:
        """Hand on no request of a server any more."""
        self._requests.pop(number, None)

    def _take(self) -> None:
        for number, found in self.mailbox.take():
            future = self._waiting.get(number)
            if isinstance(found, Request):
                on_request = self._requests.get(number)
                if on_request is not None:
                    on_request(found)
            elif future is not None and not future.done():
                future.set_result(found)


class _Closed:
    """Left to whoever waits at the end."""


class Dialer:
    """Dials nodes through one endpoint, which remembers their addresses."""

    def __init__(self, iroh: Iroh, native: _iroh.Dialer) -> None:
        self._iroh = iroh
        self.native = native

    async def connect(self, node_id: str, protocol: bytes, inflow: Inflow) -> "Connection":
        """A connection to a node. Raises LostError, and ValueError for what is no node id."""
        native = await self._iroh.outcome(
            lambda number: self.native.dial(number, node_id, protocol)
        )
        return Connection(self._iroh, self, native, inflow)

    async def aclose(self) -> None:
        """End all connections."""
        await self._iroh.outcome(self.native.close)


class Connection:
    """An open connection."""

    def __init__(
        self, iroh: Iroh, dialer: Dialer, native: _iroh.Connection, inflow: Inflow
    ) -> None:
        self._iroh = iroh
        self._dialer = dialer
        self._native = native
        self._inflow = inflow

    async def ask(self, request: bytes, max_answer_bytes: int) -> bytes:
        """The answer to a request. Raises LostError, AnswerTooLongError, EmptyAnswerError."""
        answer: bytes = await self._iroh.outcome(
            lambda number: self._dialer.native.ask(
                number, self._native, request, max_answer_bytes, self._inflow
            )
        )
        return answer

    def end(self) -> str | None:
        """Why it is over; None while it is not."""
        return self._native.end()

    def close(self, code: int, reason: str) -> None:
        """End it, and every request of it."""
        self._native.close(code, reason.encode())


class Server:
    """What serves until it is closed."""

    def __init__(self, iroh: Iroh, native: _iroh.Server, number: int) -> None:
        self._iroh = iroh
        self._native = native
        self._number = number
        self.node_id = native.node_id()
        self.address = native.address()

    async def aclose(self) -> None:
        """End all its connections."""
        self._iroh.forget(self._number)
        await self._iroh.outcome(lambda number: self._native.close(self._iroh.mailbox, number))
