"""Opens the log for writing: private, checked, migrated, with the WAL of a crash taken in."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import apsw

from engine.storage.errors import DamagedError
from errors import ConfigError, FatalError, UnavailableError

#: How long another program may hold the file for a moment, such as a backup that checkpoints it.
BUSY_MS = 5_000
#: SQLite opens some in the middle of a large append or query. Without a writable folder for them, or when strangers
#: have used up the descriptors, that would end the process.
NO_TEMPORARY_FILES = "PRAGMA temp_store = MEMORY"


class Migrations(Protocol):
    """The forward-only steps of the database; `latest` is the schema version of this program."""

    @property
    def latest(self) -> int: ...
    def apply(self, connection: apsw.Connection, found: int) -> None:
        """Bring the schema from version `found` to `latest`; the caller holds the transaction."""
        ...


def make_private(directory: Path) -> None:
    """The directory is there and durable, and its owner's alone. Raises ConfigError when that cannot be."""
    try:
        if not directory.exists():
            directory.mkdir(mode=0o700, parents=True)
            sync_directory(directory.parent)
        directory.chmod(0o700)
    except OSError as error:
        raise ConfigError(
            f"the data directory {directory} cannot be used ({error.strerror}): "
            "give this user a directory on a writable file system"
        ) from error


def sync_directory(directory: Path) -> None:
    """Make the names in it durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_writer(path: Path) -> apsw.Connection:
    """A connection that makes each commit durable. It changes nothing of a log that is there, not even at its end.

    Nothing is checkpointed by itself: SQLite would keep a failure of that to itself, and a WAL of which it could not
    read the end must stay as it is. Raises FatalError, and errors of the system and of SQLite.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = apsw.Connection(str(path))
    try:
        _prepare(connection, path)
    except BaseException:
        close(connection)
        raise
    return connection


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """All of the block is written, or nothing. SQLite has rolled some failures back by itself: theirs is the error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def savepoint(connection: apsw.Connection) -> Iterator[None]:
    """Inside of a transaction: all of the block is written, or nothing of it. Otherwise as `transaction`."""
    connection.execute("SAVEPOINT block")
    try:
        yield
        connection.execute("RELEASE block")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO block")
            connection.execute("RELEASE block")
        raise


def close(connection: apsw.Connection) -> None:
    """What cannot be tidied up stays for the next start, and must not hide why this process ends."""
    with suppress(apsw.Error):
        connection.close()


def _prepare(connection: apsw.Connection, path: Path) -> None:
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.set_busy_timeout(BUSY_MS)
    # To its last row, here and below: a statement that is left after its first one may fail and nobody hears of it.
    if list(connection.execute("PRAGMA journal_mode = WAL")) != [("wal",)]:
        raise FatalError(
            f"{path} cannot be switched to write-ahead logging: the disk failed, or the file system "
            "does not support shared memory (network file systems do not). Put the data directory on a local disk "
            "that works and start again"
        )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(NO_TEMPORARY_FILES)


def fold_in(connection: apsw.Connection) -> int:
    """Take the WAL that a crash left into the file. Says how many pages it had.

    The WAL itself stays until the next write, so that what was read wrongly on the way can be read again. Raises
    UnavailableError when another program keeps reading.
    """
    ((is_busy, wal_pages, _),) = connection.execute("PRAGMA wal_checkpoint(FULL)")
    if is_busy:
        raise UnavailableError("another program keeps reading the log: start again when it is done")
    assert isinstance(wal_pages, int)
    return wal_pages


def check_pages(connection: apsw.Connection, path: Path) -> None:
    """Raises DamagedError when a page of the file is not sound. Of use on a connection that has read nothing yet."""
    found = list(connection.execute("PRAGMA integrity_check(1)"))
    if found != [("ok",)]:
        raise DamagedError(f"{path} is damaged ({found})")


def migrate(connection: apsw.Connection, migrations: Migrations) -> None:
    """Bring the schema up to date. Raises ConfigError when it is newer than this program."""
    found = only_int(connection, "PRAGMA user_version")
    if found > migrations.latest:
        raise ConfigError(
            f"the data directory has schema {found}, this program knows up to {migrations.latest}: "
            "start the newer program that wrote it"
        )
    if found < migrations.latest:
        with transaction(connection):
            migrations.apply(connection, found)
            connection.execute(f"PRAGMA user_version = {migrations.latest}")


def only_int(connection: apsw.Connection, sql: str) -> int:
    """The first column of the first row of an answer."""
    found = list(connection.execute(sql))
    if not found or not isinstance(found[0][0], int):
        raise FatalError(f"the database does not answer {sql!r}: it is damaged or not ours")
    return found[0][0]


def schema_of(connection: apsw.Connection) -> list[tuple[object, ...]]:
    """Every table, index and trigger, with the SQL that made it."""
    return list(connection.execute("SELECT * FROM sqlite_schema"))
