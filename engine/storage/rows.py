"""Reads the rows of a log's file, also beside a running gateway, and writes nothing."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import apsw

from engine.chain import EMPTY_HEAD, ChainedRow, Head, Row
from engine.events import EncodedEvent
from engine.progress import telling
from engine.storage.errors import storage_error
from engine.storage.opening import BUSY_MS, NO_TEMPORARY_FILES
from engine.storage.packing import Packing
from errors import NotFoundError

LOG_NAME = "gateway.sqlite3"
#: Hashes of names in memory: each event asks several times for that of its stream.
NAMES_HELD = 1_024


def id_of(parameter: str) -> str:
    """SQL for the number of the stream whose name is a parameter, such as `?1`."""
    return f"(SELECT id FROM stream_name WHERE name_hash = name_hash({parameter}) AND stream = {parameter})"  # noqa: S608


#: Give a stream with the name ? a number, once.
NAME_STREAM = (
    "INSERT INTO stream_name (name_hash, stream) SELECT name_hash(?1), ?1 "
    f"WHERE {id_of('?1')} IS NULL"
)
#: A row whose name is gone has another hash. Conditions name a stream by `stream_id`.
_ROWS = (
    "SELECT position, append, coalesce(stream, ''), version, kind, schema_version, unpacked(body), epoch, "
    "recorded_unix_us, hash FROM log LEFT JOIN stream_name ON stream_name.id = log.stream_id WHERE "
)
_OF_STREAM = f"stream_id = {id_of('?1')} AND version > ?2 ORDER BY version"


def open_reader(path: Path) -> apsw.Connection:
    """A read-only connection, also to the log of a running gateway. Raises NotFoundError without a file."""
    if not path.is_file():
        raise NotFoundError(f"there is no log at {path}")
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(BUSY_MS)
    connection.execute(NO_TEMPORARY_FILES)
    add_functions(connection)
    return connection


def add_functions(connection: apsw.Connection) -> None:
    """Give a connection the SQL functions of a log: `unpacked` for bodies, `name_hash` for names of streams."""
    connection.create_scalar_function("unpacked", _unpacked(connection), 1, deterministic=True)
    connection.create_scalar_function("name_hash", name_hash, 1, deterministic=True)


@lru_cache(maxsize=NAMES_HELD)
def name_hash(stream: str) -> int:
    """A number of a stream's name, by which tables find it."""
    return int.from_bytes(hashlib.sha256(stream.encode()).digest()[:7], "big")


def _unpacked(connection: apsw.Connection) -> Callable[..., Any]:
    packings: list[Packing] = []

    def unpacked(body: bytes) -> bytes:
        # The file may have had no tables yet when the connection was made.
        if not packings:
            packings.append(Packing.of(connection))
        return packings[0].unpack(body)

    return unpacked


def read_rows(connection: apsw.Connection, after: int = 0) -> Iterator[ChainedRow]:
    """Rows after a position in order, from one consistent snapshot.

    Raises DamagedError or FatalError when they cannot be read.
    """
    rows = select_rows(connection, "position > ? ORDER BY position", (after,))
    return telling(rows, lambda: newest_head(connection).position - after)


def read_stream(
    connection: apsw.Connection, stream: str, after_version: int = 0
) -> Iterator[ChainedRow]:
    """Rows of one stream after a version, in order. Raises as `read_rows` does."""
    return select_rows(connection, _OF_STREAM, (stream, after_version))


def stream_id(connection: apsw.Connection, stream: str) -> int | None:
    """The number of a stream; None for one that has no event."""
    ((found,),) = connection.execute(f"SELECT {id_of('?1')}", (stream,))
    return found if isinstance(found, int) else None


def select_rows(
    connection: apsw.Connection, where: str, bindings: Sequence[str | int | bytes | None]
) -> Iterator[ChainedRow]:
    """Rows that meet a condition in SQL. Raises DamagedError or FatalError when they cannot be read."""
    try:
        for values in connection.execute(_ROWS + where, bindings):
            position, append, stream, version, kind, schema, body, epoch, recorded, digest = values
            event = EncodedEvent(kind, schema, body)
            yield ChainedRow(Row(position, append, stream, version, event, epoch, recorded), digest)
    except (apsw.Error, UnicodeDecodeError) as error:
        raise storage_error(Path(connection.filename), error) from error


def newest_head(connection: apsw.Connection) -> Head:
    """The head of the stored log."""
    found = connection.execute(
        "SELECT position, hash FROM log ORDER BY position DESC LIMIT 1"
    ).fetchone()
    return Head(*found) if found is not None else EMPTY_HEAD


def head_at(connection: apsw.Connection, position: int) -> Head:
    """Position and hash of a row; those of an empty log when there is none."""
    found = connection.execute(
        "SELECT position, hash FROM log WHERE position = ?", (position,)
    ).fetchone()
    return Head(*found) if found is not None else EMPTY_HEAD
