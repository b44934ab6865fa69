"""The SQLite file: one transaction per batch, asserted against epoch and head; readers never write."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

import apsw

from engine.chain import EMPTY_HEAD, ChainedRow, Head, Row, StoredStep, chain_hash, verified
from engine.events import EncodedEvent
from engine.head_file import HeadFile
from engine.lock import DirectoryLock
from engine.opening import (
    BUSY_MS,
    Migrations,
    check_pages,
    close,
    fold_in,
    make_private,
    migrate,
    only_int,
    open_writer,
    schema_of,
    transaction,
)
from engine.read_model import Gap, ReadModel, StreamIndex, fold_containing
from engine.storage_errors import DamagedError, StorageError, is_of_storage, storage_error
from errors import FatalError, FaultError, NotFoundError

LOG_NAME = "gateway.sqlite3"
#: Pages of the WAL before it is checkpointed: 4 MiB, a few thousand events.
WAL_PAGES = 1000
#: More rows than a page has room for.
PAGE_ROWS_MAX = 64
#: Rows folded at a time when a read model is rebuilt: bounds memory.
REBUILD_ROWS = 1_000

_ROW_COLUMNS = (
    "position, append, stream, version, kind, schema_version, body, epoch, recorded_unix_us, hash"
)


class Store:
    """The writing side of one data directory. Everything it raises from a write is fatal."""

    def __init__(
        self, directory: Path, migrations: Migrations, read_models: Sequence[ReadModel]
    ) -> None:
        """Take the lock, create or migrate the file, checkpoint it, and raise the writer epoch.

        Raises ConfigError when the directory is in use, cannot be written, or the file is newer than this program,
        UnavailableError when somebody keeps reading it, DamagedError when it is not what was written,
        FatalError when it cannot be used.
        """
        make_private(directory)
        self.path = directory / LOG_NAME
        self.read_models = tuple(read_models)
        #: Hears once of reads that failed: a process that decides on what is stored must end.
        self.failed: Callable[[FatalError], None] = _nobody_listens
        self._is_whole = True
        self._wal_pages = 0
        with ExitStack() as opened:
            self._lock = DirectoryLock(directory)
            opened.callback(self._lock.release)
            try:
                self._open(opened, migrations)
            except (apsw.Error, OSError) as error:
                raise storage_error(self.path, error) from error
            self._opened = opened.pop_all()

    def _open(self, opened: ExitStack, migrations: Migrations) -> None:
        self._noted = HeadFile(self.path.parent)
        opened.callback(self._noted.close)
        self._write = open_writer(self.path)
        opened.callback(close, self._write)
        self._write.set_wal_hook(self._grown)
        self._check_end()
        tables = schema_of(self._write)
        wal_pages = fold_in(self._write)
        self._read = open_reader(self.path)
        opened.callback(close, self._read)
        check_pages(self._read, self.path)
        if self.head.position:
            self._check_folded(wal_pages, tables)
        migrate(self._write, migrations)
        self._forget_other_read_models()
        self._raise_epoch()
        self._noted.write(self.head)

    def rows(self, after: int = 0) -> Iterator[ChainedRow]:
        """Stored rows after a position, in order. Raises FatalError when they cannot be read, as all reads do."""
        with self._reading():
            yield from read_rows(self._read, after)

    def rows_of(self, stream: str) -> Iterator[Row]:
        """Stored rows of one stream, in order, each checked against the row before it in the log."""
        with self._reading():
            for chained in select_rows(self._read, "stream = ? ORDER BY version", (stream,)):
                before = _head_at(self._read, chained.row.position - 1)
                yield from verified([chained], before)

    def indexed_version(self, stream: str) -> int | None:
        """How many rows a stream has by the index of streams, which lies in other pages than the log's own.

        None when this store keeps no such index.
        """
        if not any(isinstance(model, StreamIndex) for model in self.read_models):
            return None
        with self._reading():
            found = list(
                self._read.execute("SELECT version FROM stream WHERE stream = ?", (stream,))
            )
        return sum(version for (version,) in found if isinstance(version, int))

    def query(
        self, sql: str, bindings: Sequence[str | int | bytes] = ()
    ) -> list[tuple[object, ...]]:
        """Rows of a read model. Reads only what is committed.

        Raises FaultError when the query fails by itself, as a sum does that overflows: nothing rests on it.
        """
        with self._reading():
            try:
                return list(self._read.execute(sql, bindings))
            except Exception as error:
                if is_of_storage(error):
                    raise
                raise FaultError(
                    f"a table of this gateway could not be summed up or searched ({error}): "
                    "ask for less of it; payments continue"
                ) from error

    def gaps(self) -> list[Gap]:
        """The events that a read model could not take."""
        with self._reading():
            return _gaps_in(self._read)

    def append(self, steps: Sequence[StoredStep]) -> None:
        """Write whole appends in one durable transaction, folding every read model.

        Raises FatalError when the stored epoch or head is not the one this process left, and on any error of
        SQLite: what is on disk is then unknown until the file is opened again.
        """
        self._is_whole = False
        try:
            with transaction(self._write):
                self._assert_unchanged()
                head = self._insert(steps)
                self._fold(self.read_models, steps)
            self._noted.write(head)
            self._checkpoint()
        except FatalError:
            raise
        except (apsw.Error, OSError) as error:
            raise storage_error(self.path, error) from error
        except Exception as error:
            raise StorageError(
                f"the log could not be written ({error!r}): stopping; nothing is tried again"
            ) from error
        self.head = head
        self._is_whole = True

    def outdated_read_models(self) -> list[ReadModel]:
        """Read models whose stored version is not this program's, or whose tables were dropped."""
        with self._reading():
            stored = dict(self._write.execute("SELECT name, version FROM read_model"))
            present = {name for (name,) in self._write.execute("SELECT name FROM sqlite_schema")}
        return [
            model
            for model in self.read_models
            if stored.get(model.name) != model.version or not present.issuperset(model.tables)
        ]

    def rebuild(self, models: Sequence[ReadModel], steps: Iterator[StoredStep]) -> None:
        """Drop the tables of `models` and fold them anew from all steps, in one transaction.

        Raises FatalError as `append` does.
        """
        try:
            with transaction(self._write):
                for model in models:
                    for table in model.tables:
                        self._write.execute(f'DROP TABLE IF EXISTS "{table}"')
                    self._write.execute(model.ddl)
                    self._write.execute("DELETE FROM read_model_gap WHERE name = ?", (model.name,))
                while chunk := list(islice(steps, REBUILD_ROWS)):
                    self._fold(models, chunk)
                for model in models:
                    self._write.execute(
                        "INSERT INTO read_model VALUES (?, ?) "
                        "ON CONFLICT (name) DO UPDATE SET version = excluded.version",
                        (model.name, model.version),
                    )
        except apsw.Error as error:
            raise storage_error(self.path, error) from error

    def close(self) -> None:
        """Close the file, after a last checkpoint unless a write failed, and give the lock up."""
        if self._is_whole:
            self._write.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        self._opened.close()

    def _fold(self, models: Sequence[ReadModel], steps: Sequence[StoredStep]) -> None:
        for model in models:
            gaps = fold_containing(self._write, model, steps)
            self._write.executemany(
                "INSERT INTO read_model_gap VALUES (?, ?, ?)",
                [(gap.name, gap.position, gap.why) for gap in gaps],
            )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Whatever goes wrong with a read in the block is fatal, and told to who listens."""
        try:
            yield
        except FatalError as error:
            self.failed(error)
            raise
        except (apsw.Error, UnicodeDecodeError) as error:
            fatal = storage_error(self.path, error)
            self.failed(fatal)
            raise fatal from error

    def _check_end(self) -> None:
        """Nothing that was once written may be missing."""
        is_new = not only_int(self._write, "PRAGMA user_version")
        self.head = EMPTY_HEAD if is_new else newest_head(self._write)
        noted = self._noted.read()
        if noted is None:
            return
        if noted.position > self.head.position:
            raise DamagedError(
                f"{self.path} ends at position {self.head.position}, but this gateway had written up to "
                f"{noted.position}: its end is missing. Put back what was removed, such as "
                f"{self.path.name}-wal, or"
            )
        if noted.position and _head_at(self._write, noted.position) != noted:
            raise DamagedError(
                f"{self.path} is not the log that this directory had: position {noted.position} is another one"
            )

    def _check_folded(self, wal_pages: int, tables: Sequence[tuple[object, ...]]) -> None:
        """What lies in the file now is what the WAL had, which is given up with the first write."""
        after = max(0, self.head.position - wal_pages * PAGE_ROWS_MAX)
        for _ in verified(read_rows(self._read, after), _head_at(self._read, after)):
            pass
        if newest_head(self._read) != self.head or schema_of(self._read) != tables:
            raise DamagedError(f"{self.path} is not what {self.path.name}-wal was to make of it")

    def _grown(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Take the WAL into the file when it has grown long, as far as readers let it."""
        if self._wal_pages >= WAL_PAGES:
            self._write.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _raise_epoch(self) -> None:
        with transaction(self._write):
            self._write.execute("UPDATE writer SET epoch = epoch + 1")
            self.epoch = only_int(self._write, "SELECT epoch FROM writer")

    def _forget_other_read_models(self) -> None:
        """What this program does not fold falls behind, so a later one must rebuild it."""
        names = [model.name for model in self.read_models]
        marks = ",".join("?" * len(names))
        self._write.execute(f"DELETE FROM read_model WHERE name NOT IN ({marks})", names)  # noqa: S608

    def _assert_unchanged(self) -> None:
        epoch = only_int(self._write, "SELECT epoch FROM writer")
        if epoch != self.epoch:
            raise StorageError(
                f"another process opened this log (epoch {epoch}, ours {self.epoch}): stopping"
            )
        if newest_head(self._write) != self.head:
            raise StorageError(
                "the newest row of the log is not the one this process wrote: stopping"
            )

    def _insert(self, steps: Sequence[StoredStep]) -> Head:
        previous = self.head.hash
        values: list[tuple[int | str | bytes, ...]] = []
        for step in steps:
            row = step.row
            if row.position != self.head.position + 1 + len(values):
                raise StorageError(
                    f"position {row.position} does not follow from the head: stopping"
                )
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


def _nobody_listens(_error: FatalError) -> None:
    """Who opened the store hears of errors by itself."""


def _gaps_in(connection: apsw.Connection) -> list[Gap]:
    found = connection.execute(
        "SELECT name, position, why FROM read_model_gap ORDER BY name, position"
    )
    return [Gap(name, position, why) for name, position, why in found]


def _head_at(connection: apsw.Connection, position: int) -> Head:
    """Position and hash of a row; those of an empty log when there is none."""
    found = connection.execute(
        "SELECT position, hash FROM log WHERE position = ?", (position,)
    ).fetchone()
    return Head(*found) if found is not None else EMPTY_HEAD


def open_reader(path: Path) -> apsw.Connection:
    """A read-only connection, also to the log of a running gateway. Raises NotFoundError without a file."""
    if not path.is_file():
        raise NotFoundError(f"there is no log at {path}")
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(BUSY_MS)
    return connection


def read_rows(connection: apsw.Connection, after: int = 0) -> Iterator[ChainedRow]:
    """Rows after a position in order, from one consistent snapshot.

    Raises DamagedError or FatalError when they cannot be read.
    """
    return select_rows(connection, "position > ? ORDER BY position", (after,))


def select_rows(
    connection: apsw.Connection, where: str, bindings: Sequence[str | int | bytes | None]
) -> Iterator[ChainedRow]:
    """Rows that meet a condition in SQL. Raises DamagedError or FatalError when they cannot be read."""
    query = f"SELECT {_ROW_COLUMNS} FROM log WHERE {where}"  # noqa: S608 (conditions of ours)
    try:
        for values in connection.execute(query, bindings):
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
