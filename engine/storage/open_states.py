"""The open streams of a log with the states they had not long ago, so that a start reads no history.

A stream is entered with its first event and taken out with its last. Its state is written only now and then: what
follows in the log is folded onto it at the next start, and of a short stream that is all. A wallet holds hundreds of
notes, so writing it with each event would cost more than the event.

Unlike other tables, decisions rest on this one. So each row has a checksum, the rows must be those that the index of
streams has as open, and the table is of one program: another one, which may fold differently, folds everything anew.
"""

import hashlib
from collections.abc import Iterator, Sequence

import apsw
import msgspec

from engine.fold import Machines, Position
from engine.machine import State
from engine.storage.errors import DamagedError
from engine.storage.packing import dictionary_of
from engine.storage.read_model import Step
from engine.storage.rows import id_of

#: A state is written after so many events, or more if it is long: bounds what a start folds, and what is written.
EVENTS_MIN = 16
#: Bytes of a state for which one event more is waited.
BYTES_AN_EVENT = 256
_CHECKSUM_BYTES = 16

_ID = id_of("?1")
_ENTER = f"INSERT INTO open_stream VALUES ({_ID}, 0, 0, x'', ?2)"  # noqa: S608 (constants)
_KEEP = f"REPLACE INTO open_stream VALUES ({_ID}, ?2, ?3, ?4, ?5)"  # noqa: S608 (same)
_TAKE_OUT = f"DELETE FROM open_stream WHERE id = {_ID}"  # noqa: S608 (same)
_WRITTEN = f"SELECT version, length(state) FROM open_stream WHERE id = {_ID}"  # noqa: S608 (same)
_ALL = "SELECT stream, version, position, state, checksum FROM open_stream LEFT JOIN stream_name USING (id)"


class OpenStates:
    """The table of one program: `version` is different for every program that could fold differently."""

    name = "open_states"
    tables = ("open_stream",)
    ddl = """
    CREATE TABLE open_stream (
        id          INTEGER PRIMARY KEY,
        version     INTEGER NOT NULL,
        position    INTEGER NOT NULL,
        state       BLOB    NOT NULL,
        checksum    BLOB    NOT NULL
    ) STRICT;
    """

    def __init__(self, machines: Machines, version: int) -> None:
        self.machines = machines
        self.version = version

    @property
    def dictionary(self) -> bytes:
        """What the bodies of these machines' events have in common."""
        return dictionary_of(event for machine in self.machines for event in machine.events)

    def fold(self, connection: apsw.Connection, steps: Sequence[Step]) -> None:
        """Enter, write and take out; what is written when depends on the steps alone, not on how they are cut."""
        entered: dict[str, None] = {}
        written: dict[str, _Written] = {}
        over: list[tuple[str]] = []
        for step in steps:
            stream, version = step.row.stream, step.row.version
            if version == 1:
                entered[stream] = None
            if step.final:
                written.pop(stream, None)
                if stream in entered:
                    del entered[stream]
                else:
                    over.append((stream,))
            elif version >= EVENTS_MIN and step.fault is None:
                before = written.get(stream) or _written(connection, stream)
                if version - before.version >= max(EVENTS_MIN, before.length // BYTES_AN_EVENT):
                    state = self._encoded(stream, step.state)
                    if state:
                        written[stream] = _Written(version, len(state), step.row.position, state)
        connection.executemany(
            _ENTER, [(stream, _checksum(stream, 0, 0, b"")) for stream in entered]
        )
        connection.executemany(
            _KEEP,
            [
                (stream, *one.columns, _checksum(stream, *one.columns))
                for stream, one in written.items()
                if one.state
            ],
        )
        connection.executemany(_TAKE_OUT, over)

    def _encoded(self, stream: str, state: State) -> bytes:
        """The JSON of a state; nothing for one that would not come back, which is then folded from its events.

        Whatever goes wrong is of this stream alone, and must not keep the others' events from being written.
        """
        try:
            encoded = self.machines.encode_state(state)
            return encoded if self.machines.decode_state(stream, encoded) == state else b""
        except Exception:  # noqa: BLE001 (same)
            return b""

    def load(
        self, connection: apsw.Connection, machines: Machines
    ) -> Iterator[tuple[str, Position | None]]:
        """Every open stream with what was written of it last, if anything was.

        Raises DamagedError when a row is not what was written.
        """
        for stream, version, position, state, checksum in connection.execute(_ALL):
            if stream is None or checksum != _checksum(stream, version, position, state):
                raise DamagedError(f"{connection.filename} does not return the state of {stream}")
            if version:
                decoded = machines.decode_state(stream, state)
                yield stream, Position(decoded, version, position)
            else:
                yield stream, None


class _Written(msgspec.Struct, frozen=True):
    """What is written of a stream, the state itself only when it is new."""

    version: int
    length: int
    position: int = 0
    state: bytes = b""

    @property
    def columns(self) -> tuple[int, int, bytes]:
        return (self.version, self.position, self.state)


def _written(connection: apsw.Connection, stream: str) -> _Written:
    found = connection.execute(_WRITTEN, (stream,)).fetchone()
    return _Written(*found) if found is not None else _Written(0, 0)


def _checksum(stream: str, version: int, position: int, state: bytes) -> bytes:
    named = f"{stream}\n{version}\n{position}\n".encode()
    return hashlib.sha256(named + state).digest()[:_CHECKSUM_BYTES]
