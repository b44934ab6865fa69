"""Every bound of the HTTP API in one place; the gate counts what runs at once, the bucket what comes over time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import msgspec

from errors import BusyError

# A send_payment body is about 1.5 kB; the rest is room for long invoices.
PUBLIC_BODY_BYTES = 64 * 1024
# The bound of axum, which the Rust gateway uses.
ADMIN_BODY_BYTES = 2 * 1024 * 1024
BODY_SECONDS = 10.0

CONNECTIONS = 1024
# Time for the head of a request, and for silence between two. Longer than the 90 seconds for which
# clients built on reqwest keep a connection, so that it is they who close it.
IDLE_SECONDS = 100.0
# How long the rest of a refused body is read before the connection is closed.
LINGERING_SECONDS = 2.0
# How long running requests may go on once the server stops; payments go on without them.
SHUTDOWN_SECONDS = 2.0

SEND_PAYMENTS = 256
PUBLIC_REQUESTS = 128
# They wait for half a minute each, and cost next to nothing.
VERIFICATIONS = 256
# Each makes a transaction of a federation.
ECASH_RECEIPTS = 32
ADMIN_REQUESTS = 32
PUBLIC_SECONDS = 30.0
# A wallet that verifies with `?wait` is answered after 30 seconds at the latest.
VERIFY_SECONDS = 45.0
# Ecash is ours once a threshold of guardians has signed what it became.
RECEIVE_ECASH_SECONDS = 120.0
# Joining a federation with recovery is the longest admin request.
ADMIN_SECONDS = 600.0

# bcrypt costs its caller nothing and us a tenth of a second or more.
PASSWORD_CHECKS_AT_ONCE = 1
PASSWORD_CHECKS = 32
PASSWORD_CHECKS_PER_REMOTE = 4


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
    def hold(self) -> Iterator[None]:
        """Hold one place for the length of the block. Raises BusyError when there is none."""
        if self._held >= self._capacity:
            raise BusyError(f"Too many {self._what} at once, please try again later")
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1


class YieldingGate(Gate):
    """A gate before something that goes on by itself: when all places are taken, who waited longest gives his away.

    Else strangers whose payments take days would keep everybody out. He is told to ask again, and joins then.
    """

    def __init__(self, what: str, capacity: int) -> None:
        super().__init__(what, capacity)
        self._waiting: list[anyio.CancelScope] = []

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold a place for the length of the block, or until somebody else needs it: then BusyError is raised."""
        if not self.free:
            longest = self._waiting[0]
            self._leave(longest)
            longest.cancel()
        with anyio.CancelScope() as place:
            self._held += 1
            self._waiting.append(place)
            try:
                yield
            finally:
                self._leave(place)
        if place.cancelled_caught:
            raise BusyError(f"Too many {self._what} at once; this one goes on, please ask again")

    def _leave(self, place: anyio.CancelScope) -> None:
        if place in self._waiting:
            self._waiting.remove(place)
            self._held -= 1


class RateLimit(msgspec.Struct, frozen=True):
    """`burst` at once and `per_second` in the long run, both at least 1 (gateway-server/src/config.rs)."""

    burst: int = 50
    per_second: int = 5


class TokenBucket:
    """Lets through what a rate limit allows (gateway-server/src/rate_limit.rs). Begins full."""

    def __init__(self, limit: RateLimit, now_s: Callable[[], float] = anyio.current_time) -> None:
        self._limit = limit
        self._now_s = now_s
        self._tokens = float(limit.burst)
        self._filled_at_s: float | None = None

    def take(self) -> None:
        """Take one token. Raises BusyError, in upstream's words, when there is none."""
        now_s = self._now_s()
        if self._filled_at_s is not None:
            gained = (now_s - self._filled_at_s) * self._limit.per_second
            self._tokens = min(self._tokens + gained, float(self._limit.burst))
        self._filled_at_s = now_s
        if self._tokens < 1:
            raise BusyError("Too many requests, please try again later")
        self._tokens -= 1
