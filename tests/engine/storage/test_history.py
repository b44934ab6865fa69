"""What a start does not read is checked beside it, and damage there ends the process and stops the next start."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import apsw
import pytest

from engine.chain import Head, Row
from engine.ports import inline
from engine.storage import checks, history
from engine.storage import store as engine_store
from engine.storage.errors import DamagedError, StorageError
from engine.storage.head_file import HeadFile
from engine.storage.opening import check_pages
from engine.storage.rows import LOG_NAME
from engine.storage.store import Store
from errors import FatalError
from tests.engine.toy import (
    Arrived,
    Begin,
    Credit,
    StepClock,
    open_engine,
    open_store,
    order,
    running,
)

pytestmark = pytest.mark.anyio
ROWS = 40


@pytest.fixture
async def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A closed log of forty rows, of which a start reads the newest four and what is open: not the first transfer."""
    store = open_store(tmp_path)
    engine = open_engine(store)
    async with running(engine):
        await engine.submit("transfer/1", Begin(order=order()))
        await engine.wait("transfer/1", lambda state: isinstance(state, Arrived))
        for number in range(ROWS - store.head.position):
            await engine.submit(f"account/{number % 4}", Credit(amount=1))
    store.close()
    open_store(tmp_path).close()
    monkeypatch.setattr(checks, "NEWEST_ROWS", 4)
    return tmp_path


def spoil(directory: Path, position: int) -> None:
    connection = apsw.Connection(str(directory / LOG_NAME))
    connection.execute("DROP TRIGGER log_is_never_updated")
    connection.execute("UPDATE log SET recorded_unix_us = 7 WHERE position = ?", (position,))
    connection.close()


async def run_for_ever(store: Store) -> None:
    """An engine that only an error ends."""
    async with running(open_engine(store)):
        await anyio.sleep_forever()


async def test_a_start_reads_the_newest_rows_and_the_rest_is_read_beside_it(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PAGE_ROWS", 5)
    store, clock = open_store(log), StepClock()
    assert (store.checked_before, store.checked) == (ROWS - 4, ROWS)
    async with running(open_engine(store, clock=clock)):
        await anyio.wait_all_tasks_blocked()
    # Seven pages of five rows and one more.
    assert clock.slept_s == [history.PAUSE_S] * 8
    store.close()


async def test_damage_in_old_rows_ends_the_process_and_the_next_start_refuses(log: Path) -> None:
    spoil(log, 1)
    store = open_store(log)

    with pytest.raises(DamagedError, match="position 1 breaks the hash chain"):
        await run_for_ever(store)
    store.close()
    for _ in range(2):
        with pytest.raises(DamagedError, match="position 1 breaks the hash chain"):
            open_store(log)


async def test_damage_that_a_decision_meets_stops_the_next_start(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever asks again ends the next process, too, before the check comes to it."""

    async def never(_check: history.HistoryCheck) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(history.HistoryCheck, "run", never)
    spoil(log, 1)
    store = open_store(log)

    async def use() -> None:
        engine = open_engine(store)
        async with running(engine):
            with pytest.raises(DamagedError):
                await engine.submit("transfer/1", Begin(order=order()))
            await anyio.sleep_forever()

    with pytest.raises(DamagedError, match="position 1 breaks the hash chain"):
        await use()
    store.close()
    with pytest.raises(DamagedError, match="position 1 breaks the hash chain"):
        open_store(log)


async def test_damage_is_not_forgotten_by_an_append_under_way(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal writes in a thread, and the check may just have come to the end of new rows."""
    store = open_store(log)
    engine, write = open_engine(store), store._noted.write
    damage = threading.Thread(target=store.distrust)

    def meanwhile(head: Head, checked: int) -> None:
        if damage.ident is None:
            damage.start()
            damage.join(0.1)
        write(head, checked)

    monkeypatch.setattr(store._noted, "write", meanwhile)
    async with running(engine):
        await engine.submit("account/1", Credit(amount=1))
        damage.join()
        store.checked = ROWS
        await engine.submit("account/1", Credit(amount=1))
    store.close()
    store = open_store(log)
    assert store.checked_before == 0
    store.close()


async def test_a_read_that_failed_is_no_damage(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_stream: str) -> Iterator[Row]:
        raise StorageError("the disk failed")

    store = open_store(log)
    engine = open_engine(store)
    monkeypatch.setattr(store, "rows_of", fail)

    async def use() -> None:
        async with running(engine):
            with pytest.raises(StorageError):
                await engine.submit("transfer/1", Begin(order=order()))
            await anyio.sleep_forever()

    with pytest.raises(StorageError, match="the disk failed"):
        await use()
    store.close()
    store = open_store(log)
    assert store.checked_before == ROWS - 4
    store.close()


async def test_old_rows_that_are_missing_are_damage(log: Path) -> None:
    connection = apsw.Connection(str(log / LOG_NAME))
    connection.execute("DROP TRIGGER log_is_never_deleted; DELETE FROM log WHERE position = 1")
    connection.close()
    store = open_store(log)

    with pytest.raises(DamagedError, match="the log jumps from position 0 to 2"):
        await run_for_ever(store)
    store.close()


async def test_a_log_that_became_shorter_is_damage(log: Path) -> None:
    store = open_store(log)
    check = history.HistoryCheck(store, inline, StepClock())
    with pytest.raises(DamagedError, match=f"has no rows behind position {ROWS} any more"):
        await check._check_rows(store._read, store.head, ROWS + 1)
    store.close()


async def test_new_rows_are_checked_when_they_are_many(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "NEW_ROWS", 6)
    store = open_store(log)
    engine = open_engine(store)
    async with running(engine):
        for _ in range(5):
            await engine.submit("account/1", Credit(amount=1))
        await anyio.wait_all_tasks_blocked()
        assert store.checked == ROWS
        await engine.submit("account/1", Credit(amount=1))
        await anyio.wait_all_tasks_blocked()
        assert store.checked == ROWS + 6
        await engine.submit("account/1", Credit(amount=1))
    store.close()
    noted = HeadFile(log)
    found = noted.read()
    noted.close()
    assert found is not None
    assert (found.head.position, found.checked) == (ROWS + 7, ROWS + 6)


async def test_a_start_reads_what_nobody_has_checked(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = HeadFile(log)
    found = noted.read()
    assert found is not None
    noted.write(found.head, 11)
    noted.close()
    store = open_store(log)
    assert (store.checked_before, store.checked) == (11, ROWS)
    store.close()


async def test_of_what_a_start_checks_it_remembers_the_newest_streams_alone(log: Path) -> None:
    """A log whose head was lost is checked as a whole: all its streams are more than a small machine holds."""
    store = open_store(log)
    assert store.checked_before == ROWS - 4
    newest = checks.check_newest(store._read, store.path, store.head, 0)
    assert len(newest) == 4
    assert "transfer/1" not in newest
    store.close()


@pytest.mark.parametrize("is_sound", [True, False])
async def test_the_pages_of_a_large_file_are_checked_beside_the_gateway(
    log: Path, monkeypatch: pytest.MonkeyPatch, *, is_sound: bool
) -> None:
    monkeypatch.setattr(engine_store, "CHECKED_BYTES", 1)
    checked: list[Path] = []

    def look(connection: apsw.Connection, path: Path) -> None:
        checked.append(path)
        check_pages(connection, path)
        if not is_sound:
            raise DamagedError("a page")

    monkeypatch.setattr(history, "check_pages", look)
    store = open_store(log)
    assert not store.pages_are_checked

    async def use(until: Callable[[], bool]) -> None:
        async with running(open_engine(store)):
            while not until():  # noqa: ASYNC110 (a thread says so)
                await anyio.sleep(0.001)

    if is_sound:
        await use(lambda: bool(checked))
    else:
        with pytest.raises(FatalError, match="a page"):
            await use(lambda: False)
    store.close()
    monkeypatch.setattr(engine_store, "check_pages", look)
    if is_sound:
        open_store(log).close()
    else:  # it does not pay until the check beside it comes to the page again
        with pytest.raises(DamagedError, match="a page"):
            open_store(log)
    assert len(checked) == (1 if is_sound else 2)


async def test_a_gateway_that_stops_does_not_wait_for_the_check_of_its_pages(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_store, "CHECKED_BYTES", 1)
    begun, ended = threading.Event(), threading.Event()

    def endless(connection: apsw.Connection, _path: Path) -> None:
        begun.set()
        sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
        try:
            list(connection.execute(sql))
        except apsw.InterruptError:
            ended.set()

    monkeypatch.setattr(history, "check_pages", endless)
    store = open_store(log)
    async with running(open_engine(store)):
        while not begun.is_set():  # noqa: ASYNC110 (same)
            await anyio.sleep(0.001)
    assert ended.wait(10)
    store.close()


async def test_a_disk_that_fails_at_the_pages_ends_the_process(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_connection: apsw.Connection, _path: Path) -> None:
        raise apsw.IOError("disk I/O error")

    monkeypatch.setattr(engine_store, "CHECKED_BYTES", 1)
    monkeypatch.setattr(history, "check_pages", fail)
    store = open_store(log)

    with pytest.raises(FatalError, match="the disk failed while"):
        await run_for_ever(store)
    store.close()


async def test_a_disk_that_fails_at_the_rows_ends_the_process_in_a_sentence(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_connection: apsw.Connection, _position: int) -> Head:
        raise apsw.IOError("disk I/O error")

    monkeypatch.setattr(history, "head_at", fail)
    store = open_store(log)

    with pytest.raises(FatalError, match="the disk failed while"):
        await run_for_ever(store)
    store.close()
    store = open_store(log)
    assert store.checked_before == 0
    store.close()


async def test_it_needs_no_descriptor_once_it_runs(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers may have used all of them up: connections take them, too."""

    def use_up(_path: Path) -> apsw.Connection:
        raise apsw.CantOpenError("unable to open database file")

    monkeypatch.setattr(history, "NEW_ROWS", 1)
    store = open_store(log)
    engine = open_engine(store)
    async with running(engine):
        await anyio.wait_all_tasks_blocked()
        monkeypatch.setattr(history, "open_reader", use_up)
        for _ in range(2):
            await engine.submit("account/1", Credit(amount=1))
            await anyio.wait_all_tasks_blocked()
        assert store.checked == ROWS + 2
    store.close()


async def test_a_log_that_ends_otherwise_than_its_wal_is_refused(log: Path) -> None:
    store = open_store(log)
    with pytest.raises(DamagedError, match=r"does not hold what gateway\.sqlite3-wal held"):
        checks.check_newest(store._read, store.path, Head(ROWS, bytes(32)), 0)
    store.close()
