"""The SQLite file: one transaction per batch, asserted against epoch and head; readers never write."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock

import apsw

from engine.chain import EMPTY_HEAD, ChainedRow, Head, Row, StoredStep, chain_hash, verified
from engine.fold import Machines, Position, fold
from engine.storage.checks import check_end, check_newest, check_open, first_unchecked
from engine.storage.errors import DamagedError, StorageError, is_of_storage, storage_error
from engine.storage.folded_tables import FoldedTables, gaps_in
from engine.storage.head_file import HeadFile
from engine.storage.lock import DirectoryLock
from engine.storage.opening import (
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
from engine.storage.packing import Packing
from engine.storage.read_model import Gap, ReadModel
from engine.storage.reader import LogReader
from engine.storage.rows import (
    LOG_NAME,
    NAME_STREAM,
    add_functions,
    head_at,
    id_of,
    name_hash,
    newest_head,
    open_reader,
    read_rows,
    read_stream,
)
from errors import FatalError, FaultError

#: Pages of the WAL before it is checkpointed: 4 MiB, a few thousand events.
WAL_PAGES = 1000
#: The pages of a larger file are checked beside the running gateway, since a start must not wait for it.
CHECKED_BYTES = 64 << 20

_INSERT = (
    "INSERT INTO log (position, append, stream_id, version, kind, schema_version, body, epoch, recorded_unix_us, hash) "  # noqa: S608
    f"VALUES (?1, ?2, {id_of('?3')}, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
)

#: By other pages than those by which the rows are found.
_INDEXED_VERSION = (
    "SELECT version FROM stream WHERE name_hash = ? "
    "AND (SELECT stream FROM stream_name WHERE stream_name.id = stream.id) = ?"
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
        #: Rows up to the first were checked by earlier processes alone; the chain is whole up to the second.
        self.checked_before = self.checked = 0
        self.head = EMPTY_HEAD
        self._is_whole = True
        self._is_trusted = True
        #: Appends are noted in a thread of the journal, damage in the one of the event loop.
        self._noting = Lock()
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
        add_functions(self._write)
        self._write.set_wal_hook(self._grown)
        self._tables = FoldedTables(self._write, self.read_models)
        self._check(opened)
        migrate(self._write, migrations)
        self._packing = self._keep_dictionary()
        self._tables.forget_others()
        self._raise_epoch()
        self._note(self.head)

    def _check(self, opened: ExitStack) -> None:
        """Open the reading side and check what a start rests on. Until then nothing is changed."""
        noted = self._noted.read()
        self.head = check_end(self._write, self.path, noted)
        tables = schema_of(self._write)
        wal_pages = fold_in(self._write)
        self._read = open_reader(self.path)
        opened.callback(close, self._read)
        checked = noted.checked if noted is not None else 0
        is_small = self.path.stat().st_size <= CHECKED_BYTES
        self.pages_are_checked = is_small or not checked
        if self.pages_are_checked:
            check_pages(self._read, self.path)
        self.checked_before = first_unchecked(self.head, checked, wal_pages)
        self._newest = check_newest(self._read, self.path, self.head, self.checked_before)
        self.checked = self.head.position
        if self.head.position and schema_of(self._read) != tables:
            raise DamagedError(f"{self.path} is not what {self.path.name}-wal was to make of it")

    def rows(self, after: int = 0) -> Iterator[ChainedRow]:
        """Stored rows after a position, in order. Raises FatalError when they cannot be read, as all reads do."""
        with self._reading():
            yield from read_rows(self._read, after)

    def rows_of(self, stream: str, after_version: int = 0) -> Iterator[Row]:
        """Stored rows of one stream, in order, each checked against the row before it in the log."""
        with self._reading():
            for chained in read_stream(self._read, stream, after_version):
                before = head_at(self._read, chained.row.position - 1)
                yield from verified([chained], before)

    def indexed_version(self, stream: str) -> int | None:
        """How many rows a stream has by the index of streams, which lies in other pages than the log's own.

        None when this store keeps no such index, or one that lacks events.
        """
        with self._reading():
            if not self._tables.has_whole_index(self._read):
                return None
            found = list(self._read.execute(_INDEXED_VERSION, (name_hash(stream), stream)))
        return sum(version for (version,) in found if isinstance(version, int))

    def open_streams(self, machines: Machines) -> dict[str, Position] | None:
        """Where every open stream stands, without reading the log: None when this store keeps no states.

        What is written of them is folded up to their newest rows, and must be what the index of streams has as open.
        Raises FatalError when it is not.
        """
        model = self._tables.open_states
        if model is None:
            return None
        found: dict[str, Position] = {}
        with self._reading():
            for stream, position in list(model.load(self._read, machines)):
                known = {} if position is None else {stream: position}
                rows = self.rows_of(stream, position.version if position is not None else 0)
                found |= fold(machines, rows, keep_final=False, known=known)
            if self._tables.has_whole_index(self._read):
                kinds = [machine.kind for machine in machines]
                check_open(LogReader(self._read), self.path, kinds, found, self._newest)
        self._newest = {}
        return found

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
            return gaps_in(self._read)

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
                self._tables.fold(steps)
            self._note(head)
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
            return self._tables.outdated()

    def rebuild(self, models: Sequence[ReadModel], steps: Iterator[StoredStep]) -> None:
        """Drop the tables of `models` and fold them anew from all steps, in one transaction.

        Raises FatalError as `append` does.
        """
        try:
            self._tables.rebuild(models, steps)
        except apsw.Error as error:
            raise storage_error(self.path, error) from error

    def distrust(self) -> None:
        """The next start checks everything before anything else."""
        self._is_trusted = False
        self._note(self.head)

    def close(self) -> None:
        """Close the file, after a last checkpoint unless a write failed, and give the lock up."""
        if self._is_whole:
            self._write.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        self._opened.close()

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

    def _keep_dictionary(self) -> Packing:
        """A new file gets its dictionary, which is its for as long as it lives."""
        if not list(self._write.execute("SELECT 1 FROM dictionary")):
            model = self._tables.open_states
            dictionary = model.dictionary if model is not None else b""
            self._write.execute("INSERT INTO dictionary VALUES (1, ?)", (dictionary,))
        return Packing.of(self._write)

    def _note(self, head: Head) -> None:
        with self._noting:
            self._noted.write(head, self.checked if self._is_trusted else 0)

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
        begun: list[tuple[str]] = []
        values: list[tuple[int | str | bytes, ...]] = []
        for step in steps:
            row = step.row
            if row.position != self.head.position + 1 + len(values):
                raise StorageError(
                    f"position {row.position} does not follow from the head: stopping"
                )
            previous = chain_hash(previous, row)
            if row.version == 1:
                begun.append((row.stream,))
            values.append(
                (
                    row.position,
                    row.append,
                    row.stream,
                    row.version,
                    row.event.kind,
                    row.event.schema_version,
                    self._packing.pack(row.event.body),
                    row.epoch,
                    row.recorded_unix_us,
                    previous,
                )
            )
        self._write.executemany(NAME_STREAM, begun)
        self._write.executemany(_INSERT, values)
        return Head(steps[-1].row.position, previous)


def _nobody_listens(_error: FatalError) -> None:
    """The opener of the store hears of errors by itself."""
