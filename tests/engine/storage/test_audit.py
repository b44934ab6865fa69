"""A log verifies until it or its tables are changed."""

import re
from pathlib import Path

import apsw
import pytest

from engine.chain import StoredStep
from engine.fold import fold, state_hash
from engine.machine import State
from engine.storage.audit import ComparedReadModel, Verified, verify
from engine.storage.reader import open_log
from engine.storage.rows import LOG_NAME
from tests.engine.toy import (
    Sending,
    Unborn,
    machines,
    open_store,
    read_models,
    write_transfers,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of two transfers that arrived; closed."""
    write_transfers(tmp_path)
    return tmp_path / LOG_NAME


def _write(path: Path, sql: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(sql)
    connection.close()


def test_an_untouched_log_verifies(path: Path) -> None:
    log = open_log(path.parent)
    found = verify(log, machines(), read_models())
    assert found.head.position == 10
    assert (found.streams, found.unfinished_streams) == (5, 3)
    assert found.read_models == (
        ComparedReadModel("streams", 3, 5, compared=True),
        ComparedReadModel("open_states", 1, 3, compared=True),
    )
    store = open_store(path.parent)  # the reader holds nothing that a start would wait for
    assert store.head == found.head
    rows = (chained.row for chained in store.rows())
    assert found.states == state_hash(machines(), fold(machines(), rows, keep_final=True))
    store.close()
    log.close()


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("DROP TRIGGER log_is_never_updated; UPDATE log SET epoch = 7 WHERE position = 4", "position 4"),
        ("UPDATE stream SET version = 9 WHERE id = 2", r"table stream differs .*\(2, "),
        ("DELETE FROM stream WHERE id = 3", "table stream differs"),
        ("INSERT INTO stream SELECT 99, 1, kind, state_name, 1, 1, 1, 1, 1 FROM stream LIMIT 1", "differs"),
        ("DROP TRIGGER log_is_never_deleted; DELETE FROM log WHERE position = 10", "table stream differs"),
        ("DROP TABLE stream", "table stream cannot be read"),
    ],
)  # fmt: skip
def test_what_was_changed_is_found(path: Path, sql: str, words: str) -> None:
    _write(path, sql)
    (problem,) = _verified(path).problems
    assert re.search(words, problem)


def test_everything_that_is_wrong_is_told(path: Path) -> None:
    _write(
        path,
        "DROP TRIGGER log_is_never_updated;"
        "UPDATE log SET recorded_unix_us = 0 WHERE position IN (2, 9);"
        "UPDATE stream SET version = 9 WHERE id = 2",
    )
    problems = _verified(path).problems
    assert len(problems) == 3
    for problem, words in zip(
        problems, ("position 2 ", "position 9 ", "table stream"), strict=True
    ):
        assert words in problem


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("DELETE FROM log WHERE position = 1", "nothing to rest on"),
        ("UPDATE log SET kind = 'ghost' WHERE position = 3", "does not know: start the newer program"),
    ],
)  # fmt: skip
def test_a_log_that_does_not_fold_is_read_to_its_end(
    path: Path, monkeypatch: pytest.MonkeyPatch, sql: str, words: str
) -> None:
    monkeypatch.setattr("engine.storage.audit.REBUILD_ROWS", 4)
    _write(path, "DROP TRIGGER log_is_never_updated; DROP TRIGGER log_is_never_deleted")
    _write(path, sql)
    _write(path, "UPDATE log SET epoch = 7 WHERE position = 10")
    found = _verified(path)
    assert found.states is None
    assert [model.compared for model in found.read_models] == [False, False]
    assert any(re.search(f"the log does not fold: .*{words}", one) for one in found.problems)
    assert any(" 10" in one for one in found.problems)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE log SET body = x'7b7d' WHERE position = 3", "cannot be decoded"),
        ("UPDATE log SET kind = 'transfer.delivered' WHERE position = 1", "AttributeError"),
    ],
)
def test_a_stream_that_cannot_be_read_is_told_beside_all_that_is_wrong(
    path: Path, sql: str, words: str
) -> None:
    _write(path, "DROP TRIGGER log_is_never_updated")
    _write(path, sql)
    found = _verified(path)
    assert found.states is not None
    assert any(words in one for one in found.unread)
    assert any("breaks the hash chain" in one for one in found.problems)


def test_an_inspection_that_fails_is_told(path: Path) -> None:
    def inspect(_before: State, _step: StoredStep) -> list[str]:
        raise ZeroDivisionError

    log = open_log(path.parent)
    (problem,) = verify(log, machines(), read_models(), inspect).problems
    log.close()
    assert problem.startswith("the log does not fold: ZeroDivisionError between 1 and ")


def test_whoever_inspects_sees_every_step(path: Path) -> None:
    seen: list[tuple[int, State]] = []

    def inspect(before: State, step: StoredStep) -> list[str]:
        seen.append((step.row.position, before))
        return ["ten"] if step.row.position == 10 else []

    log = open_log(path.parent)
    assert verify(log, machines(), read_models(), inspect).problems == ("ten",)
    log.close()
    assert [position for position, _ in seen] == list(range(1, 11))
    assert isinstance(seen[0][1], Unborn)
    assert isinstance(seen[3][1], Sending)


def test_an_outdated_read_model_is_no_damage(path: Path) -> None:
    _write(path, "UPDATE read_model SET version = 0; DELETE FROM stream")
    found = _verified(path)
    assert [model.compared for model in found.read_models] == [False, False]
    assert found.problems == ()


def _verified(path: Path) -> Verified:
    with open_log(path.parent) as log:
        return verify(log, machines(), read_models())
