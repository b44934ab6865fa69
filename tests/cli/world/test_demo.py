"""`gatewayd demo`: its numbers must add up."""

import errno
from pathlib import Path

import msgspec
import pytest

from cli.gatewayd.program import main
from cli.world.demo_books import Books


# It starts two gateways and grinds two deposit addresses, each of which takes some seconds or, rarely, a minute.
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demonstration_adds_up_and_tells_its_story(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--json", "--directory", str(tmp_path / "demo")]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    *story, last = captured.out.splitlines()
    books = msgspec.json.decode(last, type=Books)
    assert [line for line in books.lines if line.logged_msat != line.counted_msat] == []
    assert {line.what for line in books.lines} > {"ecash in Alpha", "deposited", "withdrawn"}
    assert sum(books.balances_msat.values()) == 0
    assert books.earned_msat > 0
    assert books.events == sum(" #" in line for line in story)
    assert len(bytes.fromhex(books.log_head)) == 32
    text = "\n".join(story)
    told = (
        "joins Alpha",
        "killed",
        "starts again",
        "receives",
        "pegin",
        "swap",
        "pegout",
        "leaves",
    )
    assert [text.index(word) for word in told] == sorted(text.index(word) for word in told)
    # The payment that the crash fell into was sent once.
    assert text.count("send.dispatching") == 2
    assert text.count("send.claimed") == 3
    assert main(["log", "verify", str(tmp_path / "demo" / "gateway" / "data")]) == 0
    assert f"{books.events}" in capsys.readouterr().out


def test_a_folder_with_anything_in_it_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log.db").touch()
    assert main(["demo", "--directory", str(tmp_path)]) != 0
    assert "not empty" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["demo", "--directory", str(tmp_path / "file")]) == 4
    assert main(["dev", "--directory", str(tmp_path / "file" / "inside")]) == 4
    first, second = capsys.readouterr().err.splitlines()
    assert "cannot be used as a folder: File exists" in first
    assert "cannot be used as a folder: Not a directory" in second


def test_no_temporary_folder_is_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*, prefix: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", prefix)

    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    assert main(["demo"]) == 4
    assert "no temporary folder can be made (No space left on device)" in capsys.readouterr().err
