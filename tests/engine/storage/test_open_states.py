"""A start rests on the table of open streams: it brings what a fold of everything leaves open, or is refused."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chain import Row, StoredStep, verified
from engine.engine import Engine, Ports
from engine.fold import Machines, Position, fold
from engine.ports import inline
from engine.storage import open_states, streams
from engine.storage.errors import DamagedError
from engine.storage.open_states import OpenStates
from engine.storage.read_model import ReadModel, StreamIndex
from engine.storage.rows import LOG_NAME
from engine.storage.store import Store
from errors import FatalError
from migrations import SchemaSteps
from tests.engine.toy import (
    ACCOUNT,
    ALL,
    DISK,
    TRANSFER,
    Arrived,
    Begin,
    Credit,
    Credited,
    Delivered,
    FixedRandomness,
    Open,
    StepClock,
    machines,
    open_engine,
    open_store,
    order,
    read_models,
    running,
)

pytestmark = pytest.mark.anyio


def _credits(store: Store, count: int, stream: str = "account/a") -> None:
    known = fold(machines(), verified(store.rows()), keep_final=True)
    before = known.get(stream) or Position(Open(), 0, 0)
    assert isinstance(before.state, Open)
    steps = []
    for number in range(1, count + 1):
        position, version = store.head.position + number, before.version + number
        event = machines().codec.encode(Credited(amount=1))
        row = Row(position, position, stream, version, event, store.epoch, 5)
        state = Open(balance=before.state.balance + number)
        steps.append(StoredStep(row, Credited(amount=1), state, final=False))
    store.append(steps)


def _written(store: Store) -> list[tuple[object, ...]]:
    return store.query(
        "SELECT stream, open_stream.version, length(state) > 0 FROM open_stream JOIN stream_name USING (id)"
    )


def test_a_state_is_written_now_and_then(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for count, version in ((1, 0), (14, 0), (1, 16), (15, 16), (1, 32)):
        _credits(store, count)
        assert _written(store) == [("account/a", version, version > 0)]
    store.close()


def test_a_long_state_is_written_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_states, "BYTES_AN_EVENT", 1)
    store = open_store(tmp_path)
    _credits(store, 16)
    length = len(machines().encode_state(Open(balance=16)))
    assert length > open_states.EVENTS_MIN
    _credits(store, length - 1)
    assert _written(store) == [("account/a", 16, True)]
    _credits(store, 1)
    assert _written(store) == [("account/a", 16 + length, True)]
    store.close()


async def test_a_start_reads_only_what_came_after_the_states(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    engine = open_engine(store)
    async with running(engine):
        for _ in range(20):
            await engine.submit("account/a", Credit(amount=1))
        await engine.submit("account/b", Credit(amount=7))
    store.close()
    store = open_store(tmp_path)
    asked: list[tuple[str, int]] = []
    rows_of = store.rows_of

    def counted(stream: str, after_version: int = 0) -> Any:
        asked.append((stream, after_version))
        return rows_of(stream, after_version)

    store.rows_of = counted  # type: ignore[method-assign]
    store.rows = None  # type: ignore[assignment, method-assign]
    engine = open_engine(store)
    assert asked == [("account/a", 16), ("account/b", 0)]
    assert engine.open_streams() == {"account/a": Open(balance=20), "account/b": Open(balance=7)}
    store.close()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40)), max_size=8),
    st.integers(1, 50),
)
def test_what_is_written_does_not_depend_on_how_the_log_is_cut(
    given: list[tuple[str, int]], size: int
) -> None:
    with tempfile.TemporaryDirectory(dir=DISK) as directory:
        store = open_store(Path(directory))
        for name, count in given:
            _credits(store, count, f"account/{name}")
        whole = fold(machines(), verified(store.rows()), keep_final=False)
        assert store.open_streams(machines()) == whole
        sql = "SELECT * FROM open_stream ORDER BY id"
        before = store.query(sql)
        known: dict[str, Position] = {}
        steps = []
        for row in verified(store.rows()):
            steps.append(machines().step(known, row))
            known[row.stream] = Position.after(steps[-1])
        connection = apsw.Connection(str(Path(directory) / LOG_NAME))
        store.rebuild([store.read_models[1]], iter(()))
        for start in range(0, len(steps), size):
            store._tables._fold([store.read_models[1]], steps[start : start + size])
        assert store.query(sql) == before
        connection.close()
        store.close()


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE open_stream SET state = CAST(replace(CAST(state AS TEXT), '16', '17') AS BLOB)",
        "UPDATE open_stream SET version = 15",
        "UPDATE open_stream SET position = 15",
        "UPDATE open_stream SET id = 77",
        "UPDATE open_stream SET checksum = x''",
    ],
)
def test_a_row_that_is_not_what_was_written_is_refused(tmp_path: Path, spoil: str) -> None:
    store = open_store(tmp_path)
    _credits(store, 17)
    store.close()
    _write(tmp_path, spoil)
    store = open_store(tmp_path)
    with pytest.raises(DamagedError, match="does not return the state of"):
        open_engine(store)
    store.close()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("DELETE FROM open_stream", "do not agree on what is open"),
        ("UPDATE stream SET final = 1", "do not agree on what is open"),
        ("UPDATE stream SET version = 3", "do not agree on what is open"),
        ("DELETE FROM open_stream; UPDATE stream SET final = 1, version = 3", "on what is over"),
        ("DELETE FROM open_stream; DELETE FROM stream", "on what is over"),
    ],
)
def test_tables_that_do_not_agree_are_refused(tmp_path: Path, spoil: str, words: str) -> None:
    store = open_store(tmp_path)
    _credits(store, 17)
    store.close()
    _write(tmp_path, spoil)
    store = open_store(tmp_path)
    with pytest.raises(DamagedError, match=words):
        open_engine(store)
    store.close()


def test_another_program_folds_everything_anew(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    _credits(store, 17)
    store.close()

    def doubled(state: Open, event: Credited) -> Open:
        return Open(balance=state.balance + 2 * event.amount)

    others = [
        replace(ACCOUNT, evolvers={**ACCOUNT.evolvers, Credited: doubled}),
        *(machine for machine in ALL if machine is not ACCOUNT),
    ]
    other = Machines(others)
    store = Store(tmp_path, SchemaSteps(), [StreamIndex(), OpenStates(other, 2)])
    ports = Ports(StepClock(), FixedRandomness(), inline)
    engine = Engine(store, other, ports)
    assert engine.open_streams() == {"account/a": Open(balance=34)}
    store.close()


@pytest.mark.parametrize("error", [OverflowError, TypeError])
def test_a_state_that_would_not_come_back_is_folded_from_its_events(
    tmp_path: Path, error: type[Exception]
) -> None:
    class Narrow(Machines):
        def encode_state(self, state: Any) -> bytes:
            if state.balance > 16:
                raise error
            return msgspec.json.encode(Open(balance=0))

    store = Store(tmp_path, SchemaSteps(), [StreamIndex(), OpenStates(Narrow(ALL), 1)])
    store.rebuild(store.outdated_read_models(), iter(()))
    _credits(store, 20)
    assert _written(store) == [("account/a", 0, False)]
    store.close()
    assert read_models()[1].version == 1
    store = open_store(tmp_path)
    assert open_engine(store).open_streams() == {"account/a": Open(balance=20)}
    store.close()


def _write(directory: Path, sql: str) -> None:
    connection = apsw.Connection(str(directory / LOG_NAME))
    connection.execute(sql)
    connection.close()


def test_a_start_does_not_compare_with_an_index_that_lacks_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(*_: object) -> None:
        raise apsw.TooBigError

    store = open_store(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(StreamIndex, "fold", overflow)
        _credits(store, 1)
    store.close()
    store = open_store(tmp_path)
    assert [gap.name for gap in store.gaps()] == ["streams"]
    assert open_engine(store).open_streams() == {"account/a": Open(balance=1)}
    store.close()


def test_a_state_of_another_program_is_not_decoded() -> None:
    with pytest.raises(FatalError, match="a stored state of account/a cannot be decoded"):
        machines().decode_state("account/a", b'{"type":"Closed"}')


def test_a_store_without_the_table_folds_everything(tmp_path: Path) -> None:
    store = Store(tmp_path, SchemaSteps(), [])
    _credits(store, 3)
    store.close()
    store = Store(tmp_path, SchemaSteps(), [])
    assert open_engine(store).open_streams() == {"account/a": Open(balance=3)}
    store.close()


async def test_what_only_a_later_program_reads_does_not_keep_it_from_starting_again(
    tmp_path: Path,
) -> None:
    """The index of streams is of the program, too: with an older one's a start would find damage for ever."""

    def fail(_state: object, _event: object) -> Arrived:
        raise ValueError

    transfer = replace(TRANSFER, evolvers={**TRANSFER.evolvers, Delivered: fail})
    others = Machines([transfer, *(machine for machine in ALL if machine is not TRANSFER)])
    store = open_store(tmp_path)
    engine = open_engine(store)
    async with running(engine):
        await engine.submit("transfer/1", Begin(order=order()))
        await engine.wait("transfer/1", lambda state: isinstance(state, Arrived))
    store.close()
    for program, version, is_open in ((others, 2, True), (machines(), 3, False)):
        for _start in range(2):
            models: list[ReadModel] = [StreamIndex(), OpenStates(program, version)]
            store = Store(tmp_path, SchemaSteps(), models)
            engine = Engine(store, program, Ports(StepClock(), FixedRandomness(), inline))
            assert ("transfer/1" in engine.open_streams()) is is_open
            (indexed,) = streams.named(store, ["transfer/1"]).values()
            assert indexed.state_name == ("Sending" if is_open else "Arrived")
            store.close()


async def test_a_finished_stream_is_read_although_the_index_lacks_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(*_: object) -> None:
        raise apsw.TooBigError

    store = open_store(tmp_path)
    engine = open_engine(store)
    async with running(engine):
        with monkeypatch.context() as patched:
            patched.setattr(StreamIndex, "fold", overflow)
            await engine.submit("transfer/1", Begin(order=order()))
            await engine.wait("transfer/1", lambda state: isinstance(state, Arrived))
        assert isinstance((await engine.read("transfer/1")).state, Arrived)
    store.close()


def test_what_another_table_lacks_does_not_switch_the_comparison_off(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    _credits(store, 17)
    store.close()
    _write(
        tmp_path,
        "INSERT INTO read_model_gap VALUES ('payments', 1, 'a number'); DELETE FROM open_stream",
    )
    store = open_store(tmp_path)
    with pytest.raises(DamagedError, match="do not agree on what is open"):
        open_engine(store)
    store.close()
