"""What the application needs from outside besides its node and its log: guardians, CPU, tweaks."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar, TypeVarTuple

import anyio.to_process

from fedimint.transport import GuardianConnection
from fedimint.tweaks import grind

T = TypeVar("T")
Args = TypeVarTuple("Args")

#: Opens the connection to one guardian: API URL as the config names it, API secret or None.
Connect = Callable[[str, str | None], GuardianConnection]


class Cpu(Protocol):
    """Runs a pure, module-level function that would hold up the event loop."""

    async def run(self, function: Callable[[*Args], T], *arguments: *Args) -> T: ...


class WorkerProcesses:
    """Worker processes that are started anew, never forked, and end with their parent."""

    async def run(self, function: Callable[[*Args], T], *arguments: *Args) -> T:
        return await anyio.to_process.run_sync(function, *arguments)


class Inline:
    """On the event loop itself, for simulations."""

    async def run(self, function: Callable[[*Args], T], *arguments: *Args) -> T:
        return function(*arguments)


#: Grinds one mintv2 tweak (16 bytes) for a filter (32 bytes); cancelled when the gateway stops.
GrindTweak = Callable[[bytes], Awaitable[bytes]]

__all__ = ["Connect", "Cpu", "GrindTweak", "Inline", "WorkerProcesses", "grind"]
