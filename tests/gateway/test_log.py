"""Which program folded the states of a log is told by its source."""

from pathlib import Path

import msgspec
import pytest

from gateway import log


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The packages that fold, each with one file."""
    for package in log._FOLDING:
        (tmp_path / package / "inside").mkdir(parents=True)
        (tmp_path / package / "inside" / "a.py").write_text("A = 1\n")
    monkeypatch.setattr("gateway.log.resources.files", lambda package: tmp_path / package)
    return tmp_path


def program() -> int:
    return log._program.__wrapped__()


def test_the_same_source_is_the_same_program(packages: Path) -> None:
    before = program()
    (packages / "engine" / "notes.txt").write_text("no source")
    assert program() == before
    assert 0 <= before < 1 << 63


@pytest.mark.parametrize("package", log._FOLDING)
def test_a_change_anywhere_is_another_program(packages: Path, package: str) -> None:
    before = program()
    (packages / package / "inside" / "a.py").write_text("A = 2\n")
    changed = program()
    (packages / package / "inside" / "a.py").rename(packages / package / "a.py")
    assert len({before, changed, program()}) == 3


def test_another_decoder_of_events_is_another_program(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert packages.is_dir()
    before = program()
    monkeypatch.setattr(msgspec, "__version__", "0.0.1")
    assert program() != before


def test_a_program_without_its_source_is_another_one_each_time(packages: Path) -> None:
    (packages / "statemachines" / "inside" / "a.py").unlink()
    assert program() != program()
