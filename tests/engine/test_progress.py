"""Who reads a long log hears how far it is, and nobody hears of a short one."""

from itertools import count

import pytest

from engine import progress
from engine.progress import Progress, telling, told


@pytest.fixture
def _slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for each look at the clock, which is looked at for each row."""
    seconds = count()
    monkeypatch.setattr("engine.progress.time.monotonic", lambda: float(next(seconds)))
    monkeypatch.setattr(progress, "ROWS_PER_LOOK", 1)


@pytest.mark.usefixtures("_slow")
def test_a_listener_hears_every_two_seconds() -> None:
    heard: list[Progress] = []
    with told(heard.append):
        assert list(telling(iter(range(8)), lambda: 16)) == list(range(8))
        assert heard == [Progress(2, 16), Progress(4, 16), Progress(6, 16), Progress(8, 16)]
        assert str(heard[-1]) == "8 of 16 events (50 %)"
        assert list(telling(iter(range(2)), lambda: None)) == [0, 1]
    assert str(heard[-1]) == "2 events"
    assert list(telling(iter(range(9)), lambda: 9)) == list(range(9))
    assert len(heard) == 5


def test_of_a_short_reading_nothing_is_said() -> None:
    heard: list[Progress] = []
    with told(heard.append):
        assert len(list(telling(iter(range(5_000)), lambda: 5_000))) == 5_000
    assert heard == []
