"""The tools on a log with unreadable events and quarantines: they show what is known."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from engine import quarantine
from engine.chain import Row
from engine.events import Event
from engine.portable import chained, write_rows
from engine.storage.store import Store
from gateway.log import machines, read_models
from migrations import SchemaSteps
from tests.cli.log.histories import HISTORIES, Tools
from tests.replay.stored_history import load

#: What no machine reads, and no export may have.
SECRET = b'{"what":"nobody knows: lnbc-of-mine"}'
PAYMENT = "90fbc47870"
WHERE = "the effect of a test"


def _demo() -> list[Row]:
    return [one.row for one in load(HISTORIES / "0.13.0-demo.jsonl")]


def _store(directory: Path, rows: list[Row]) -> Path:
    store = Store(directory, SchemaSteps(), read_models())
    write_rows(store, machines(), chained(rows))
    store.close()
    return directory


@pytest.fixture
def unread(tmp_path: Path) -> tuple[Path, Row]:
    """A log in which a payment's call cannot be read, nor what came after it; and that row."""
    rows = _demo()
    at = next(n for n, row in enumerate(rows) if row.kind == "send.dispatching")
    event = msgspec.structs.replace(rows[at].event, body=SECRET)
    rows[at] = msgspec.structs.replace(rows[at], event=event)
    return _store(tmp_path / "data", rows), rows[at]


@pytest.fixture
def quarantined(tmp_path: Path) -> tuple[Path, tuple[str, ...]]:
    """A log whose last rows put a payment, and the gateway's own stream, into quarantine; and the two."""
    rows = _demo()
    streams = (next(row.stream for row in rows if row.kind == "send.accepted"), "gateway/self")
    rows += _quarantines(rows[-1], streams)
    return _store(tmp_path / "data", rows), streams


def _quarantines(last: Row, streams: tuple[str, ...]) -> Iterator[Row]:
    noted: Event = quarantine.StreamQuarantined(where=WHERE, fault="ZeroDivisionError")
    for number, stream in enumerate(streams, 1):
        yield msgspec.structs.replace(
            last,
            position=last.position + number,
            append=last.position + number,
            stream=quarantine.stream_of(stream),
            version=1,
            event=machines().codec.encode(noted),
        )


def test_what_cannot_be_read_is_shown_as_it_stands(
    unread: tuple[Path, Row], capsys: pytest.CaptureFixture[str]
) -> None:
    directory, row = unread
    run = Tools(directory, capsys)
    assert "lnbc-of-mine" in run("show", "--stream", row.stream)
    assert run.document("show", "--after", row.position - 1, "--limit", 1)["kind"] == row.kind


def test_at_and_diff_name_what_cannot_be_read(
    unread: tuple[Path, Row], capsys: pytest.CaptureFixture[str]
) -> None:
    directory, row = unread
    run = Tools(directory, capsys)
    last = _demo()[-1].position
    found = {one["stream"]: one for one in run.document("at", last)["open"]}[row.stream]
    assert found["state"] == "Unread"
    assert f"{row.kind} at position {row.position} cannot be read" in found["unread"]
    changed = {one["stream"]: one for one in run.document("diff", 0, last)["changes"]}[row.stream]
    assert (changed["after"], changed["is_over"]) == ("Unread", False)
    assert " Unread " in run("at", last)
    assert " Unread " in run("diff", 0, last)
    before = {one["stream"]: one for one in run.document("at", row.position - 1)["open"]}
    assert (before[row.stream]["state"], before[row.stream]["unread"]) == ("Accepted", None)


def test_trace_goes_through_what_cannot_be_read(
    unread: tuple[Path, Row], capsys: pytest.CaptureFixture[str]
) -> None:
    directory, row = unread
    run = Tools(directory, capsys)
    (path,) = (
        one for one in run.document("trace", row.stream)["paths"] if one["stream"] == row.stream
    )
    assert [stay["state"] for stay in path["stays"]] == ["Accepted", "Unread"]
    assert not path["is_over"]
    for form in ((), ("--facts",), ("--diagram",)):
        assert "Unread" in run("trace", row.stream, *form)


@pytest.mark.parametrize("tool", [("simulate-recovery",), ("verify",)])
def test_other_tools_tell_of_what_cannot_be_read(
    unread: tuple[Path, Row], capsys: pytest.CaptureFixture[str], tool: tuple[str, ...]
) -> None:
    assert "unread" in Tools(unread[0], capsys)(*tool).lower()


def test_stuck_names_what_cannot_be_read(
    unread: tuple[Path, Row], capsys: pytest.CaptureFixture[str]
) -> None:
    directory, row = unread
    (one,) = Tools(directory, capsys).document("stuck")["quarantined"]
    assert (one["stream"], one["is_readable"]) == (row.stream, False)


def test_an_export_keeps_that_it_cannot_be_read_and_nothing_of_it(
    unread: tuple[Path, Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, row = unread
    again = _exported(directory, tmp_path, capsys)
    assert "of-mine" not in (tmp_path / "export").read_text()
    found = again.document("verify")
    assert found["problems"] == []
    (sentence,) = found["unread"]
    assert f"{row.kind} at position {row.position} cannot be read" in sentence


def test_quarantines_are_exported_with_their_streams(
    quarantined: tuple[Path, tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, (payment, _) = quarantined
    again = _exported(directory, tmp_path, capsys)
    assert again.document("verify")["problems"] == []
    text = (tmp_path / "export").read_text()
    assert payment.partition("/")[2] not in text
    assert WHERE not in text
    open_streams = {one["stream"] for one in again.document("at", _demo()[-1].position + 2)["open"]}
    assert "quarantine/gateway/self" in open_streams
    (other,) = (one for one in open_streams if one.startswith("quarantine/send/"))
    assert again.document("trace", quarantine.subject_of(other))["events"]


@pytest.mark.parametrize(
    "look",
    [
        lambda run, payment, last: run("trace", payment),
        lambda run, payment, last: run("show", "--kind", "stream.quarantined"),
        lambda run, payment, last: run("at", last + 2),
        lambda run, payment, last: run("diff", last, last + 2),
        lambda run, payment, last: run("stuck"),
        lambda run, payment, last: run("simulate-recovery"),
    ],
)
def test_every_tool_shows_a_quarantine(
    quarantined: tuple[Path, tuple[str, ...]],
    capsys: pytest.CaptureFixture[str],
    look: Callable[[Tools, str, int], str],
) -> None:
    directory, (payment, _) = quarantined
    assert "quarantine" in look(Tools(directory, capsys), payment, _demo()[-1].position).lower()


def _exported(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Tools:
    """The tools on the log that an export of `directory` became."""
    Tools(directory, capsys)("export", tmp_path / "export")
    again = tmp_path / "again"
    # `import` has the file first.
    Tools(tmp_path / "export", capsys)("import", again)
    return Tools(again, capsys)
