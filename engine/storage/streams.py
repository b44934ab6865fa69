"""Queries of the index of streams and of the log's times: all SQL on them but the folds.

For looking only: decisions rest on the log (`read_model.StreamIndex`).
"""

from collections.abc import Iterable, Iterator

import msgspec

from engine.storage.read_model import StreamIndex
from engine.storage.tables import TableReader

_COLUMNS = "stream, state_name, version, began_unix_us, since_unix_us"
_AMONG = (
    "stream_name.name_hash IN (SELECT name_hash(value) FROM json_each(?1)) "
    "AND stream IN (SELECT value FROM json_each(?1))"
)
_INDEXED = f"SELECT {_COLUMNS} FROM stream JOIN stream_name USING (id) WHERE"  # noqa: S608 (constants)
_NAMED = f"{_INDEXED} {_AMONG}"
_OPEN = f"{_INDEXED} kind = ? AND final = 0"
_FINISHED = f"{_NAMED} AND final"
_NEWEST_FIRST = f"{_INDEXED} kind = ? ORDER BY began_unix_us DESC"
_RECORDED = "SELECT recorded_unix_us FROM log WHERE position = ?"
_VERSION = "SELECT version FROM read_model WHERE name = ?"


class Indexed(msgspec.Struct, frozen=True, array_like=True):
    """A stream as the index has it: the name of its state, since when it has that one, and when the stream began."""

    stream: str
    state_name: str
    version: int
    began_unix_us: int
    since_unix_us: int


def named(log: TableReader, streams: Iterable[str]) -> dict[str, Indexed]:
    """Those of these streams that have a durable event, by name."""
    return {one.stream: one for one in _among(log, _NAMED, streams)}


def open_of_kind(log: TableReader, kind: str) -> Iterator[Indexed]:
    """Every stream of a machine that is in no final state."""
    return _indexed(log.query(_OPEN, (kind,)))


def finished_versions(log: TableReader, names: Iterable[str]) -> dict[str, int]:
    """How many events those of these streams have that are finished."""
    return {one.stream: one.version for one in _among(log, _FINISHED, names)}


def newest_of_kind(log: TableReader, kind: str) -> Iterator[Indexed]:
    """Every stream of a machine, the newest first."""
    return _indexed(log.query(_NEWEST_FIRST, (kind,)))


def is_current(log: TableReader) -> bool:
    """Whether the index is this program's; else the next start rebuilds it."""
    return stored_version(log, StreamIndex.name) == StreamIndex.version


def stored_version(log: TableReader, read_model: str) -> int | None:
    """The version of a read model's tables, None when it has none."""
    return next((msgspec.convert(row[0], int) for row in log.query(_VERSION, (read_model,))), None)


def recorded_unix_us(log: TableReader, position: int) -> int | None:
    """When the event at a position was written, None without one."""
    return next((msgspec.convert(row[0], int) for row in log.query(_RECORDED, (position,))), None)


def _among(log: TableReader, sql: str, names: Iterable[str]) -> Iterator[Indexed]:
    return _indexed(log.query(sql, (msgspec.json.encode(list(names)).decode(),)))


def _indexed(rows: Iterable[tuple[object, ...]]) -> Iterator[Indexed]:
    return (msgspec.convert(row, Indexed) for row in rows)
