"""Verifies a stored log: the chain holds, it folds, and the read models equal the fold.

Memory holds only what is open: finished streams and rebuilt tables lie in a temporary file meanwhile.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, zip_longest

import apsw
import msgspec

from engine.chain import Head, Row, StoredStep, checked
from engine.fold import Machines, Position, hash_of_states
from engine.machine import State
from engine.storage import streams
from engine.storage.folded_tables import REBUILD_ROWS
from engine.storage.read_model import Gap, ReadModel, fold_containing
from engine.storage.reader import LogReader
from engine.storage.rows import NAME_STREAM, add_functions
from engine.storage.schema import LOG_TABLES
from errors import FatalError

#: Looks at a step and the state before it, and tells what is wrong with it.
Inspect = Callable[[State, StoredStep], Iterable[str]]

_FINISHED = "CREATE TABLE finished_stream (stream TEXT PRIMARY KEY, version INTEGER, state BLOB)"


class ComparedReadModel(msgspec.Struct, frozen=True):
    """A read model and how many rows were equal; `left_out` are positions of events that it could not take.

    `compared` is false when the next start rebuilds it anyway, when the log does not fold, or when this program cannot
    read all of it, as the one could that wrote the tables.
    """

    name: str
    version: int
    rows: int
    compared: bool
    left_out: tuple[int, ...] = ()


class Verified(msgspec.Struct, frozen=True):
    """What a log holds. Two logs with one `head` are the same; with one `states` they fold to the same.

    `states` is None for a log that does not fold; `problems` has a sentence for everything that is wrong. `unread` has
    one for each stream with an event that this program cannot read: it is quarantined, and the log is sound.
    """

    head: Head
    states: str | None
    streams: int
    unfinished_streams: int
    read_models: tuple[ComparedReadModel, ...]
    problems: tuple[str, ...]
    unread: tuple[str, ...] = ()


def verify(
    log: LogReader,
    machines: Machines,
    read_models: Sequence[ReadModel],
    inspect: Inspect = lambda _before, _step: (),
) -> Verified:
    """Check a log as it is at one moment, also beside a running gateway.

    Raises FatalError when SQLite cannot read it.
    """
    scratch = apsw.Connection("")
    try:
        with log.moment():
            return _Verification(log, scratch, machines, read_models).run(inspect)
    finally:
        scratch.close(force=True)


class _Verification:
    """One reading of a log; `scratch` is a temporary database."""

    def __init__(
        self,
        log: LogReader,
        scratch: apsw.Connection,
        machines: Machines,
        read_models: Sequence[ReadModel],
    ) -> None:
        self._log = log
        self._scratch = scratch
        self._machines = machines
        self._read_models = read_models
        self._open: dict[str, Position] = {}
        self._finished = 0
        self._problems: list[str] = []
        self._gaps: list[Gap] = []
        self._unread: list[str] = []

    def run(self, inspect: Inspect) -> Verified:
        rows = self._rows()
        folds = self._fold(rows, inspect)
        for _ in rows:  # what lies behind a row that does not fold can still be changed or not
            pass
        compared = tuple(
            self._compare(model) if folds and not self._unread else _not_compared(model)
            for model in self._read_models
        )
        return Verified(
            head=self._log.head,
            states=hash_of_states(self._states()) if folds else None,
            streams=len(self._open) + self._finished,
            unfinished_streams=len(self._open),
            read_models=compared,
            problems=tuple(self._problems),
            unread=tuple(self._unread),
        )

    def _rows(self) -> Iterator[Row]:
        for row, problem in checked(self._log.rows()):
            if problem is not None:
                self._problems.append(problem)
            yield row

    def _fold(self, rows: Iterator[Row], inspect: Inspect) -> bool:
        """Fold all rows into open states and scratch tables; False when one of them does not fold."""
        add_functions(self._scratch)
        for sql in (
            "PRAGMA journal_mode = MEMORY",
            LOG_TABLES,
            _FINISHED,
            *(model.ddl for model in self._read_models),
        ):
            self._scratch.execute(sql)
        while chunk := list(islice(rows, REBUILD_ROWS)):
            try:
                steps = [self._step(row, inspect) for row in chunk]
                with self._scratch:
                    self._name_begun(chunk)
                    for model in self._read_models:
                        self._gaps += fold_containing(self._scratch, model, steps)
                    self._keep_finished(steps)
            except Exception as error:  # noqa: BLE001 (what a changed row breaks in a fold may be anything)
                if isinstance(error, FatalError):
                    why = str(error)
                else:
                    why = f"{type(error).__name__} between {chunk[0].position} and {chunk[-1].position}"
                self._problems.append(f"the log does not fold: {why}")
                return False
        return True

    def _step(self, row: Row, inspect: Inspect) -> StoredStep:
        known = self._open.get(row.stream)
        before = known.state if known is not None else self._machines.of(row.stream).initial
        step = self._machines.step(self._open, row)
        if step.fault is not None and (known is None or known.fault is None):
            self._unread.append(f"{row.stream}: {step.fault}")
        self._problems.extend(inspect(before, step))
        if step.final:
            self._open.pop(row.stream, None)
        else:
            self._open[row.stream] = Position.after(step)
        return step

    def _name_begun(self, rows: Iterable[Row]) -> None:
        """Number streams as the log does: the tables have these numbers."""
        begun = [(row.stream,) for row in rows if row.version == 1]
        self._scratch.executemany(NAME_STREAM, begun)

    def _keep_finished(self, steps: Iterable[StoredStep]) -> None:
        finished = [
            (step.row.stream, step.row.version, self._machines.encode_state(step.state))
            for step in steps
            if step.final
        ]
        self._scratch.executemany("INSERT INTO finished_stream VALUES (?, ?, ?)", finished)
        self._finished += len(finished)

    def _states(self) -> Iterator[tuple[str, int, bytes]]:
        """Every stream in the order of names, as `hash_of_states` wants them."""
        finished = self._scratch.execute("SELECT * FROM finished_stream ORDER BY stream")
        unfinished = (
            (stream, position.version, self._machines.encode_state(position.state))
            for stream, position in sorted(self._open.items())
        )
        return heapq.merge(finished, unfinished)

    def _compare(self, model: ReadModel) -> ComparedReadModel:
        if streams.stored_version(self._log, model.name) != model.version:
            return _not_compared(model)
        rows = sum(self._compare_table(table) for table in model.tables)
        left_out = tuple(gap.position for gap in self._gaps if gap.name == model.name)
        return ComparedReadModel(model.name, model.version, rows, compared=True, left_out=left_out)

    def _compare_table(self, table: str) -> int:
        """How many rows are equal before the first that is not."""
        columns = [name for _, name, *_ in self._scratch.execute(f'PRAGMA table_info("{table}")')]
        query = f'SELECT * FROM "{table}" ORDER BY {", ".join(columns)}'  # noqa: S608 (names of ours)
        count = 0
        try:
            pairs = zip_longest(self._log.connection.execute(query), self._scratch.execute(query))
            for found, expected in pairs:
                if found != expected:
                    row = found or expected
                    self._problems.append(
                        f"the read model table {table} differs from the log at {row[:2]}"
                    )
                    break
                count += 1
        except apsw.SQLError as error:
            self._problems.append(f"the read model table {table} cannot be read: {error}")
        return count


def _not_compared(model: ReadModel) -> ComparedReadModel:
    return ComparedReadModel(model.name, model.version, 0, compared=False)
