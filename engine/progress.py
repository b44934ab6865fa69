"""Reports how far a reading of a whole log is."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import msgspec

T = TypeVar("T")

#: Rows between two looks at the clock.
ROWS_PER_LOOK = 1_000
#: Nothing is said of what is read sooner, and then so often.
SECONDS = 2.0


class Progress(msgspec.Struct, frozen=True):
    """Rows that were read, of how many: None where that is not known before the end."""

    rows: int
    of: int | None

    def __str__(self) -> str:
        if not self.of:
            return f"{self.rows:,} events"
        return f"{self.rows:,} of {self.of:,} events ({100 * self.rows // self.of} %)"


Listener = Callable[[Progress], None]
_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def told(listener: Listener) -> Iterator[None]:
    """Every reading in this block tells `listener` how far it is."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def telling(rows: Iterator[T], count: Callable[[], int | None]) -> Iterator[T]:
    """The same rows; `count` says how many there are, and is asked only when somebody listens."""
    listener = _LISTENER.get()
    return rows if listener is None else _telling(rows, count(), listener)


def _telling(rows: Iterator[T], of: int | None, listener: Listener) -> Iterator[T]:
    due = time.monotonic() + SECONDS
    for number, row in enumerate(rows, 1):
        yield row
        if number % ROWS_PER_LOOK == 0 and time.monotonic() >= due:
            due += SECONDS
            listener(Progress(number, of))
