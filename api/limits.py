"""Every bound of the HTTP API in one place, and the gate that counts what runs at once."""

from collections.abc import Iterator
from contextlib import contextmanager

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
ADMIN_REQUESTS = 32
PUBLIC_SECONDS = 30.0
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
