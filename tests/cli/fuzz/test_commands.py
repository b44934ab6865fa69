"""`gatewayd fuzz` for its user, with a broken target beside the real ones."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st

from cli.gatewayd import program
from fuzz import targets
from fuzz.targets import TARGETS, Target


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    def fail(value: bytes) -> None:
        raise ValueError(f"{len(value)} bytes are never right")

    monkeypatch.setattr(targets, "TARGETS", {**TARGETS, "broken": Target(st.binary(), fail)})
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> int:
        return program.main(["fuzz", *arguments])

    return call


def test_what_holds_is_counted(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--seeds", "3", "--scenario", "decoder/ecash", "--scenario", "decoder/invite") == 0
    assert capsys.readouterr().out.startswith("6 inputs to 2 scenarios in ")


def test_what_fails_is_a_file_that_plays_again(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run("--seeds", "2", "--scenario", "broken", "--json") == 1
    summary = json.loads(capsys.readouterr().out)
    assert (summary["played"], summary["failed"]) == (1, 1)
    (file,) = summary["cases"]
    assert (tmp_path / file).is_file()
    assert run("--replay", file) == 1
    shown = capsys.readouterr()
    assert "in fail" in shown.out
    assert "broken still fails: ValueError: 0 bytes are never right" in shown.err


def test_a_file_of_what_was_mended_says_so(
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    case = {"target": "decoder/ecash", "seed": 1, "drawn_from": "00", "error": "", "trace": ""}
    (tmp_path / "case.json").write_text(json.dumps(case))
    assert run("--replay", "case.json") == 0
    assert capsys.readouterr().out == "decoder/ecash: the property holds\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--scenario", "nothing"], "no scenario nothing"),
        (["--seeds", "0"], "must be above zero"),
        (["--replay", "missing.json"], "cannot read"),
    ],
)
def test_wrong_arguments_are_refused(
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    assert run(*arguments) in {4, 5}
    assert sentence in capsys.readouterr().err
