"""Read models: tables folded from the log in the same transaction as the events, droppable at any time."""

from typing import Protocol

import apsw

from engine.chain import Row
from engine.events import Event
from engine.machine import State


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
    def fold(self, connection: apsw.Connection, step: Step) -> None:
        """Apply one event; the caller holds the transaction."""
        ...


class StreamIndex:
    """Every stream's kind, version, state and age; where finished machines are looked up.

    `state` is NULL while a stream is open: memory has it then, and a wallet's is too big to write at each event.
    """

    name = "streams"
    version = 1
    tables = ("stream",)
    ddl = """
    CREATE TABLE stream (
        stream          TEXT PRIMARY KEY,
        kind            TEXT    NOT NULL,
        state_name      TEXT    NOT NULL,
        state           BLOB,
        final           INTEGER NOT NULL,
        version         INTEGER NOT NULL,
        position        INTEGER NOT NULL,
        began_unix_us   INTEGER NOT NULL,
        since_unix_us   INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX stream_by_kind ON stream (kind, final, began_unix_us);
    """

    def __init__(self, encode_state: "EncodeState") -> None:
        self._encode_state = encode_state

    def fold(self, connection: apsw.Connection, step: Step) -> None:
        """Keep the newest state; `since` moves only when the state's name changes."""
        row, name = step.row, type(step.state).__name__
        connection.execute(
            "INSERT INTO stream VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8) "
            "ON CONFLICT (stream) DO UPDATE SET state_name = ?3, state = ?4, final = ?5, version = ?6, "
            "position = ?7, since_unix_us = iif(state_name = ?3, since_unix_us, ?8)",
            (
                row.stream,
                row.stream.partition("/")[0],
                name,
                self._encode_state(step.state) if step.final else None,
                int(step.final),
                row.version,
                row.position,
                row.recorded_unix_us,
            ),
        )


class EncodeState(Protocol):
    """Encodes a state with its tag, deterministically."""

    def __call__(self, state: State) -> bytes: ...
