"""The chain: whatever is changed in the file afterwards, is found."""

import shutil
from pathlib import Path

import apsw
import pytest

from engine.chain import EMPTY_HEAD, ChainedRow, Head, Row, chain_hash, verified
from engine.events import EncodedEvent
from engine.fold import fold
from engine.storage.rows import LOG_NAME, newest_head, open_reader, read_rows
from errors import FatalError
from tests.engine.toy import (
    Credited,
    machines,
    open_engine,
    open_store,
    write_transfers,
)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of two transfers, sent and credited; closed."""
    directory = tmp_path_factory.mktemp("history")

    write_transfers(directory)
    return directory / LOG_NAME


@pytest.fixture
def written(history: Path, tmp_path: Path) -> Path:
    """A copy of the log that a test may spoil."""
    return Path(shutil.copy(history, tmp_path / LOG_NAME))


def _tamper(path: Path, sql: str) -> None:
    """Change the log as somebody would who drops the triggers first."""
    connection = apsw.Connection(str(path))
    connection.execute("DROP TRIGGER log_is_never_updated; DROP TRIGGER log_is_never_deleted")
    connection.execute(sql)
    assert connection.changes()
    connection.close()


def _verify(path: Path) -> list[Row]:
    connection = open_reader(path)
    try:
        return list(verified(read_rows(connection)))
    finally:
        connection.close()


def test_an_untouched_log_verifies(written: Path) -> None:
    rows = _verify(written)
    assert [row.position for row in rows] == list(range(1, 11))
    assert [row.append for row in rows] == [1, 1, 1, 4, 4, 6, 6, 6, 9, 9]
    assert [row.kind for row in rows[:5]] == [
        "transfer.begun",
        "account.debited",
        "limit.spent",
        "transfer.delivered",
        "account.credited",
    ]


@pytest.mark.parametrize("sql", ["UPDATE log SET body = x'7b7d'", "DELETE FROM log"])
def test_triggers_refuse_changes(written: Path, sql: str) -> None:
    connection = apsw.Connection(str(written))
    with pytest.raises(apsw.ConstraintError, match="never"):
        connection.execute(sql)
    connection.close()
    assert len(_verify(written)) == 10


@pytest.mark.parametrize("position", [1, 5, 10])
@pytest.mark.parametrize(
    "change",
    [
        "position = 100 + position",
        "append = append + 1",
        "append = -1",
        "stream_id = stream_id + 50",
        "stream_id = 99",
        "version = version + 10",
        "kind = 'account.credit'",
        "kind = replace(hex(zeroblob(40000)), '00', 'k') || kind",
        "schema_version = schema_version + 1",
        "epoch = epoch + 1",
        "epoch = -1",
        "recorded_unix_us = recorded_unix_us - 1",
        "body = CAST(body || ' ' AS BLOB)",
        "hash = zeroblob(32)",
        "hash = x''",
    ],
)
def test_a_change_of_any_column_is_found(written: Path, position: int, change: str) -> None:
    _tamper(written, f"UPDATE log SET {change} WHERE position = {position}")  # noqa: S608 (ours)
    with pytest.raises(FatalError):
        _verify(written)
    with pytest.raises(FatalError):
        open_engine(open_store(written.parent))


@pytest.mark.parametrize("name", ["'x/1'", "CAST(x'ff' AS TEXT)"])
def test_another_name_of_a_stream_is_found(written: Path, name: str) -> None:
    _tamper(written, f"UPDATE stream_name SET stream = {name} WHERE id = 1")  # noqa: S608 (ours)
    with pytest.raises(FatalError):
        _verify(written)
    with pytest.raises(FatalError):
        open_store(written.parent)


@pytest.mark.parametrize("position", [1, 2, 9])
def test_a_missing_row_is_found(written: Path, position: int) -> None:
    _tamper(written, f"DELETE FROM log WHERE position = {position}")  # noqa: S608 (ours)
    with pytest.raises(FatalError, match="the log jumps from"):
        _verify(written)


def test_two_rows_exchanged_are_found(written: Path) -> None:
    _tamper(
        written,
        "UPDATE log SET position = -1 WHERE position = 3;"
        "UPDATE log SET position = 3 WHERE position = 4;"
        "UPDATE log SET position = 4 WHERE position = -1",
    )
    with pytest.raises(FatalError, match="position 3 breaks"):
        _verify(written)


def test_a_lost_tail_leaves_a_prefix(written: Path) -> None:
    """A chain cannot know what came after its newest row: only a remembered head can."""
    whole = _verify(written)
    connection = open_reader(written)
    head = newest_head(connection)
    connection.close()
    _tamper(written, "DELETE FROM log WHERE position > 8")
    assert _verify(written) == whole[:8]
    connection = open_reader(written)
    assert newest_head(connection) != head
    connection.close()


def test_reading_goes_on_from_a_known_head(written: Path) -> None:
    connection = open_reader(written)
    chained = list(read_rows(connection))
    head = Head(4, chained[3].hash)
    assert [row.position for row in verified(read_rows(connection, 4), head)] == [5, 6, 7, 8, 9, 10]
    with pytest.raises(FatalError, match="position 5 breaks"):
        list(verified(read_rows(connection, 4), Head(4, bytes(32))))
    connection.close()


def _chain(*rows: Row) -> list[ChainedRow]:
    """Rows with right hashes, as only a broken writer of ours could leave them."""
    previous, chained = EMPTY_HEAD.hash, []
    for row in rows:
        previous = chain_hash(previous, row)
        chained.append(ChainedRow(row, previous))
    return chained


def test_stream_versions_are_checked_besides_hashes() -> None:
    event = machines().codec.encode(Credited(amount=1))
    first = Row(1, 1, "account/1", 1, event, 1, 0)
    second, third = (Row(2, 2, "account/1", version, event, 1, 0) for version in (2, 3))
    for keep_final in (True, False):
        assert fold(machines(), verified(_chain(first, second)), keep_final=keep_final)
        with pytest.raises(FatalError, match="version 3 of account/1 has nothing to rest on"):
            fold(machines(), verified(_chain(first, third)), keep_final=keep_final)
        with pytest.raises(FatalError, match="version 2 of account/1 has nothing to rest on"):
            fold(
                machines(),
                verified(_chain(Row(1, 1, "account/1", 2, event, 1, 0))),
                keep_final=keep_final,
            )


def test_the_hash_separates_neighbouring_fields() -> None:
    def hashed(stream: str, kind: str, body: bytes) -> bytes:
        return chain_hash(bytes(32), Row(1, 1, stream, 1, EncodedEvent(kind, 1, body), 1, 0))

    assert len({hashed("ab", "c", b"d"), hashed("a", "bc", b"d"), hashed("a", "b", b"cd")}) == 3


def test_a_damaged_page_is_fatal(written: Path) -> None:
    content = bytearray(written.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    written.write_bytes(content)
    with pytest.raises(FatalError):
        _verify(written)
    with pytest.raises(FatalError, match="is damaged"):
        open_store(written.parent)
