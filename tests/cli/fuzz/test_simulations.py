"""`gatewayd fuzz sim` and `gatewayd fuzz mutants` for their user."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from cli.gatewayd import program
from fuzz.mutants import catalogue
from fuzz.simulation import seeds, transitions
from fuzz.simulation.seeds import Summary
from fuzz.simulation.transitions import every_transition


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tool sets for its processes is taken back."""
    monkeypatch.setenv("PYTHONHASHSEED", "0")


def test_seeds_are_played_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["fuzz", "sim", "--seeds", "1", "--workers", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 seeds in ")
    assert lines[0].endswith(" 0 failed")
    assert not any(line.startswith("  never: ") for line in lines)


@pytest.mark.parametrize(
    ("played", "never", "code"), [(9, 1, 1), (9, 0, 0), (8, 1, 0)], ids=["all", "none", "in part"]
)
def test_a_transition_that_no_seed_took_is_told_and_an_error_once_all_are_played(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    played: int,
    never: int,
    code: int,
) -> None:
    every = sorted(seeds.name_of(one) for one in every_transition())
    summary = Summary(seeds=played, transitions=Counter(every[never:]))
    monkeypatch.setattr(seeds, "run", lambda *_, **__: summary)
    assert program.main(["fuzz", "sim", "--seeds", "9", "--covered"]) == code
    shown = capsys.readouterr()
    assert shown.out.endswith(f"  never: {every[0]}\n") is bool(never)
    assert ("no seed took 1 of the state machines' transitions" in shown.err) is bool(code)


def test_a_broken_promise_is_told_and_the_exit_code_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {3: "seed 3 at commit abc", 5: None}
    monkeypatch.setattr(seeds, "run", lambda *_, **__: Summary(seconds=1.0, seeds=9, failed=[3, 5]))
    monkeypatch.setattr(seeds, "processes", ThreadPoolExecutor)
    monkeypatch.setattr(seeds, "told", told.__getitem__)
    assert program.main(["fuzz", "sim"]) == 1
    shown = capsys.readouterr()
    assert "seed 3 at commit abc\nseed 5 fails only beside others" in shown.out
    assert shown.err == "gatewayd: 2 seeds broke a promise\n"


@pytest.mark.parametrize(("succeeded", "code"), [(49, 1), (50, 0)])
def test_a_gateway_that_refuses_too_much_is_told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    succeeded: int,
    code: int,
) -> None:
    counts = Counter({"wanted Swap": 100, "succeeded Swap": succeeded})
    monkeypatch.setattr(seeds, "run", lambda *_, **__: Summary(seeds=9, counts=counts))
    assert program.main(["fuzz", "sim"]) == code
    shown = capsys.readouterr()
    sentence = f"{succeeded} of 100 wanted Swap succeeded ({succeeded} %)"
    assert sentence in shown.out
    assert (f"refuses too much: {sentence}" in shown.err) is bool(code)


def test_mutants_are_searched_by_name_and_one_that_lives_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, int]] = []

    def search(name: str, first_seed: int) -> int | None:
        asked.append((name, first_seed))
        return None if name == "settle once" else 17

    monkeypatch.setattr(seeds, "processes", ThreadPoolExecutor)
    monkeypatch.setattr(catalogue, "search", search)
    words = ["fuzz", "mutants", "settle once", "fund again", "--first-seed", "9", "--workers", "1"]
    assert program.main(words) == 1
    assert sorted(asked) == [("fund again", 9), ("settle once", 9)]
    shown = capsys.readouterr()
    assert "settle once (promise 4, trap 10.2.9): LIVES\n" in shown.out
    assert "fund again (promise 4, trap 10.2.11): caught by seed 17\n" in shown.out
    assert shown.err == "gatewayd: 1 mutants survive: no seed fails with them\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sim", "--seeds", "0"], "must be above zero"),
        (["sim", "--workers", "0"], "--workers must be above zero"),
        (["mutants", "nobody"], "no mutant has such a name; the names are call before the intent,"),
        (["mutants", "--first-seed", "-1"], "--first-seed: '-1' is no whole number"),
    ],
)
def test_wrong_arguments_are_refused(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["fuzz", *words]) == 4
    assert sentence in capsys.readouterr().err


def test_what_seeds_may_leave_out_is_in_the_tables() -> None:
    assert transitions.every_transition() > transitions.RARELY_TAKEN
