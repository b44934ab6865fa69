"""`help` on every level of both programs prints the page of `--help`, or says what is missing."""

import json
from collections.abc import Callable, Iterator, Sequence

import pytest
from cyclopts import App

from cli.gateway_cli import program as gateway_cli
from cli.gatewayd import program as gatewayd


def _paths(app: App, *path: str) -> Iterator[tuple[str, ...]]:
    """The words of every command below `app`, loaded."""
    for name in app:
        if not name.startswith("-"):
            yield (*path, name)
            yield from _paths(app[name], *path, name)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize(
    ("main", "app"), [(gateway_cli.main, gateway_cli.app), (gatewayd.main, gatewayd.app)]
)
def test_help_prints_what_the_flag_prints(
    capsys: pytest.CaptureFixture[str], main: Callable[[Sequence[str]], int], app: App
) -> None:
    paths = [(), *_paths(app)]
    assert len(paths) > 15
    for path in paths:
        assert main([*path, "--help"]) == 0
        page = capsys.readouterr().out
        assert page.startswith("Usage: ")
        for split in range(len(path)):
            assert main([*path[:split], "help", *path[split:]]) == 0
            assert capsys.readouterr().out == page, path
    assert main(["help"]) == 0
    assert "\n  help: Show how a command is used.\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", ["help nonsense", "lightning help nonsense", "help info nonsense"]
)
def test_what_there_is_not_has_no_page(capsys: pytest.CaptureFixture[str], words: str) -> None:
    assert gateway_cli.main(words.split()) == 4
    answer = json.loads(capsys.readouterr().out)
    assert answer["code"] == "invalid_input"
    assert answer["error"].startswith("There is no command '")


@pytest.mark.parametrize("words", ["help nonsense", "log help nonsense", "help log nonsense"])
def test_gatewayd_says_so_on_stderr(capsys: pytest.CaptureFixture[str], words: str) -> None:
    assert gatewayd.main(words.split()) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("gatewayd: There is no command '")


def test_flags_may_stand_before_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert gateway_cli.main(["-a", "http://127.0.0.1:1", "help", "info"]) == 0
    assert capsys.readouterr().out.startswith("Usage: gateway-cli info")


@pytest.mark.parametrize(
    "words",
    [
        "cfg set-mnemonic --words abandon ability able",
        "cfg set-mnemonic abandon ability able",
        "ecash receive --notes fedimint1 ability",
    ],
)
def test_words_that_are_left_over_are_not_repeated(
    capsys: pytest.CaptureFixture[str], words: str
) -> None:
    assert gateway_cli.main(words.split()) == 4
    answer = json.loads(capsys.readouterr().out)
    assert "extra words" in answer["error"]
    assert "ability" not in answer["error"]
