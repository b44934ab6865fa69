"""`stuck` and `simulate-recovery`: each open state has advice, each effect its sentence."""

import json
import shutil
from pathlib import Path

import pytest

from cli.log import recovery, stuck
from engine.machine import Effect
from engine.ports import SystemClock
from engine.storage.rows import LOG_NAME
from gateway.log import machines
from gateway.restoring import restore
from statemachines.accounts import LOST
from statemachines.ledger import Auditor
from statemachines.operator_payment import OperatorPaymentRefused
from tests.cli.log.histories import Tools, data_directory

WIDTH = 100
HOUR_S = 3_600


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_directory(tmp_path_factory.mktemp("history") / "data", "0.13.0-embedded")


@pytest.fixture
def run(history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Tools:
    return Tools(Path(shutil.copytree(history, tmp_path / "data")), capsys)


def _end_unix_s(run: Tools) -> int:
    last = run("show", "--json").splitlines()[-1]
    return int(json.loads(last)["recorded_unix_us"]) // 1_000_000


def test_every_effect_has_a_sentence() -> None:
    assert any(OperatorPaymentRefused in machine.events for machine in machines())
    ours = {one for one in Effect.__subclasses__() if one.__module__.startswith("statemachines.")}
    assert set(recovery.DONE_AGAIN) == ours


def test_what_waits_is_told_once_it_is_overdue(run: Tools) -> None:
    """One payment is in flight, of the other the node has lost its record."""
    end_unix_s = _end_unix_s(run)
    now = stuck.stuck(run.directory, end_unix_s, everything=False)
    assert [(one.state, one.waits_for) for one in now.waiting] == [("Vanished", "the operator")]
    everything = stuck.stuck(run.directory, end_unix_s, everything=True)
    assert {(one.state, one.overdue) for one in everything.waiting} == {
        ("InFlight", False),
        ("Vanished", True),
    }
    later = stuck.stuck(run.directory, end_unix_s + 2_000 * HOUR_S, everything=False)
    assert [one.overdue for one in later.waiting] == [True, True]
    assert now.frozen is None


def test_what_was_lost_is_what_the_books_call_lost(run: Tools) -> None:
    balances = run.document("verify")["balances_msat"]
    (loss,) = stuck.stuck(run.directory, 0, everything=False).losses
    assert loss.lost_msat == balances[LOST]
    assert "the federation refuses the claim" in loss.why
    assert Auditor().balances == {}


def test_people_read_whom_it_waits_for_and_what_they_may_do(
    run: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_unix_s = _end_unix_s(run)
    monkeypatch.setattr("time.time", lambda: end_unix_s + 60.0)
    lines = run("stuck").splitlines()
    assert lines[0].endswith("  Vanished for 1 min 0 s")
    assert lines[1] == "  waits for   the operator"
    assert "Restore the node's database" in " ".join(lines[2:5])
    assert "lost: 5,034,000 msat" in lines
    assert "(in time)" in run("stuck", "--all")
    assert max(len(line) for line in run("stuck", "--all").splitlines()) <= WIDTH
    document = run.document("stuck")
    assert [one["state"] for one in document["waiting"]] == ["Vanished"]


def test_a_start_is_told_without_being_made(run: Tools) -> None:
    before = (run.directory / LOG_NAME).read_bytes()
    found = run.document("simulate-recovery")
    assert {one["effect"] for one in found["started"]} == {"FollowPayment"}
    assert {one["state"] for one in found["started"]} == {"InFlight", "Vanished"}
    assert not any(one["held_back"] for one in found["started"])
    assert {one["stream"].partition("/")[0] for one in found["waits"]} == {
        "federation",
        "gateway",
        "wallet",
    }
    text = run("simulate-recovery")
    assert "at position 198, would begin 2 effects" in text
    assert "follows the node's record to its end" in text
    assert max(map(len, text.splitlines())) <= WIDTH
    assert (run.directory / LOG_NAME).read_bytes() == before


def test_a_frozen_log_says_so(run: Tools, tmp_path: Path) -> None:
    restore(run.directory, tmp_path / "restored", SystemClock())
    run.directory = tmp_path / "restored"
    frozen = run.document("stuck")["frozen"]
    assert frozen["position"] == 198
    assert run("stuck").startswith("FROZEN since ")
    assert run.document("simulate-recovery")["is_frozen"]
    assert "FROZEN: restored from a backup" in run("simulate-recovery")


def test_what_a_freeze_holds_back_is_told(
    run: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore(run.directory, tmp_path / "restored", SystemClock())
    run.directory = tmp_path / "restored"
    monkeypatch.setattr(recovery, "sends_money_out", lambda _effect: True)
    monkeypatch.setattr(recovery, "LINES_MAX", 1)
    assert all(one["held_back"] for one in run.document("simulate-recovery")["started"])
    text = run("simulate-recovery")
    assert "(held back)" in text
    assert "… and 1 more: --json has all" in text
