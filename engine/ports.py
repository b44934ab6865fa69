"""What the engine needs from outside: a clock, randomness, and points where tests may crash it."""

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


class Clock(Protocol):
    """Wall-clock time and sleeping; virtual in simulations."""

    def now_unix_us(self) -> int:
        """Microseconds since the Unix epoch."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now_unix_us(self) -> int:
        return time.time_ns() // 1000

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class VirtualClock:
    """Wall clock driven by the event loop's own time, so trio's MockClock moves it."""

    def __init__(self, start_unix_us: int) -> None:
        self._start_unix_us = start_unix_us

    def now_unix_us(self) -> int:
        return self._start_unix_us + int(anyio.current_time() * 1_000_000)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class Randomness(Protocol):
    """Unpredictable bytes in production, a seeded stream in simulations."""

    def random_bytes(self, count: int) -> bytes: ...


class SystemRandomness:
    """The operating system's generator."""

    def random_bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)


#: Called at named points: `before KIND` and `after KIND` of an event's commit, `effect NAME` before a
#: handler runs and `result NAME` after it. A crash test kills the process in there.
Probe = Callable[[str], None]


def no_probe(point: str) -> None:
    """The probe of production: nothing happens."""
    del point


#: Runs one blocking call of the journal: in a worker thread, or inline in simulations.
RunBlocking = Callable[[Callable[[], None]], Awaitable[None]]


async def in_thread(call: Callable[[], None]) -> None:
    """One hop to a worker thread; the call is never abandoned half-way."""
    await anyio.to_thread.run_sync(call, abandon_on_cancel=False)


async def inline(call: Callable[[], None]) -> None:
    """On the event loop itself, for simulations, where threads would break determinism."""
    call()
