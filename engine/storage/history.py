"""Checks what a start did not read: the older rows of the log and the pages of a large file.

It goes on beside the running gateway, page by page and mostly asleep. What it finds ends the process, and the next
start checks everything before anything else. Rows that this process writes are checked too, some thousands at a time,
so that the next start has few to check.
"""

from collections.abc import Callable
from functools import partial
from itertools import islice

import anyio
import anyio.to_thread
import apsw

from engine.chain import EMPTY_HEAD, Head, verified
from engine.ports import Clock, RunBlocking
from engine.storage.errors import DamagedError, storage_error
from engine.storage.opening import check_pages, close
from engine.storage.rows import head_at, open_reader, read_rows
from engine.storage.store import Store
from errors import FatalError

#: Rows read at a time, some milliseconds of work.
PAGE_ROWS = 500
#: The pause after each page: payments have the processor meanwhile.
PAUSE_S = 0.05
#: New rows after which they are checked.
NEW_ROWS = 10_000


class HistoryCheck:
    """The check of one open store; `run` is one of the engine's tasks."""

    def __init__(self, store: Store, run_blocking: RunBlocking, clock: Clock) -> None:
        self._store = store
        self._run_blocking = run_blocking
        self._clock = clock
        self._grown = anyio.Event()

    def notice(self, position: int) -> None:
        """The log is durable up to a position."""
        if position >= self._store.checked + NEW_ROWS:
            self._grown.set()

    async def run(self) -> None:
        """Check what is old, then what comes. Raises DamagedError for what was not written so."""
        path = self._store.path
        try:
            # Kept, since nobody must be able to end this process by using up its descriptors.
            reader = open_reader(path)
            try:
                await self._check(reader)
            finally:
                # Its pages are perhaps still being checked.
                reader.interrupt()
                close(reader)
        except FatalError:
            self._store.distrust()
            raise
        except (apsw.Error, UnicodeDecodeError) as error:
            self._store.distrust()
            raise storage_error(path, error) from error

    async def _check(self, reader: apsw.Connection) -> None:
        if not self._store.pages_are_checked:
            # One long statement, which is interrupted when the gateway stops.
            await anyio.to_thread.run_sync(
                check_pages, reader, self._store.path, abandon_on_cancel=True
            )
        await self._check_rows(reader, EMPTY_HEAD, self._store.checked_before)
        while True:
            await self._grown.wait()
            self._grown = anyio.Event()
            checked = await self._ask(partial(head_at, reader, self._store.checked))
            until = self._store.head.position
            self._store.checked = await self._check_rows(reader, checked, until)

    async def _check_rows(self, reader: apsw.Connection, head: Head, until: int) -> int:
        """Check the chain from a head on; returns the position that was reached."""
        while head.position < until:
            head = await self._ask(partial(_checked_page, reader, head, until))
            await self._clock.sleep(PAUSE_S)
        return head.position

    async def _ask(self, ask: Callable[[], Head]) -> Head:
        found = EMPTY_HEAD

        def call() -> None:
            nonlocal found
            found = ask()

        await self._run_blocking(call)
        return found


def _checked_page(reader: apsw.Connection, head: Head, until: int) -> Head:
    rows = islice(read_rows(reader, head.position), min(PAGE_ROWS, until - head.position))
    last = head.position
    for row in verified(rows, head):
        last = row.position
    if last == head.position:
        raise DamagedError(f"{reader.filename} has no rows behind position {last} any more")
    return head_at(reader, last)
