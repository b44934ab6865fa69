"""One writer, asserted; readers beside it; read models that always equal the log."""

import resource
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import msgspec
import pytest

from engine.chain import Row, StoredStep, verified
from engine.events import EncodedEvent
from engine.fold import fold, steps
from engine.storage.audit import verify
from engine.storage.errors import DamagedError, StorageError
from engine.storage.lock import LOCK_NAME
from engine.storage.opening import BUSY_MS
from engine.storage.read_model import Step, StreamIndex
from engine.storage.reader import open_log
from engine.storage.rows import LOG_NAME, newest_head, open_reader, read_rows
from engine.storage.store import Store
from errors import ConfigError, FatalError, FaultError, NotFoundError, UnavailableError
from migrations import SchemaSteps
from tests.engine.toy import (
    Credit,
    Credited,
    Open,
    machines,
    open_engine,
    open_store,
    read_models,
    running,
)


def _step(store: Store, position: int, version: int, stream: str = "account/a") -> StoredStep:
    event = Credited(amount=1)
    row = Row(position, position, stream, version, machines().codec.encode(event), store.epoch, 5)
    return StoredStep(row, event, Open(balance=version), final=False)


def _index(store: Store) -> list[tuple[object, ...]]:
    return store.query("SELECT * FROM stream ORDER BY id")


def test_file_and_folder_are_private(store: Store, tmp_path: Path) -> None:
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    for name in (LOG_NAME, LOCK_NAME):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_second_process_is_refused_by_the_lock(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another gatewayd is running"):
        open_store(tmp_path)


def test_the_lock_is_free_after_close_and_after_a_failed_start(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    (tmp_path / LOG_NAME).write_bytes(b"no database" * 1000)
    for _ in range(2):
        with pytest.raises(DamagedError, match=r"is damaged .* continue from a backup"):
            open_store(tmp_path)


def test_the_epoch_rises_at_every_start(tmp_path: Path) -> None:
    epochs = []
    for _ in range(3):
        store = open_store(tmp_path)
        epochs.append(store.epoch)
        store.close()
    assert epochs == [1, 2, 3]


def test_a_second_writer_ends_the_first(tmp_path: Path) -> None:
    first = open_store(tmp_path)
    first.append([_step(first, 1, 1)])
    (tmp_path / LOCK_NAME).unlink()
    second = open_store(tmp_path)
    with pytest.raises(FatalError, match=r"another process opened this log \(epoch 2, ours 1\)"):
        first.append([_step(first, 2, 2)])
    second.append([_step(second, 2, 2)])
    with pytest.raises(FatalError, match="another process"):
        first.append([_step(first, 2, 2)])
    assert [row.epoch for row in verified(second.rows())] == [1, 2]
    first.close()
    second.close()


def test_a_foreign_row_ends_the_writer(store: Store, tmp_path: Path) -> None:
    other = apsw.Connection(str(tmp_path / LOG_NAME))
    other.execute("INSERT INTO log VALUES (1, 1, 1, 1, 'k', 1, 1, 1, x'7b7d', x'00')")
    other.close()
    with pytest.raises(FatalError, match="not the one this process wrote"):
        store.append([_step(store, 1, 1)])


@pytest.mark.parametrize(("position", "version"), [(3, 2), (1, 2), (2, 1)])
def test_gaps_and_repetitions_are_never_written(store: Store, position: int, version: int) -> None:
    store.append([_step(store, 1, 1)])
    head = store.head
    with pytest.raises(FatalError):
        store.append([_step(store, position, version)])
    assert (store.head, newest_head(store._write)) == (head, head)
    store.append([_step(store, 2, 2)])


def test_whatever_else_keeps_a_row_from_being_written_is_fatal(store: Store) -> None:
    with pytest.raises(StorageError, match="could not be written"):
        store.append([_step(store, 1, -1)])
    assert list(store.rows()) == []


@pytest.mark.parametrize("error", [None, apsw.FullError("full"), OSError("gone")])
def test_an_error_of_storage_in_a_read_model_is_fatal_and_writes_nothing(
    tmp_path: Path, error: Exception | None
) -> None:
    class Broken(StreamIndex):
        def fold(self, connection: apsw.Connection, steps: object) -> None:
            if error is not None:
                raise error
            # As SQLite does by itself on some errors of the disk.
            connection.execute("ROLLBACK")
            raise ZeroDivisionError

    store = Store(tmp_path, SchemaSteps(), [Broken()])
    store.rebuild(store.outdated_read_models(), iter(()))
    with pytest.raises(StorageError):
        store.append([_step(store, 1, 1)])
    assert list(store.rows()) == []
    store.close()


class Picky(StreamIndex):
    """Cannot take what some events would put into it."""

    name = "picky"
    tables = ("picked",)
    ddl = "CREATE TABLE picked (version INTEGER) STRICT"

    def fold(self, connection: apsw.Connection, steps: Sequence[Step]) -> None:
        for step in steps:
            value: int | str = step.row.version
            if step.row.position == 2:
                value = "of another type"
            elif step.row.position == 3:
                value = 1 << 63
            connection.execute("INSERT INTO picked VALUES (?)", (value,))


@pytest.mark.parametrize("batches", [[4], [1, 1, 1, 1], [2, 2]])
def test_what_a_read_model_cannot_take_is_left_out_and_told(
    tmp_path: Path, batches: list[int]
) -> None:
    store = Store(tmp_path, SchemaSteps(), [StreamIndex(), Picky()])
    store.rebuild(store.outdated_read_models(), iter(()))
    for count in batches:
        first = store.head.position + 1
        store.append([_step(store, first + i, first + i) for i in range(count)])
    told = [(gap.name, gap.position, gap.why.partition(":")[0]) for gap in store.gaps()]
    assert told == [("picky", 2, "ConstraintError"), ("picky", 3, "OverflowError")]
    assert store.query("SELECT version FROM picked") == [(1,), (4,)]
    with open_log(tmp_path) as log:
        found = verify(log, machines(), store.read_models)
    assert found.problems == ()
    assert [model.left_out for model in found.read_models] == [(), (2, 3)]
    rebuilt = steps(machines(), verified(store.rows()))
    store.rebuild([store.read_models[1]], rebuilt)
    assert [gap.position for gap in store.gaps()] == [2, 3]
    store.close()


def test_a_query_that_fails_by_itself_is_an_error_to_its_caller(store: Store) -> None:
    heard: list[Exception] = []
    store.failed = heard.append
    store.append([_step(store, 1, 1)])
    too_much = "SELECT sum(x) FROM (SELECT 9223372036854775807 x UNION ALL SELECT 1)"
    cases: list[tuple[str, tuple[int, ...]]] = [
        (too_much, ()),
        ("SELECT ?", (1 << 64,)),
        ("SELECT nothing", ()),
    ]
    for sql, bindings in cases:
        with pytest.raises(FaultError, match="payments continue"):
            store.query(sql, bindings)
    assert heard == []
    assert store.query("SELECT version FROM stream") == [(1,)]


def test_a_query_that_the_disk_fails_ends_everything(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def execute(self, *_args: object) -> None:
            raise apsw.IOError("disk I/O error")

        def close(self) -> None:
            pass

    heard: list[Exception] = []
    store.failed = heard.append
    monkeypatch.setattr(store, "_read", Failing())
    with pytest.raises(StorageError) as raised:
        store.query("SELECT 1")
    assert heard == [raised.value]


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    connection = apsw.Connection(str(tmp_path / LOG_NAME))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="schema 99"):
        open_store(tmp_path)


def test_a_database_without_our_tables_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    connection = apsw.Connection(str(tmp_path / LOG_NAME))
    connection.execute("DELETE FROM writer")
    connection.close()
    with pytest.raises(FatalError, match="damaged or not ours"):
        open_store(tmp_path)


def test_a_lasting_reader_keeps_a_start_waiting_and_then_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    reader = open_reader(tmp_path / LOG_NAME)
    store.append([_step(store, 1, 1), _step(store, 2, 2)])
    cursor = reader.execute("SELECT position FROM log")
    assert next(cursor) == (1,)
    store.append([_step(store, 3, 3)])
    store.close()
    monkeypatch.setattr("engine.storage.opening.BUSY_MS", 1)
    with pytest.raises(UnavailableError, match="keeps reading"):
        open_store(tmp_path)
    reader.close(force=True)
    again = open_store(tmp_path)
    assert again.head.position == 3
    again.close()
    assert BUSY_MS > 1


def test_reading_needs_a_file_and_never_writes(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no log"):
        open_reader(tmp_path / LOG_NAME)
    open_store(tmp_path).close()
    reader = open_reader(tmp_path / LOG_NAME)
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("UPDATE writer SET epoch = 0")
    reader.close()


def test_a_live_log_is_read_beside_its_writer(store: Store, tmp_path: Path) -> None:
    store.append([_step(store, 1, 1)])
    reader = open_reader(tmp_path / LOG_NAME)
    rows = read_rows(reader)
    assert next(rows).row.position == 1
    store.append([_step(store, 2, 2)])
    assert list(rows) == []  # the snapshot of its first row
    assert [chained.row.position for chained in read_rows(reader, 1)] == [2]
    reader.close()


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Path]:
    """A log of one account with three credits."""
    store = open_store(tmp_path)
    for position in (1, 2, 3):
        store.append([_step(store, position, position)])
    store.close()
    return iter([tmp_path])


@pytest.mark.parametrize(
    "neglect",
    [
        "UPDATE read_model SET version = version - 1",
        "DELETE FROM read_model",
        "DROP TABLE stream",
    ],
)
def test_outdated_and_dropped_read_models_are_rebuilt(filled: Iterator[Path], neglect: str) -> None:
    directory = next(filled)
    connection = apsw.Connection(str(directory / LOG_NAME))
    before = list(connection.execute("SELECT * FROM stream"))
    assert len(before) == 1
    connection.execute(neglect)
    connection.close()
    store = open_store(directory)
    assert "streams" in [model.name for model in store.outdated_read_models()]
    open_engine(store)
    assert store.outdated_read_models() == []
    assert _index(store) == before
    store.close()


def test_a_read_model_skipped_by_another_program_is_rebuilt(filled: Iterator[Path]) -> None:
    directory = next(filled)
    without = Store(directory, SchemaSteps(), [])
    without.append([_step(without, 4, 4)])
    without.close()
    store = open_store(directory)
    open_engine(store)
    assert store.query("SELECT version FROM stream") == [(4,)]
    store.close()


def test_a_large_append_and_a_large_query_open_no_file(tmp_path: Path) -> None:
    """Strangers may have used up the descriptors, and there may be no folder for temporary files."""
    names = [f"account/{number:064x}" for number in range(2_000)]
    store = open_store(tmp_path)
    store.append([_step(store, at, 1, name) for at, name in enumerate(names, 1)])
    steps_ = [_step(store, at, 2, name) for at, name in enumerate(names, 2_001)]
    values = [f"value {number} " + "x" * 400 for number in range(20_000)]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, most[1]))
    try:
        store.append(steps_)
        found = store.query(
            "SELECT count(*) FROM (SELECT DISTINCT value FROM json_each(?) ORDER BY value)",
            (msgspec.json.encode(values).decode(),),
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
    assert (store.head.position, found) == (4_000, [(20_000,)])
    store.close()


def test_memory_that_is_short_leaves_no_event_out_of_a_table(
    filled: Iterator[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    store = open_store(directory := next(filled))
    with monkeypatch.context() as patched:
        patched.setattr(StreamIndex, "fold", fail)
        with pytest.raises(StorageError, match="the log could not be written"):
            store.append([_step(store, 4, 4)])
    store.close()
    store = open_store(directory)
    assert (store.head.position, store.gaps()) == (3, [])
    store.close()


@pytest.mark.anyio
async def test_since_moves_with_the_name_of_the_state_only(store: Store) -> None:
    engine = open_engine(store)
    async with running(engine):
        await engine.submit("account/a", Credit(amount=1))
        await engine.submit("account/a", Credit(amount=1))
    index = store.query("SELECT state_name, final, version, position FROM stream")
    assert index == [("Open", 0, 2, 2)]
    assert read_models()[0].name == "streams"


def test_steps_and_fold_agree(filled: Iterator[Path]) -> None:
    store = open_store(next(filled))
    last = list(steps(machines(), verified(store.rows())))[-1]
    states = fold(machines(), verified(store.rows()), keep_final=True)
    assert last.state == states["account/a"].state == Open(balance=3)
    with pytest.raises(FatalError, match="nothing to rest on"):
        list(steps(machines(), [last.row]))
    with pytest.raises(FatalError, match="does not know"):
        machines().codec.decode(EncodedEvent("x", 1, b"{}"))
    store.close()
