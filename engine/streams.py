"""Queries of the index of streams and of the log's times: all SQL on them but the folds.

For looking only: decisions rest on the log (`read_model.StreamIndex`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from engine.read_model import StreamIndex

#: `Store.query` of a running gateway, or `execute` of a connection that reads.
Query = Callable[[str, Sequence[str | int | bytes]], Iterable[tuple[object, ...]]]

_COLUMNS = "stream, state_name, version, began_unix_us, since_unix_us"
_NAMED = f"SELECT {_COLUMNS} FROM stream WHERE stream IN (SELECT value FROM json_each(?))"  # noqa: S608 (constants)
_OPEN = f"SELECT {_COLUMNS} FROM stream WHERE kind = ? AND final = 0"  # noqa: S608 (same)
_NEWEST_FIRST = f"SELECT {_COLUMNS} FROM stream WHERE kind = ? ORDER BY began_unix_us DESC"  # noqa: S608 (same)
_RECORDED = "SELECT recorded_unix_us FROM log WHERE position = ?"
_VERSION = "SELECT version FROM read_model WHERE name = ?"


class Indexed(msgspec.Struct, frozen=True, array_like=True):
    """A stream as the index has it: the name of its state, since when it has that one, and when the stream began."""

    stream: str
    state_name: str
    version: int
    began_unix_us: int
    since_unix_us: int


def named(query: Query, streams: Iterable[str]) -> dict[str, Indexed]:
    """Those of these streams that have a durable event, by name."""
    names = msgspec.json.encode(list(streams)).decode()
    return {one.stream: one for one in _indexed(query(_NAMED, (names,)))}


def open_of_kind(query: Query, kind: str) -> Iterator[Indexed]:
    """Every stream of a machine that is in no final state."""
    return _indexed(query(_OPEN, (kind,)))


def newest_of_kind(query: Query, kind: str) -> Iterator[Indexed]:
    """Every stream of a machine, the newest first."""
    return _indexed(query(_NEWEST_FIRST, (kind,)))


def is_current(query: Query) -> bool:
    """Whether the index is this program's; else the next start rebuilds it."""
    model = StreamIndex()
    return [tuple(row) for row in query(_VERSION, (model.name,))] == [(model.version,)]


def recorded_unix_us(query: Query, position: int) -> int | None:
    """When the event at a position was written, None without one."""
    return next((msgspec.convert(row[0], int) for row in query(_RECORDED, (position,))), None)


def _indexed(rows: Iterable[tuple[object, ...]]) -> Iterator[Indexed]:
    return (msgspec.convert(row, Indexed) for row in rows)
