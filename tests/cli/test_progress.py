"""A long reading is shown on a terminal, and leaves nothing there."""

import sys

import pytest

from cli.progress import progress_on_terminal
from engine import progress
from engine.progress import telling


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_long_reading_is_shown_where_somebody_looks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, is_terminal: bool
) -> None:
    monkeypatch.setattr(progress, "ROWS_PER_LOOK", 1)
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    with progress_on_terminal():
        assert list(telling(iter(range(2)), lambda: 2)) == [0, 1]
    shown = capsys.readouterr().err
    if is_terminal:
        first, second = "1 of 2 events (50 %)", "2 of 2 events (100 %)"
        assert shown == f"\rreading the log: {first}\rreading the log: {second}\r{'':38}\r"
    else:
        assert shown == ""
