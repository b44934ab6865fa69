"""What moved between two positions of a log, by stream, in a temporary file to save memory."""

from collections.abc import Iterator

import apsw
import msgspec

from engine.chain import Moved

#: Streams in memory.
STREAMS_HELD = 1_000

_TABLE = (
    "CREATE TABLE change (stream TEXT PRIMARY KEY, before TEXT, after TEXT NOT NULL, "
    "events INTEGER NOT NULL, is_over INTEGER NOT NULL) WITHOUT ROWID"
)
_ADD = (
    "INSERT INTO change VALUES (?, ?, ?, ?, ?) ON CONFLICT (stream) DO UPDATE SET "
    "after = excluded.after, events = events + excluded.events, is_over = excluded.is_over"
)


class Change(msgspec.Struct, frozen=True):
    """A stream that moved. `before` is null for one that began, `is_over` true for one that ended."""

    stream: str
    before: str | None
    after: str
    events: int
    is_over: bool


class Changes:
    """Every stream that moved, in the order of names."""

    def __init__(self) -> None:
        self._held: dict[str, Change] = {}
        self._rest = apsw.Connection("")
        self._rest.execute("PRAGMA journal_mode = OFF")
        self._rest.execute(_TABLE)

    def add(self, moved: Moved) -> None:
        """One step of a stream."""
        row, step = moved.step.row, moved.step
        known = self._held.get(row.stream)
        before = None if row.version == 1 else type(moved.before).__name__
        self._held[row.stream] = Change(
            stream=row.stream,
            before=known.before if known is not None else before,
            after=step.state_name,
            events=(known.events if known is not None else 0) + 1,
            is_over=step.final,
        )
        if len(self._held) >= STREAMS_HELD:
            self._put_away()

    def __len__(self) -> int:
        self._put_away()
        ((count,),) = self._rest.execute("SELECT count(*) FROM change")
        assert isinstance(count, int)
        return count

    def __iter__(self) -> Iterator[Change]:
        self._put_away()
        for stream, before, after, events, is_over in self._rest.execute(
            "SELECT * FROM change ORDER BY stream"
        ):
            yield Change(stream, before, after, events, bool(is_over))

    def _put_away(self) -> None:
        with self._rest:
            self._rest.executemany(_ADD, map(msgspec.structs.astuple, self._held.values()))
        self._held.clear()
