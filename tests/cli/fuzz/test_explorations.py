"""`gatewayd fuzz explore` for its user."""

import pytest

from cli.gatewayd import program

CALM = ["--crashes", "0", "--losses", "0", "--orders", "0", "--workers", "1"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tool sets for its processes is taken back."""
    monkeypatch.setenv("PYTHONHASHSEED", "0")


def test_it_says_what_it_saw(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["fuzz", "explore", "send, the invoice", *CALM]) == 0
    bounds, seen, _speed, end = capsys.readouterr().out.splitlines()
    assert (
        bounds
        == "on one path at most: 0 crashes, 0 answers lost or late, 0 orders of the operator, "
        "0 restores of a backup"
    )
    assert seen.startswith("send, the invoice ends first: ")
    assert "transitions, depth" in seen
    assert end == "  nothing within the bounds is left out"


def test_what_is_left_out_is_an_error_for_whoever_wants_it_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    search = ["fuzz", "explore", "send, the invoice", "--states", "20", *CALM]
    assert program.main(search) == 0
    assert program.main([*search, "--whole"]) == 1
    shown = capsys.readouterr()
    assert shown.out.count("give it more time") == 2
    assert "within the bounds were not explored" in shown.err


@pytest.mark.parametrize(
    "asked",
    [
        ["nobody"],
        ["--crashes", "-1"],
        ["--minutes", "0"],
        ["--states", "0"],
        ["--workers", "0"],
    ],
)
def test_what_cannot_be_explored_is_refused(asked: list[str]) -> None:
    assert program.main(["fuzz", "explore", *asked]) == 4
