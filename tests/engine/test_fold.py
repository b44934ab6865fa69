"""Folding: the same rows always give the same states, at once, in parts, and in tables."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chain import Row, StoredStep
from engine.fold import Machines, fold, state_hash, steps
from engine.machine import State
from tests.engine.toy import (
    DISK,
    Again,
    Begin,
    Begun,
    Bounced,
    Credit,
    Credited,
    Delivered,
    Noted,
    Sent,
    machines,
    open_store,
    order,
)

_INPUTS = st.one_of(
    st.builds(Begin, order=st.just(order(1))),
    st.just(Sent()),
    st.just(Bounced(why="no")),
    st.just(Again()),
    st.builds(Noted, text=st.text(max_size=3)),
)
_HISTORIES = st.lists(st.tuples(st.sampled_from("12345"), _INPUTS), max_size=25)


def _rows(history: Sequence[tuple[str, object]]) -> list[Row]:
    """Rows of the transfers alone, without what they tell."""
    toys, states, rows = machines(), dict[str, tuple[State, int]](), list[Row]()
    for name, input_ in history:
        stream = f"transfer/{name}"
        machine = toys.of(stream)
        state, version = states.get(stream, (machine.initial, 0))
        rule = machine.rules[type(state), type(input_)]  # type: ignore[index] # an input
        if type(rule).__name__ == "Refuse":
            continue
        for event in machine.decide(state, input_).events:  # type: ignore[arg-type] # an input
            state, version = machine.evolve(state, event), version + 1
            position = len(rows) + 1
            encoded = toys.codec.encode(event)
            rows.append(Row(position, position, stream, version, encoded, 1, position * 10))
        states[stream] = (state, version)
    return rows


@given(_HISTORIES)
def test_folding_again_gives_the_same_hash(history: list[tuple[str, object]]) -> None:
    rows = _rows(history)
    whole = fold(machines(), rows, keep_final=True)
    assert state_hash(machines(), whole) == state_hash(
        machines(), fold(machines(), rows, keep_final=True)
    )
    parts = dict(fold(machines(), rows[: len(rows) // 2], keep_final=True))
    list(steps(machines(), rows[len(rows) // 2 :], parts))
    assert parts == whole


@given(_HISTORIES, st.integers(0, 30))
def test_a_fold_until_a_position_is_a_fold_of_the_rows_up_to_it(
    history: list[tuple[str, object]], until: int
) -> None:
    rows = _rows(history)
    assert fold(machines(), rows, keep_final=True, until=until) == fold(
        machines(), rows[:until], keep_final=True
    )


@given(_HISTORIES)
def test_without_final_streams_the_open_ones_are_the_same(
    history: list[tuple[str, object]],
) -> None:
    rows, toys = _rows(history), machines()
    open_ones = {
        stream: position
        for stream, position in fold(toys, rows, keep_final=True).items()
        if not toys.of(stream).is_final(position.state)
    }
    assert fold(toys, rows, keep_final=False) == open_ones


@settings(max_examples=25, deadline=None)
@given(_HISTORIES, st.lists(st.integers(1, 6), max_size=30))
def test_a_rebuilt_read_model_equals_the_incremental_one(
    history: list[tuple[str, object]], batches: list[int]
) -> None:
    stored = list(steps(machines(), _rows(history)))
    with tempfile.TemporaryDirectory(dir=DISK) as directory:
        store = open_store(Path(directory))
        left = stored
        for size in [*batches, len(stored)]:
            batch, left = left[:size], left[size:]
            if batch:
                store.append(batch)
        incremental = store.query("SELECT * FROM stream ORDER BY id")
        store.rebuild(store.read_models, iter(stored))
        assert store.query("SELECT * FROM stream ORDER BY id") == incremental
        assert len(incremental) == len({step.row.stream for step in stored})
        store.close()


def test_the_state_hash_is_stable() -> None:
    """Pinned: stored histories of released versions are compared by it."""
    rows = [
        Row(1, 1, "transfer/1", 1, machines().codec.encode(Begun(order=order())), 1, 0),
        Row(2, 2, "account/a", 1, machines().codec.encode(Credited(amount=5)), 1, 0),
        Row(3, 3, "transfer/1", 2, machines().codec.encode(Delivered()), 1, 0),
    ]
    found = [
        state_hash(machines(), fold(machines(), rows, keep_final=True, until=n)) for n in range(4)
    ]
    assert [digest[:16] for digest in found] == [
        "e3b0c44298fc1c14",
        "1b505643310a9cd4",
        "40373ad5fc922766",
        "cbf909ebfaadd463",
    ]


def test_machines_are_listed_and_step_alone() -> None:
    toys = machines()
    assert [machine.kind for machine in toys] == ["account", "limit", "transfer", "quarantine"]
    assert isinstance(toys, Machines)
    row = Row(1, 1, "account/a", 1, toys.codec.encode(Credited(amount=5)), 1, 0)
    step = toys.step({}, row)
    assert isinstance(step, StoredStep)
    assert step.state == toys.of("account/a").evolve(toys.of("account/a").initial, step.event)
    assert Credit(amount=5).amount == 5
