"""Admission: gates limit requests at once, buckets limit requests over time, both by caller.

A caller is the text that `api/callers.py` makes of an address. Nobody may take from others what all of them share:
the caller who holds most gives way first, and a caller who took much lately gets less.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio
import msgspec

from errors import BusyError


class Gate:
    """Counts holders of something and refuses the one too many, who is told to come again."""

    def __init__(self, what: str, capacity: int) -> None:
        self._what = what
        self._capacity = capacity
        self._held = 0

    @property
    def held(self) -> int:
        return self._held

    @property
    def free(self) -> int:
        return self._capacity - self._held

    @contextmanager
    def hold(self, caller: str) -> Iterator[None]:
        """Hold one place for the length of the block. Raises BusyError when there is none."""
        del caller
        if self._held >= self._capacity:
            raise self._busy()
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def _busy(self) -> BusyError:
        return BusyError(f"Too many {self._what} at once, please try again later")


@dataclass(eq=False)
class _Place:
    """One holder of a FairGate. `scope` ends what they wait for."""

    caller: str
    scope: anyio.CancelScope


class FairGate(Gate):
    """When all places are taken, the caller who holds most gives up the one that they have held longest.

    A newcomer who holds as many is refused, unless the gate `yields`: then they take their own oldest place. That is
    for requests whose work goes on by itself, such as payments that take days; a caller who lost a place may ask again.
    """

    def __init__(self, what: str, capacity: int, *, yields: bool = False) -> None:
        super().__init__(what, capacity)
        self._yields = yields
        self._places: list[_Place] = []

    @contextmanager
    def hold(self, caller: str) -> Iterator[None]:
        """Hold a place for the length of the block, or until somebody else needs it: then BusyError is raised."""
        if not self.free:
            self._make_room(caller)
        with anyio.CancelScope() as scope:
            place = _Place(caller, scope)
            self._places.append(place)
            self._held += 1
            try:
                yield
            finally:
                self._leave(place)
        if scope.cancelled_caught:
            raise BusyError(
                f"Too many {self._what} at once; requests already begun continue, please ask again"
            )

    def _make_room(self, newcomer: str) -> None:
        held = Counter(place.caller for place in self._places)
        most = max(held.values())
        if held[newcomer] >= most and not self._yields:
            raise self._busy()
        leaving = next(place for place in self._places if held[place.caller] == most)
        self._leave(leaving)
        leaving.scope.cancel()

    def _leave(self, place: _Place) -> None:
        if place in self._places:
            self._places.remove(place)
            self._held -= 1


class RateLimit(msgspec.Struct, frozen=True):
    """`burst` at once and `per_second` in the long run, both at least 1 (gateway-server/src/config.rs)."""

    burst: int = 50
    per_second: int = 5


#: What a caller took is forgotten so many times more slowly than the bucket fills: one who takes more than this part
#: of all that a limit lets through, in the long run, counts as one who asks for much.
_REMEMBERED = 10


class TokenBucket:
    """Lets through what a rate limit allows to all together, and a little more for callers who asked for little lately.

    A bucket of a limit, which begins full (gateway-server/src/rate_limit.rs): a caller alone finds exactly that. Who
    took less than half a bucket of late may overdraw it, by at most another bucket, and the debt is filled first: so
    one who asks without end keeps nobody out, and in the long run the limit holds.
    """

    def __init__(self, limit: RateLimit, now_s: Callable[[], float] = anyio.current_time) -> None:
        self._limit = limit
        self._now_s = now_s
        self._tokens = float(limit.burst)
        self._filled_at_s: float | None = None
        self._taken: dict[str, float] = {}

    def take(self, caller: str, tokens: int = 1) -> None:
        """Take tokens, more than the burst counting as all of it. Raises BusyError, in upstream's words."""
        self._fill()
        burst = float(self._limit.burst)
        wanted = min(float(tokens), burst)
        taken = self._taken.get(caller, 0.0)
        if self._tokens - wanted < min(0.0, 2 * taken - burst):
            raise BusyError("Too many requests, please try again later")
        self._tokens -= wanted
        self._taken[caller] = min(burst, taken + wanted)

    @property
    def callers(self) -> int:
        """How many are remembered: those who took a token of late."""
        return len(self._taken)

    def _fill(self) -> None:
        now_s = self._now_s()
        if self._filled_at_s is not None:
            gained = max(0.0, now_s - self._filled_at_s) * self._limit.per_second
            self._tokens = min(self._tokens + gained, float(self._limit.burst))
            if gained:
                forgotten = gained / _REMEMBERED
                left = {caller: taken - forgotten for caller, taken in self._taken.items()}
                self._taken = {caller: taken for caller, taken in left.items() if taken > 0}
        self._filled_at_s = now_s
