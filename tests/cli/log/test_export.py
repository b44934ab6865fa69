"""An exported history identifies nobody, and is the same history."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from engine.chain import Row
from engine.fold import fold
from errors import FatalError, InputError
from gateway import anonymous
from gateway.anonymous import Anonymiser, telling
from gateway.log import machines
from statemachines.ledger import audit
from tests.cli.log.histories import HISTORIES, Tools, data_directory
from tests.replay.stored_history import load

every_history = pytest.mark.parametrize(
    "history", ["0.13.0-demo", "0.13.0-embedded", "0.13.0-real"]
)


@pytest.fixture
def exported(tmp_path: Path, history: str, capsys: pytest.CaptureFixture[str]) -> Path:
    run = Tools(data_directory(tmp_path / "data", history), capsys)
    file = tmp_path / "export.jsonl"
    assert f"rows in {file}" in run("export", file)
    assert [found.name for found in tmp_path.glob("export*")] == ["export.jsonl"]
    return file


def _originals(rows: list[Row]) -> Iterator[str]:
    """Every text and every run of bytes in the events and names of a log, in each form it could be told in."""
    codec = machines().codec
    for row in rows:
        for found in telling(codec.decode(row.event), row.stream):
            yield found.decode()


def _rows(file: Path) -> list[Row]:
    return [one.row for one in load(file)]


@every_history
def test_an_export_has_nothing_of_the_original(exported: Path, history: str) -> None:
    text = exported.read_text().lower()
    originals = set(_originals(_rows(HISTORIES / f"{history}.jsonl")))
    assert len(originals) > 100
    assert [found for found in originals if found.lower() in text] == []
    # Pieces of secrets are none, either.
    ids = {
        found for found in originals if len(found) >= 64 and set(found) <= set("0123456789abcdef")
    }
    assert len(ids) > 20
    assert [found for found in ids if found[:16] in text or found[-16:] in text] == []


@every_history
def test_an_export_is_the_same_history(exported: Path, history: str) -> None:
    before, after = _rows(HISTORIES / f"{history}.jsonl"), _rows(exported)
    assert [_shape(row) for row in after] == [_shape(row) for row in before]
    of = machines()
    states_before, states_after = (fold(of, rows, keep_final=True) for rows in (before, after))
    assert [type(p.state) for p in states_after.values()] == [
        type(p.state) for p in states_before.values()
    ]
    books_before, books_after = audit(of, before), audit(of, after)
    assert books_after.is_sound
    assert sorted(books_after.balances.values()) == sorted(books_before.balances.values())


def _shape(row: Row) -> tuple[object, ...]:
    return row.position, row.append, row.stream.partition("/")[0], row.version, row.kind, row.epoch


@every_history
def test_an_export_becomes_a_log(
    exported: Path, history: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Tools(tmp_path / "copy", capsys)
    file, run.directory = run.directory, exported
    head = run("import", file).split()[-1]
    run.directory = file
    found = run.document("verify")
    assert found["head"]["hash"] == head
    assert found["problems"] == []
    (send,) = run("show", "--kind", "send.accepted", "--limit", "1", "--json").splitlines()
    assert "send.paid" in run("trace", msgspec.json.decode(send)["stream"])


@pytest.mark.parametrize("history", ["0.13.0-demo"])
def test_times_are_moved_but_last_as_long(exported: Path, history: str) -> None:
    before, after = _rows(HISTORIES / f"{history}.jsonl"), _rows(exported)
    moved = {b.recorded_unix_us - a.recorded_unix_us for b, a in zip(before, after, strict=True)}
    (moved_us,) = moved
    assert moved_us % 1_000_000 == 0
    assert after[0].recorded_unix_us // 1_000_000 * 1_000_000 == anonymous.EPOCH_UNIX_US
    expiries = [
        machines().codec.decode(row.event).facts.invoice_expires_unix_s  # type: ignore[attr-defined]
        for rows in (before, after)
        for row in rows
        if row.kind == "send.accepted"
    ]
    half = len(expiries) // 2
    assert {b - a for b, a in zip(expiries[:half], expiries[half:], strict=True)} == {
        moved_us // 1_000_000
    }


def test_times_can_be_kept() -> None:
    rows = _rows(HISTORIES / "0.13.0-demo.jsonl")
    anonymiser = Anonymiser(machines().codec, b"key", keep_times=True)
    for row in rows:
        assert anonymiser.row(row).recorded_unix_us == row.recorded_unix_us


def test_stand_ins_are_the_same_within_an_export_and_others_in_the_next() -> None:
    row = _rows(HISTORIES / "0.13.0-demo.jsonl")[9]
    one, other = (Anonymiser(machines().codec, key) for key in (b"1", b"2"))
    assert one.row(row) == one.row(row)
    assert one.row(row).stream != other.row(row).stream


def test_a_row_that_would_give_something_away_is_not_exported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Anonymiser, "_hex", lambda _self, text: text)
    row = _rows(HISTORIES / "0.13.0-demo.jsonl")[9]
    with pytest.raises(FatalError, match="row at 10 would give something away"):
        Anonymiser(machines().codec, b"key").row(row)


@pytest.mark.parametrize("history", ["0.13.0-demo"])
def test_nothing_is_overwritten(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], history: str
) -> None:
    del history
    run = Tools(tmp_path / "data", capsys)
    with pytest.raises(InputError, match="exists already"):
        run("export", exported)
    with pytest.raises(InputError, match="cannot be written"):
        run("export", tmp_path / "nowhere" / "file")
    run.directory = exported
    with pytest.raises(InputError, match="is not empty"):
        run("import", tmp_path)
    run.directory = tmp_path / "nothing"
    with pytest.raises(InputError, match="cannot be read"):
        run("import", tmp_path / "new")


@pytest.mark.parametrize("history", ["0.13.0-demo"])
def test_a_file_that_is_no_history_is_refused(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], history: str
) -> None:
    del history
    lines = exported.read_text().splitlines(keepends=True)
    run = Tools(tmp_path / "broken", capsys)
    run.directory.write_text("".join(lines[:5] + lines[6:]))
    with pytest.raises(InputError, match="no whole history: the log jumps from position 5"):
        run("import", tmp_path / "one")
    run.directory.write_text("no row\n")
    with pytest.raises(InputError, match="this is no row of a log"):
        run("import", tmp_path / "two")
