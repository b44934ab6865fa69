"""How long each call of a simulated gateway takes: drawn for every call, in virtual time.

What takes time between a check and its act is where others come between: a federation is left while an HTLC is
measured, an invoice expires while a commit is written. Nothing takes as long as its deadline.
"""

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import anyio
import msgspec

from errors import GatewayError

#: Calls to the node and to guardians, requests of clients, commits, and what is built in other processes.
Port = Literal["node", "guardian", "client", "disk", "worker"]
PORTS: tuple[Port, ...] = ("node", "guardian", "client", "disk", "worker")
T = TypeVar("T")

#: A little less than who waits gives up after: a call to LND, the question whether guardians are alive. Nobody gives
#: up on the others.
JUST_IN_TIME_S: Mapping[Port, float] = {
    "node": 14.5,
    "guardian": 9.5,
    "client": 20.0,
    "disk": 5.0,
    "worker": 40.0,
}
#: How many of the slow calls take nearly as long as they may.
_NEARLY_TOO_LONG = 0.2


class Pace(msgspec.Struct, frozen=True):
    """The calls of one port: `usual_s` each on average, but for a share of them that takes up to `longest_s`."""

    usual_s: float = 0.0
    slow_share: float = 0.0
    longest_s: float = 0.0

    def draw_s(self, dice: random.Random) -> float:
        """How long one call takes."""
        if not self.longest_s or dice.random() >= self.slow_share:
            return dice.uniform(0, 2 * self.usual_s) if self.usual_s else 0.0
        if dice.random() < _NEARLY_TOO_LONG:
            return self.longest_s
        return dice.uniform(self.usual_s, self.longest_s)


@dataclass
class Latency:
    """All ports of one run; at first nothing takes any time."""

    dice: random.Random
    paces: Mapping[Port, Pace] = field(default_factory=dict)

    async def pause(self, port: Port) -> None:
        """One way of a call, or something that has no way back."""
        await _sleep(self._draw_s(port))

    async def take(self, port: Port, call: Callable[[], Awaitable[T]]) -> T:
        """A call: its way there, what it does at once, and the way of its answer or error."""
        whole_s = self._draw_s(port)
        there_s = whole_s * self.dice.random() if whole_s else 0.0
        await _sleep(there_s)
        try:
            answer = await call()
        except GatewayError:
            await _sleep(whole_s - there_s)
            raise
        await _sleep(whole_s - there_s)
        return answer

    def _draw_s(self, port: Port) -> float:
        pace = self.paces.get(port)
        return 0.0 if pace is None else pace.draw_s(self.dice)


async def _sleep(seconds: float) -> None:
    if seconds > 0:
        await anyio.sleep(seconds)
