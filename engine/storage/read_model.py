"""Read models: tables folded from the log in the same transaction as the events, droppable at any time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import apsw
import msgspec

from engine.chain import Row
from engine.events import Event
from engine.machine import State
from engine.storage.errors import is_of_storage
from engine.storage.opening import savepoint
from engine.storage.rows import id_of, name_hash


class Step(Protocol):
    """One event as read models see it: the row, its event, and the stream's state afterwards."""

    @property
    def row(self) -> Row: ...
    @property
    def event(self) -> Event: ...
    @property
    def state(self) -> State: ...
    @property
    def final(self) -> bool: ...
    @property
    def fault(self) -> str | None: ...


class ReadModel(Protocol):
    """Tables of one purpose. Raise `version` when tables or fold change: they are then rebuilt from the log."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def tables(self) -> tuple[str, ...]: ...
    @property
    def ddl(self) -> str: ...
    def fold(self, connection: apsw.Connection, steps: Sequence[Step]) -> None:
        """Apply events in order, however the log is cut into batches; the caller holds the transaction."""
        ...


class Gap(msgspec.Struct, frozen=True):
    """The event at `position` that the read model `name` could not take: it is kept out, and the rest goes on."""

    name: str
    position: int
    why: str


def fold_containing(
    connection: apsw.Connection, model: ReadModel, steps: Sequence[Step]
) -> list[Gap]:
    """Fold all steps that the model can take, and return the others.

    A model gives the same tables however steps are cut into batches, so which are left out does not depend on it
    either. Raises what storage raises, what took the whole transaction back, and what says nothing of the events: that
    memory is short.
    """
    try:
        with savepoint(connection):
            model.fold(connection, steps)
    except Exception as error:
        is_of_events = not (is_of_storage(error) or isinstance(error, MemoryError))
        if not is_of_events or not connection.in_transaction:
            raise
        if len(steps) == 1:
            return [Gap(model.name, steps[0].row.position, f"{type(error).__name__}: {error}")]
        return [gap for step in steps for gap in fold_containing(connection, model, [step])]
    return []


class StreamIndex:
    """Every stream's kind, version, age and the name of its state. For looking only: decisions rest on the log."""

    name = "streams"
    version = 3
    tables = ("stream",)
    ddl = """
    CREATE TABLE stream (
        id              INTEGER PRIMARY KEY,
        name_hash       INTEGER NOT NULL,
        kind            TEXT    NOT NULL,
        state_name      TEXT    NOT NULL,
        final           INTEGER NOT NULL,
        version         INTEGER NOT NULL,
        position        INTEGER NOT NULL,
        began_unix_us   INTEGER NOT NULL,
        since_unix_us   INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX stream_by_kind ON stream (kind, final, began_unix_us);
    CREATE INDEX stream_by_name_hash ON stream (name_hash);
    """

    def fold(self, connection: apsw.Connection, steps: Sequence[Step]) -> None:
        """Keep each stream's newest state; `since` moves only when the state's name changes."""
        runs: dict[str, _Run] = {}
        for step in steps:
            run = runs.get(step.row.stream)
            runs[step.row.stream] = _Run(None, step, step) if run is None else run.after(step)
        unfinished, finished = [], []
        for run in runs.values():
            if run.newest.final:
                finished.append(run.values())
            else:
                unfinished.append(run.values())
        connection.executemany(_KEEP_UNFINISHED, unfinished)
        connection.executemany(_KEEP_FINISHED, finished)


@dataclass(slots=True)
class _Run:
    """One stream within a batch: its first step when the state's name changed since, and where the name began."""

    first: Step | None
    since: Step
    newest: Step

    def after(self, step: Step) -> "_Run":
        if type(step.state) is type(self.newest.state):
            return _Run(self.first, self.since, step)
        return _Run(self.first or self.since, step, step)

    def values(self) -> tuple[str | int, ...]:
        row = self.newest.row
        return (
            row.stream,
            name_hash(row.stream),
            row.stream.partition("/")[0],
            type(self.newest.state).__name__,
            row.version,
            row.position,
            (self.first or self.since).row.recorded_unix_us,
            self.since.row.recorded_unix_us,
            self.first is None,
        )


# Only the second touches `final`, and with it the index: most events leave both alone.
_COLUMNS = "id, name_hash, kind, state_name, version, position, began_unix_us, since_unix_us"
_VALUES = f"{id_of('?1')}, ?2, ?3, ?4, ?5, ?6, ?7, ?8"
_NEWEST = (
    "state_name = ?4, version = ?5, position = ?6, "
    "since_unix_us = iif(?9 AND state_name = ?4, since_unix_us, ?8)"
)
_KEEP_UNFINISHED = (
    f"INSERT INTO stream ({_COLUMNS}, final) VALUES ({_VALUES}, 0) "  # noqa: S608 (constants)
    f"ON CONFLICT (id) DO UPDATE SET {_NEWEST}"
)
_KEEP_FINISHED = (
    f"INSERT INTO stream ({_COLUMNS}, final) VALUES ({_VALUES}, 1) "  # noqa: S608 (same)
    f"ON CONFLICT (id) DO UPDATE SET {_NEWEST}, final = 1"
)
