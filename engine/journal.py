"""The journal: decided appends wait here in order, are written in groups, and release answers once durable."""

from collections.abc import Callable, Mapping

import anyio
import msgspec

from engine.chain import StoredStep
from engine.machine import Effect
from engine.ports import Probe, RunBlocking
from engine.storage.store import Store
from errors import BusyError, UnavailableError

#: Rows in one transaction: bounds how long one commit can take, and the memory of a batch.
BATCH_ROWS_MAX = 2_000
#: Rows decided and not yet durable, above which new work is refused. Results always have room.
QUEUE_ROWS_MAX = 20_000


class Append(msgspec.Struct, frozen=True):
    """Steps that become durable together, and the effects each touched stream wants afterwards."""

    steps: tuple[StoredStep, ...]
    wants: Mapping[str, Mapping[str, Effect]]


class Journal:
    """Queue, writer and durability of one store."""

    def __init__(self, store: Store, run_blocking: RunBlocking, probe: Probe) -> None:
        self._store = store
        self._run_blocking = run_blocking
        self._probe = probe
        self._queue: list[Append] = []
        self._queued_rows = 0
        self._work = anyio.Event()
        self._progress = anyio.Event()
        self._stopped = False
        self.durable = store.head.position

    def check_room(self) -> None:
        """Raises BusyError while too many rows wait for the disk."""
        if self._queued_rows > QUEUE_ROWS_MAX:
            raise BusyError("the write queue is full; nothing was begun, try again")

    def add(self, append: Append) -> None:
        """Queue an append behind all earlier ones."""
        self._queue.append(append)
        self._queued_rows += len(append.steps)
        self._work.set()

    async def wait_durable(self, position: int) -> None:
        """Returns once every row up to `position` is on disk. Raises UnavailableError when the engine stops."""
        while self.durable < position:
            if self._stopped:
                raise UnavailableError("the gateway is stopping; ask again when it is back")
            await self._progress.wait()

    async def write(self, committed: Callable[[Append], None]) -> None:
        """Drain the queue without end; `committed` hears of every append after its commit, in order."""
        try:
            while True:
                await self._work.wait()
                self._work = anyio.Event()
                while self._queue:
                    await self._drain(committed)
        finally:
            self._stopped = True
            self._progress.set()

    def flush(self) -> None:
        """Write everything queued at once, on the caller's thread, while nothing drains."""
        steps = [step for append in self._queue for step in append.steps]
        if steps:
            self._store.append(steps)
            self.durable = steps[-1].row.position
        self._queue.clear()
        self._queued_rows = 0

    async def _drain(self, committed: Callable[[Append], None]) -> None:
        batch = self._take()
        steps = [step for append in batch for step in append.steps]
        self._announce("before", steps)
        await self._run_blocking(lambda: self._store.append(steps))
        self._announce("after", steps)
        self.durable = steps[-1].row.position
        self._queued_rows -= len(steps)
        progress, self._progress = self._progress, anyio.Event()
        progress.set()
        for append in batch:
            committed(append)

    def _take(self) -> list[Append]:
        rows = count = 0
        for append in self._queue:
            if count and rows + len(append.steps) > BATCH_ROWS_MAX:
                break
            rows += len(append.steps)
            count += 1
        batch, self._queue = self._queue[:count], self._queue[count:]
        return batch

    def _announce(self, when: str, steps: list[StoredStep]) -> None:
        for step in steps:
            self._probe(f"{when} {step.event.kind}")
