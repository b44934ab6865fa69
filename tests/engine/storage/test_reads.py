"""Every read of an open log is checked, or the process ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from engine.engine import Engine
from engine.storage import opening
from engine.storage.errors import DamagedError
from engine.storage.rows import LOG_NAME
from engine.storage.store import Store
from errors import FatalError, UnavailableError
from migrations import SchemaSteps
from tests.engine.toy import (
    Arrived,
    Begin,
    Credit,
    Open,
    Recall,
    open_engine,
    open_store,
    order,
    running,
)

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def with_a_finished_transfer(store: Store) -> AsyncIterator[Engine]:
    engine = open_engine(store)
    async with running(engine):
        await engine.submit("transfer/1", Begin(order=order()))
        await engine.wait("transfer/1", lambda state: isinstance(state, Arrived))
        yield engine


async def ends(engine: Engine) -> None:
    """Nobody is answered any more."""
    with pytest.raises(UnavailableError, match="is stopping"):
        await engine.wait("account/nobody", lambda _state: False)


async def test_a_finished_stream_that_was_changed_is_not_decided_on(store: Store) -> None:
    async def use() -> None:
        async with with_a_finished_transfer(store) as engine:
            store._write.execute("DROP TRIGGER log_is_never_updated")
            store._write.execute("UPDATE log SET recorded_unix_us = 7 WHERE position = 1")
            with pytest.raises(DamagedError):
                await engine.submit("transfer/1", Recall())
            await ends(engine)

    with pytest.raises(DamagedError, match="position 1 breaks the hash chain"):
        await use()


async def test_rows_that_cannot_be_found_are_not_taken_for_a_new_stream(store: Store) -> None:
    async def use() -> None:
        async with with_a_finished_transfer(store) as engine:
            # As when a page of the log's index were not read as it was written.
            store._write.execute("DROP TRIGGER log_is_never_updated")
            store._write.execute("UPDATE log SET stream_id = 99 WHERE stream_id = 1")
            with pytest.raises(DamagedError):
                await engine.submit("transfer/1", Begin(order=order()))
            await ends(engine)

    with pytest.raises(DamagedError, match="does not bring what it has of transfer/1"):
        await use()


async def test_a_table_that_cannot_be_read_ends_the_engine(store: Store) -> None:
    async def use() -> None:
        async with with_a_finished_transfer(store) as engine:
            with pytest.raises(FatalError):
                store.query("SELECT CAST(x'ff' AS TEXT) FROM writer")
            await ends(engine)

    with pytest.raises(FatalError, match=LOG_NAME):
        await use()


async def test_a_store_without_an_index_of_streams_goes_by_the_log_alone(tmp_path: Path) -> None:
    store = Store(tmp_path, SchemaSteps(), [])
    async with with_a_finished_transfer(store) as engine:
        assert isinstance((await engine.read("transfer/1")).state, Arrived)
        assert (await engine.read("account/nobody")).state == Open()
    store.close()


async def test_a_file_that_is_not_what_the_wal_had_is_refused_and_the_wal_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path / "log")
    engine = open_engine(store)
    async with running(engine):
        await engine.submit("account/a", Credit(amount=1))
    for name in ("", "-wal"):  # as a process leaves them that is killed
        path = tmp_path / "log" / f"{LOG_NAME}{name}"
        (tmp_path / path.name).write_bytes(path.read_bytes())
    store.close()
    wal = tmp_path / f"{LOG_NAME}-wal"
    kept = wal.read_bytes()

    def fold_in_wrongly(connection: apsw.Connection) -> int:
        pages = opening.fold_in(connection)
        with (tmp_path / LOG_NAME).open("r+b") as file:
            content = file.read()
            file.seek(content.index(b"log rows are never changed"))
            file.write(b"L")
        return pages

    with monkeypatch.context() as patched:
        patched.setattr("engine.storage.store.fold_in", fold_in_wrongly)
        with pytest.raises(DamagedError, match=r"is not what gateway\.sqlite3-wal was to make"):
            open_store(tmp_path)
    assert wal.read_bytes() == kept
    again = open_store(tmp_path)
    assert again.head.position == 1
    again.close()
