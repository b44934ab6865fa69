"""Tools that look rows up find what a reading of the whole log finds, and check it on request."""

import json
import shutil
from pathlib import Path

import pytest

from engine.chain import verified
from engine.machine import State
from engine.storage import changes
from engine.storage.errors import DamagedError
from engine.storage.reader import open_log
from gateway.log import machines
from gateway.log_fold import LogFold, standing_in
from tests.cli.log.histories import HISTORIES, Tools, data_directory

ALL_HISTORIES = [path.stem for path in sorted(HISTORIES.glob("*.jsonl"))]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_directory(tmp_path_factory.mktemp("history") / "data", "0.13.0-embedded")


@pytest.fixture
def run(history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Tools:
    return Tools(Path(shutil.copytree(history, tmp_path / "data")), capsys)


@pytest.mark.parametrize("name", ALL_HISTORIES)
def test_what_is_open_is_what_a_fold_of_everything_leaves_open(name: str, tmp_path: Path) -> None:
    of = machines()
    states: tuple[type[State], ...] = tuple(state for machine in of for state in machine.states)
    whole = LogFold(of)
    with open_log(data_directory(tmp_path / "data", name)) as log:
        whole.read(verified(log.rows()))
        assert standing_in(log, of, states) == whole.open != {}
        assert standing_in(log, of, ()) == {}


def test_tables_of_another_version_are_not_asked(run: Tools) -> None:
    found = run.document("stuck", "--all")
    assert len(found["waiting"]) == 2
    run.write("UPDATE read_model SET version = 0; DROP TABLE stream")
    assert run.document("stuck", "--all") == found


def test_tables_that_are_not_of_this_log_are_told(run: Tools) -> None:
    run.write("UPDATE stream SET state_name = 'Unanswered' WHERE state_name = 'InFlight'")
    with pytest.raises(DamagedError, match=r"Unanswered, its rows that it is InFlight: .* verify"):
        run("stuck")


@pytest.mark.parametrize("tool", ["show", "stuck", "trace"])
def test_rows_are_taken_as_they_stand_unless_asked(run: Tools, tool: str) -> None:
    arguments = ["gateway/self"] if tool == "trace" else []
    run.write(
        "DROP TRIGGER log_is_never_updated; UPDATE log SET recorded_unix_us = 1 WHERE position = 2",
    )
    assert run(tool, *arguments)
    with pytest.raises(DamagedError, match="position 2 breaks the hash chain"):
        run(tool, *arguments, "--verify")
    assert run.printed == ""
    run.write("DELETE FROM read_model")
    if tool == "stuck":
        with pytest.raises(DamagedError, match="position 2 breaks the hash chain"):
            run(tool)


def test_a_whole_log_is_said_to_be_so_by_no_more_than_what_was_asked(run: Tools) -> None:
    for tool in ("show", "stuck"):
        assert run(tool, "--verify") == run(tool)
    assert run("trace", "gateway/self", "--verify") == run("trace", "gateway/self")


def test_a_payment_is_found_by_the_txid_of_its_claim(run: Tools) -> None:
    (claimed, *_) = run("show", "--kind", "send.claimed", "--json").splitlines()
    stream = json.loads(claimed)["stream"]
    by_stream = run.document("trace", stream)
    (tx,) = (one for one in by_stream["streams"] if one.startswith("tx/"))
    (signed,) = (
        json.loads(line)
        for line in run("show", "--stream", tx, "--json").splitlines()
        if json.loads(line)["kind"] == "tx.signed"
    )
    by_txid = run.document("trace", signed["facts"]["txid"])
    assert by_txid["streams"] == by_stream["streams"]
    assert by_txid["events"] == by_stream["events"]


@pytest.mark.parametrize("held", [1, 2, 7])
def test_what_moved_is_the_same_however_much_of_it_memory_holds(
    run: Tools, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    found = run.document("diff", 10, 198)
    assert len(found["changes"]) > held
    assert sum(change["events"] for change in found["changes"]) == 188
    monkeypatch.setattr(changes, "STREAMS_HELD", held)
    assert run.document("diff", 10, 198) == found
