"""The SQLite file: one transaction per batch, asserted against epoch and head; readers never write."""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

import apsw
import msgspec

from engine.chain import EMPTY_HEAD, ChainedRow, Head, Row, chain_hash
from engine.events import EncodedEvent, Event
from engine.lock import DirectoryLock
from engine.machine import State
from engine.read_model import ReadModel
from errors import ConfigError, FatalError, NotFoundError, UnavailableError

LOG_NAME = "gateway.sqlite3"
#: Pages of the WAL before SQLite checkpoints it by itself: 4 MiB, a few thousand events.
WAL_PAGES = 1000
#: Rows folded at a time when a read model is rebuilt: bounds memory.
REBUILD_ROWS = 1_000
#: How long another program may hold the file for a moment, such as a backup that checkpoints it.
BUSY_MS = 5_000

_ROW_COLUMNS = (
    "position, append, stream, version, kind, schema_version, body, epoch, recorded_unix_us, hash"
)


class Migrations(Protocol):
    """The forward-only steps of the database; `latest` is the schema version of this program."""

    @property
    def latest(self) -> int: ...
    def apply(self, connection: apsw.Connection, found: int) -> None:
        """Bring the schema from version `found` to `latest`; the caller holds the transaction."""
        ...


class StoredStep(msgspec.Struct, frozen=True):
    """A row with its event and the state of its stream afterwards, as read models fold it."""

    row: Row
    event: Event
    state: State
    final: bool


class FinishedStream(msgspec.Struct, frozen=True):
    """What the stream index holds of a finished stream."""

    stream: str
    state: bytes
    version: int
    position: int


class Store:
    """The writing side of one data directory. Everything it raises from a write is fatal."""

    def __init__(
        self, directory: Path, migrations: Migrations, read_models: Sequence[ReadModel]
    ) -> None:
        """Take the lock, create or migrate the file, checkpoint it, and raise the writer epoch.

        Raises ConfigError when the directory is in use or the file is newer than this program, UnavailableError
        when somebody keeps reading it, FatalError when it is not a database of ours.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        self._lock = DirectoryLock(directory)
        self.path = directory / LOG_NAME
        self.read_models = tuple(read_models)
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._write = _open_writer(self.path)
            _migrate(self._write, migrations)
            self._forget_other_read_models()
            self._raise_epoch()
            self._read = open_reader(self.path)
            self.head = newest_head(self._write)
        except apsw.Error as error:
            self._lock.release()
            raise FatalError(f"{self.path} cannot be opened as a log: {error}") from error
        except BaseException:
            self._lock.release()
            raise

    def rows(self, after: int = 0) -> Iterator[ChainedRow]:
        """Stored rows after a position, in order."""
        return read_rows(self._read, after)

    def finished(self, stream: str) -> FinishedStream | None:
        """The last state of a finished stream, encoded; None for streams that are open or unknown."""
        return read_stream(self._read, stream)

    def query(
        self, sql: str, bindings: Sequence[str | int | bytes] = ()
    ) -> list[tuple[object, ...]]:
        """Rows of a read model. Reads only what is committed."""
        return list(self._read.execute(sql, bindings))

    def append(self, steps: Sequence[StoredStep]) -> None:
        """Write whole appends in one durable transaction, folding every read model.

        Raises FatalError when the stored epoch or head is not the one this process left, and on any error of
        SQLite: what is on disk is then unknown until the file is opened again.
        """
        try:
            self._write.execute("BEGIN IMMEDIATE")
            try:
                self._assert_unchanged()
                head = self._insert(steps)
                for model in self.read_models:
                    model.fold(self._write, steps)
                self._write.execute("COMMIT")
            except BaseException:
                if self._write.in_transaction:
                    self._write.execute("ROLLBACK")
                raise
        except FatalError:
            raise
        except Exception as error:
            raise FatalError(
                f"the log could not be written ({error}): stopping; nothing is retried"
            ) from error
        self.head = head

    def outdated_read_models(self) -> list[ReadModel]:
        """Read models whose stored version is not this program's, or whose tables were dropped."""
        stored = dict(self._write.execute("SELECT name, version FROM read_model"))
        present = {name for (name,) in self._write.execute("SELECT name FROM sqlite_schema")}
        return [
            model
            for model in self.read_models
            if stored.get(model.name) != model.version or not present.issuperset(model.tables)
        ]

    def rebuild(self, models: Sequence[ReadModel], steps: Iterator[StoredStep]) -> None:
        """Drop the tables of `models` and fold them anew from all steps, in one transaction."""
        with self._write:
            for model in models:
                for table in model.tables:
                    self._write.execute(f'DROP TABLE IF EXISTS "{table}"')
                self._write.execute(model.ddl)
            while chunk := list(islice(steps, REBUILD_ROWS)):
                for model in models:
                    model.fold(self._write, chunk)
            for model in models:
                self._write.execute(
                    "INSERT INTO read_model VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET version = excluded.version",
                    (model.name, model.version),
                )

    def close(self) -> None:
        """Close the file and give the lock up."""
        self._read.close()
        self._write.close()
        self._lock.release()

    def _raise_epoch(self) -> None:
        with self._write:
            self._write.execute("UPDATE writer SET epoch = epoch + 1")
            self.epoch = _only_int(self._write, "SELECT epoch FROM writer")

    def _forget_other_read_models(self) -> None:
        """What this program does not fold falls behind, so a later one must rebuild it."""
        names = [model.name for model in self.read_models]
        marks = ",".join("?" * len(names))
        self._write.execute(f"DELETE FROM read_model WHERE name NOT IN ({marks})", names)  # noqa: S608

    def _assert_unchanged(self) -> None:
        epoch = _only_int(self._write, "SELECT epoch FROM writer")
        if epoch != self.epoch:
            raise FatalError(
                f"another process opened this log (epoch {epoch}, ours {self.epoch}): stopping"
            )
        if newest_head(self._write) != self.head:
            raise FatalError(
                "the newest row of the log is not the one this process wrote: stopping"
            )

    def _insert(self, steps: Sequence[StoredStep]) -> Head:
        previous = self.head.hash
        values: list[tuple[int | str | bytes, ...]] = []
        for step in steps:
            row = step.row
            if row.position != self.head.position + 1 + len(values):
                raise FatalError(f"position {row.position} does not follow from the head: stopping")
            previous = chain_hash(previous, row)
            values.append(
                (
                    row.position,
                    row.append,
                    row.stream,
                    row.version,
                    row.event.kind,
                    row.event.schema_version,
                    row.event.body,
                    row.epoch,
                    row.recorded_unix_us,
                    previous,
                )
            )
        self._write.executemany(
            f"INSERT INTO log ({_ROW_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)",  # noqa: S608 (a constant)
            values,
        )
        return Head(steps[-1].row.position, previous)


def _open_writer(path: Path) -> apsw.Connection:
    """A connection that makes each commit durable. The WAL left by a crash is folded in before anything reads."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(BUSY_MS)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
    if _only_int(connection, "PRAGMA wal_checkpoint(TRUNCATE)"):
        raise UnavailableError("another program keeps reading the log: start again when it is done")
    return connection


def _migrate(connection: apsw.Connection, migrations: Migrations) -> None:
    found = _only_int(connection, "PRAGMA user_version")
    if found > migrations.latest:
        raise ConfigError(
            f"the data directory has schema {found}, this program knows up to {migrations.latest}: "
            "start the newer program that wrote it"
        )
    if found < migrations.latest:
        with connection:
            migrations.apply(connection, found)
            connection.execute(f"PRAGMA user_version = {migrations.latest}")


def open_reader(path: Path) -> apsw.Connection:
    """A read-only connection, also to the log of a running gateway. Raises NotFoundError without a file."""
    if not path.is_file():
        raise NotFoundError(f"there is no log at {path}")
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(BUSY_MS)
    return connection


def read_rows(connection: apsw.Connection, after: int = 0) -> Iterator[ChainedRow]:
    """Rows after a position in order, from one consistent snapshot.

    Raises FatalError when SQLite cannot read them.
    """
    return select_rows(connection, "position > ? ORDER BY position", (after,))


def select_rows(
    connection: apsw.Connection, where: str, bindings: Sequence[str | int | bytes | None]
) -> Iterator[ChainedRow]:
    """Rows that meet a condition in SQL. Raises FatalError when SQLite cannot read them."""
    query = f"SELECT {_ROW_COLUMNS} FROM log WHERE {where}"  # noqa: S608 (conditions of ours)
    try:
        for values in connection.execute(query, bindings):
            position, append, stream, version, kind, schema, body, epoch, recorded, digest = values
            event = EncodedEvent(kind, schema, body)
            yield ChainedRow(Row(position, append, stream, version, event, epoch, recorded), digest)
    except (apsw.Error, UnicodeDecodeError) as error:
        raise FatalError(f"the log cannot be read: {error}") from error


def read_stream(connection: apsw.Connection, stream: str) -> FinishedStream | None:
    """One finished stream out of the stream index."""
    found = connection.execute(
        "SELECT stream, state, version, position FROM stream WHERE stream = ? AND final",
        (stream,),
    ).fetchone()
    return FinishedStream(*found) if found is not None else None


def newest_head(connection: apsw.Connection) -> Head:
    """The head of the stored log."""
    found = connection.execute(
        "SELECT position, hash FROM log ORDER BY position DESC LIMIT 1"
    ).fetchone()
    return Head(*found) if found is not None else EMPTY_HEAD


def _only_int(connection: apsw.Connection, sql: str) -> int:
    """The first column of the first row of an answer."""
    found = connection.execute(sql).fetchone()
    if found is None or not isinstance(found[0], int):
        raise FatalError(f"the database does not answer {sql!r}: it is damaged or not ours")
    return found[0]
