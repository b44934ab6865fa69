"""Every error of the log's files ends the process with a sentence that says what to do."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from engine.chain import Head
from engine.engine import Engine
from engine.storage.errors import DamagedError, storage_error
from engine.storage.head_file import HEAD_NAME, HeadFile, Noted
from engine.storage.lock import LOCK_NAME
from engine.storage.rows import LOG_NAME
from engine.storage.store import Store
from errors import ConfigError, FatalError, UnavailableError
from tests.engine.toy import Credit, open_engine, open_store, running

PATH = Path("/data/gateway.sqlite3")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (apsw.FullError("full"), "the disk is full, /data/gateway.sqlite3 cannot grow: free some space"),
        (OSError(errno.ENOSPC, "No space left"), "the disk is full"),
        (OSError(errno.EIO, "Input/output error"), r"the disk failed .*Input/output error.* start again"),
        (apsw.IOError("disk I/O error"), r"the disk failed .*disk I/O error.*: check the disk"),
        (OSError(errno.EROFS, "Read-only file system"), r"for writing \(Read-only file system\): give this user"),
        (apsw.ReadOnlyError("readonly"), r"cannot be opened for writing \(readonly\)"),
        (apsw.CorruptError("malformed"), r"is damaged \(malformed\); keep this data directory as it is"),
        (apsw.SQLError("no such table: log"), r"cannot be used as a log \(SQLError: no such table: log\)"),
    ],
)  # fmt: skip
def test_each_error_says_what_to_do(error: Exception, sentence: str) -> None:
    with pytest.raises(FatalError, match=sentence):
        raise storage_error(PATH, error)


async def _filled(directory: Path) -> None:
    store = open_store(directory)
    engine = open_engine(store)
    async with running(engine):
        for _ in range(3):
            await engine.submit("account/a", Credit(amount=1))
    store.close()


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    """A log of three events whose process was ended in order."""
    await _filled(tmp_path)
    return tmp_path


pytestmark = pytest.mark.anyio


async def test_a_log_without_its_end_is_refused(log: Path) -> None:
    store = open_store(log)
    engine = open_engine(store)
    async with running(engine):
        await engine.submit("account/a", Credit(amount=1))
    without_wal = (log / LOG_NAME).read_bytes()
    store.close()
    whole = (log / LOG_NAME).read_bytes()
    (log / LOG_NAME).write_bytes(without_wal)
    for _ in range(2):
        with pytest.raises(
            DamagedError,
            match=r"ends at position 3, but .* up to 4: .* gateway.sqlite3-wal, or; keep",
        ):
            open_store(log)
    (log / LOG_NAME).write_bytes(whole)
    open_store(log).close()


async def test_another_log_in_its_place_is_refused(
    log: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    store = open_store(other)
    engine = open_engine(store)
    async with running(engine):
        for _ in range(5):
            await engine.submit("account/b", Credit(amount=1))
    store.close()
    (log / LOG_NAME).write_bytes((other / LOG_NAME).read_bytes())
    with pytest.raises(DamagedError, match="is not the log that this directory had: position 3"):
        open_store(log)


@pytest.mark.parametrize(
    "spoil", [Path.unlink, lambda path: path.write_bytes(b"torn"), lambda path: path.write_bytes(b"0" * 95)]
)  # fmt: skip
async def test_a_note_that_is_torn_or_lost_is_written_anew(
    log: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(log / HEAD_NAME)
    store = open_store(log)
    head = store.head
    store.close()
    noted = HeadFile(log)
    assert noted.read() == Noted(head, 3)
    assert head.position == 3
    noted.close()


async def test_a_note_that_lags_behind_is_caught_up_with(log: Path) -> None:
    first = next(iter(open_store_rows(log)))
    noted = HeadFile(log)
    noted.write(first, 0)
    noted.close()
    store = open_store(log)
    assert store.head.position == 3
    store.close()


def open_store_rows(directory: Path) -> list[Head]:
    store = open_store(directory)
    heads = [Head(chained.row.position, chained.hash) for chained in store.rows()]
    store.close()
    return heads


def test_a_note_that_cannot_be_written_ends_the_process(tmp_path: Path) -> None:
    noted = HeadFile(tmp_path)
    noted.close()
    with pytest.raises(FatalError, match=r"the disk failed .*gateway.head"):
        noted.write(Head(1, bytes(32)), 0)
    (tmp_path / HEAD_NAME).unlink()
    (tmp_path / HEAD_NAME).mkdir()
    with pytest.raises(FatalError, match="the disk failed"):
        HeadFile(tmp_path)


def test_a_new_directory_is_made_with_those_above_it(tmp_path: Path) -> None:
    directory = tmp_path / "var" / "gatewayd"
    open_store(directory).close()
    assert directory.stat().st_mode & 0o777 == 0o700


def test_a_place_that_is_no_directory_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        ConfigError, match=r"data directory .*/file/data cannot be used \(Not a directory\)"
    ):
        open_store(tmp_path / "file" / "data")


@pytest.mark.parametrize("name", [LOCK_NAME, LOG_NAME])
def test_a_file_that_cannot_be_opened_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(
        (ConfigError, FatalError), match=rf"{name} (cannot be locked|was read or written)"
    ):
        open_store(tmp_path)


def test_a_file_system_without_locks_is_not_taken_for_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(ConfigError, match=r"cannot be locked \(No locks available\)"):
        open_store(tmp_path)


def test_a_read_model_that_cannot_be_built_for_lack_of_space_is_one_sentence(
    tmp_path: Path,
) -> None:
    store = open_store(tmp_path)
    pages = store.query("PRAGMA page_count")[0][0]
    store._write.execute(f"PRAGMA max_page_count = {pages}")

    class Big:
        name, version, tables = "big", 1, ("big",)
        ddl = "CREATE TABLE big (x BLOB); INSERT INTO big VALUES (zeroblob(1000000))"

        def fold(self, connection: apsw.Connection, steps: object) -> None:
            """Nothing to fold."""

    with pytest.raises(FatalError, match="the disk is full"):
        store.rebuild([Big()], iter(()))
    store.close()


async def test_a_full_log_stops_and_goes_on_when_there_is_space(log: Path) -> None:
    store = open_store(log)
    pages = store.query("PRAGMA page_count")[0][0]
    store._write.execute(f"PRAGMA max_page_count = {pages}")
    engine = open_engine(store)
    with pytest.raises(FatalError, match="the disk is full"):
        await _submit_until_it_stops(engine)
    written = store.head.position
    store.close()
    assert written < 1_000
    again = open_store(log)
    assert again.head.position == written
    engine = open_engine(again)
    async with running(engine):
        await engine.submit("account/a", Credit(amount=1))
    again.close()


async def test_the_wal_is_taken_into_the_file_before_it_grows_long(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.storage.store.WAL_PAGES", 8)
    store = open_store(log)
    engine = open_engine(store)
    async with running(engine):
        for _ in range(50):
            await engine.submit("account/a", Credit(amount=1))
    wal_bytes = (log / f"{LOG_NAME}-wal").stat().st_size
    assert wal_bytes < 20 * 4_096
    store.close()


async def _submit_until_it_stops(engine: Engine) -> None:
    async with running(engine):
        with suppress(UnavailableError):
            for number in range(1_000):
                await engine.submit(f"account/{number}", Credit(amount=1))


def test_nothing_stays_locked_after_a_start_that_failed(tmp_path: Path) -> None:
    class Broken:
        latest = 1

        def apply(self, connection: apsw.Connection, found: int) -> None:
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            Store(tmp_path, Broken(), [])
    open_store(tmp_path).close()


def test_a_file_system_without_shared_memory_is_refused(tmp_path: Path) -> None:
    class NoSharedMemory(apsw.VFS):
        def __init__(self) -> None:
            super().__init__("no-shared-memory", "unix-none", makedefault=True, iVersion=1)

    vfs = NoSharedMemory()
    try:
        with pytest.raises(FatalError, match="cannot be switched to write-ahead logging"):
            open_store(tmp_path)
    finally:
        vfs.unregister()
