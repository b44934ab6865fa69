"""Rows are found by position, stream, kind and time."""

from collections.abc import Iterator, Sequence

import pytest

from engine.chain import Row, StoredStep
from engine.storage.reader import LogReader, open_log
from engine.storage.search import RowFilter, find_kinds, find_rows, row_at
from engine.storage.store import Store
from tests.engine.storage.query_plans import plans, queries
from tests.engine.toy import Credited, Debited, Open, Seen, machines

HASH = "5f" * 32
#: Stream and text of each event; a name in the text stands for what a real event would mention.
EVENTS = (
    ("wallet/fed", "opened"),
    (f"image/{HASH}", "send/c0ffee00"),
    ("send/c0ffee00", HASH),
    ("send/c0ffee99", "another payment"),
    ("tx/fed-1", "send/c0ffee00"),
    ("wallet/fed", "tx/fed-1"),
    ("wallet/fed", "tx/fed-2"),
    ("tx/fed-1", "bytes"),
    ("wallet/fed", HASH),
)


@pytest.fixture
def log(store: Store) -> Iterator[LogReader]:
    _write(store, EVENTS)
    with open_log(store.path.parent) as reader:
        yield reader


def _write(store: Store, events: Sequence[tuple[str, str]]) -> None:
    versions: dict[str, int] = {}
    steps = []
    for index, (stream, text) in enumerate(events):
        version = versions[stream] = versions.get(stream, 0) + 1
        event = Seen(text=text)
        encoded = machines().codec.encode(event)
        row = Row(index + 1, index + 1, stream, version, encoded, 1, 1_000 + index)
        steps.append(StoredStep(row, event, Open(), final=False))
    store.append(steps)


@pytest.mark.parametrize(
    ("wanted", "positions"),
    [
        (RowFilter(), list(range(1, 10))),
        (RowFilter(after=7), [8, 9]),
        (RowFilter(after=2, until=4), [3, 4]),
        (RowFilter(stream="tx/fed-1"), [5, 8]),
        (RowFilter(stream="wallet/fed", after=1, until=8), [6, 7]),
        (RowFilter(kind="transfer.seen", after=8), [9]),
        (RowFilter(kind="transfer"), []),
        (RowFilter(since_unix_us=1_003, until_unix_us=1_005), [4, 5, 6]),
    ],
)
@pytest.mark.parametrize("page_rows", [1, 3, 500])
def test_rows_are_found_over_all_pages(
    log: LogReader,
    monkeypatch: pytest.MonkeyPatch,
    wanted: RowFilter,
    positions: list[int],
    page_rows: int,
) -> None:
    monkeypatch.setattr("engine.storage.search.PAGE_ROWS", page_rows)
    assert [chained.row.position for chained in find_rows(log, wanted)] == positions


@pytest.mark.parametrize("page_rows", [1, 2, 500])
@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4])
def test_no_more_are_found_than_asked_for(
    log: LogReader, monkeypatch: pytest.MonkeyPatch, page_rows: int, limit: int
) -> None:
    monkeypatch.setattr("engine.storage.search.PAGE_ROWS", page_rows)
    found = find_rows(log, RowFilter(stream="wallet/fed"), limit)
    assert [chained.row.position for chained in found] == [1, 6, 7, 9][:limit]


def test_rows_of_a_stream_and_after_a_position_are_looked_up(log: LogReader) -> None:
    """A log is too long to be read for one payment."""
    for wanted in (RowFilter(stream="wallet/fed", after=3), RowFilter(after=3)):
        with queries(log.connection) as asked:
            list(find_rows(log, wanted))
        assert not [plan for plan in plans(log.connection, asked) if plan.startswith("SCAN log")]


def test_a_row_is_found_by_its_position(store: Store) -> None:
    _write(store, EVENTS)
    assert [row_at(store, position).stream for position in (1, 4, 9)] == [
        EVENTS[0][0],
        EVENTS[3][0],
        EVENTS[8][0],
    ]


def test_rows_of_kinds_are_found_but_for_those_with_a_zero(store: Store) -> None:
    events = [Credited(amount=3), Credited(amount=0), Seen(text="x"), Debited(amount=1)]
    steps = []
    for position, event in enumerate(events, 1):
        encoded = machines().codec.encode(event)
        row = Row(position, position, "account/a", position, encoded, 1, 1_000)
        steps.append(StoredStep(row, event, Open(), final=False))
    store.append(steps)
    with open_log(store.path.parent) as log:

        def found(*kinds: str) -> list[int]:
            rows = find_kinds(log, kinds, unless_zero="amount")
            return [chained.row.position for chained in rows]

        assert found(Credited.kind) == [1]
        assert found(Credited.kind, Debited.kind, Seen.kind) == [1, 3, 4]
        assert found() == []
