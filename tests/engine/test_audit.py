"""A log verifies until somebody touches it or its tables."""

from pathlib import Path

import anyio
import apsw
import pytest

from engine.audit import ComparedReadModel, verify
from engine.fold import fold, state_hash
from engine.store import LOG_NAME, open_reader
from errors import FatalError
from tests.engine.toy import (
    Arrived,
    Begin,
    machines,
    open_engine,
    open_store,
    order,
    read_models,
    running,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of two transfers that arrived; closed."""

    async def write() -> None:
        engine = open_engine(store)
        async with running(engine):
            for name in "12":
                await engine.submit(f"transfer/{name}", Begin(order=order()))
                await engine.wait(f"transfer/{name}", lambda state: isinstance(state, Arrived))

    store = open_store(tmp_path)
    anyio.run(write)
    store.close()
    return tmp_path / LOG_NAME


def _write(path: Path, sql: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(sql)
    connection.close()


def test_an_untouched_log_verifies(path: Path) -> None:
    connection = open_reader(path)
    found = verify(connection, machines(), read_models())
    assert found.head.position == 10
    assert (found.streams, found.unfinished_streams) == (5, 3)
    assert found.read_models == (ComparedReadModel("streams", 1, 5, compared=True),)
    store = open_store(path.parent)  # the reader holds nothing that a start would wait for
    assert store.head == found.head
    rows = (chained.row for chained in store.rows())
    assert found.states == state_hash(machines(), fold(machines(), rows, keep_final=True))
    store.close()
    connection.close()


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("DROP TRIGGER log_is_never_updated; UPDATE log SET epoch = 7 WHERE position = 4", "position 4"),
        ("UPDATE stream SET version = 9 WHERE stream = 'account/a'", "table stream differs .*account/a"),
        ("DELETE FROM stream WHERE stream = 'transfer/2'", "table stream differs"),
        ("INSERT INTO stream SELECT 'x/1', kind, state_name, state, 1, 1, 1, 1, 1 FROM stream LIMIT 1", "differs"),
        ("DROP TRIGGER log_is_never_deleted; DELETE FROM log WHERE position = 10", "table stream differs"),
        ("DROP TABLE stream", "table stream cannot be read"),
    ],
)  # fmt: skip
def test_what_was_changed_is_found(path: Path, sql: str, words: str) -> None:
    _write(path, sql)
    connection = open_reader(path)
    with pytest.raises(FatalError, match=words):
        verify(connection, machines(), read_models())
    connection.close()


def test_an_outdated_read_model_is_no_damage(path: Path) -> None:
    _write(path, "UPDATE read_model SET version = 0; DELETE FROM stream")
    connection = open_reader(path)
    found = verify(connection, machines(), read_models())
    assert found.read_models == (ComparedReadModel("streams", 1, 0, compared=False),)
    connection.close()
