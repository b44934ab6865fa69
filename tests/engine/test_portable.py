"""A log as text is the same log."""

from pathlib import Path

import pytest

from engine.portable import chained, from_line, to_line, write_rows
from engine.storage.rows import LOG_NAME, open_reader, read_rows
from errors import FatalError, InputError
from tests.engine.toy import (
    machines,
    open_store,
    write_transfers,
)


@pytest.fixture
def lines(tmp_path: Path) -> list[str]:
    write_transfers(tmp_path / "first")
    reader = open_reader(tmp_path / "first" / LOG_NAME)
    found = [to_line(one) for one in read_rows(reader)]
    reader.close()
    return found


def test_lines_become_the_same_log(
    lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.portable.ROWS_PER_APPEND", 3)
    store = open_store(tmp_path / "second")
    head = write_rows(store, machines(), map(from_line, lines))
    assert [to_line(one) for one in store.rows()] == lines
    assert (head.position, head.hash) == (10, from_line(lines[-1]).hash)
    assert store.query("SELECT count(*) FROM stream WHERE final") == [(2,)]
    store.close()


def test_hashes_follow_from_rows(lines: list[str]) -> None:
    rows = [from_line(line) for line in lines]
    assert list(chained(one.row for one in rows)) == rows


def test_lines_that_do_not_follow_from_each_other_are_refused(
    lines: list[str], tmp_path: Path
) -> None:
    store = open_store(tmp_path / "second")
    with pytest.raises(FatalError, match="jumps from position 0 to 2"):
        write_rows(store, machines(), map(from_line, lines[1:]))
    store.close()


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"position":"one"}', b"\xff"])
def test_other_lines_are_no_rows(text: str | bytes) -> None:
    with pytest.raises(InputError, match="no row of a log"):
        from_line(text)


def test_a_hash_is_hex(lines: list[str]) -> None:
    with pytest.raises(InputError, match="no row of a log"):
        from_line(lines[0].replace(from_line(lines[0]).hash.hex(), "no hex"))
