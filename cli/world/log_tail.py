"""The log of a gateway in another process, folded as it grows. Nothing here writes."""

from collections.abc import Callable, Collection
from pathlib import Path

import anyio

from engine.chain import StoredStep
from engine.fold import Machines, Position, steps
from engine.machine import State, kind_of
from engine.storage.reader import LogReader, open_log

_POLL_PAUSE_S = 0.05


class LogTail:
    """Tells of every event once it is durable, also over restarts of the gateway."""

    def __init__(
        self, data_dir: Path, machines: Machines, show: Callable[[StoredStep], None]
    ) -> None:
        """`show` is called for every event, in order."""
        self._data_dir = data_dir
        self._machines = machines
        self._show = show
        self._known: dict[str, Position] = {}
        self._position = 0

    def state(self, stream: str) -> State | None:
        """The state of a stream as far as the log was read, None when it has no event."""
        found = self._known.get(stream)
        return found.state if found else None

    def open_streams(self, kinds: Collection[str]) -> list[str]:
        """The streams of these kinds that are not over."""
        return [
            stream
            for stream, found in self._known.items()
            if kind_of(stream) in kinds and not self._machines.of(stream).is_final(found.state)
        ]

    async def run(self) -> None:
        """Follow the log of a gateway that has started, without end. Raises FatalError for rows that cannot be read."""
        with open_log(self._data_dir) as log:
            while True:
                self._read(log)
                await anyio.sleep(_POLL_PAUSE_S)

    def _read(self, log: LogReader) -> None:
        rows = (chained.row for chained in log.rows(self._position))
        for step in steps(self._machines, rows, self._known):
            self._position = step.row.position
            self._show(step)
