"""Rows are found by what an operator knows of them."""

from collections.abc import Iterator, Sequence

import apsw
import pytest

from engine.chain import Row
from engine.search import RowFilter, find_rows, identify, related_rows
from engine.store import Store, StoredStep, open_reader
from errors import InputError, NotFoundError
from tests.engine.toy import Open, Seen, machines

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
def connection(store: Store) -> Iterator[apsw.Connection]:
    _write(store, EVENTS)
    reader = open_reader(store.path)
    yield reader
    reader.close()


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


@pytest.fixture(autouse=True, params=[1, 50])
def _texts_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.search.TEXTS_AT_ONCE", request.param)


def _ends(stream: str) -> bool:
    return not stream.startswith("wallet/")


@pytest.mark.parametrize(
    ("wanted", "positions"),
    [
        (RowFilter(), list(range(1, 10))),
        (RowFilter(after=7), [8, 9]),
        (RowFilter(after=2, until=4), [3, 4]),
        (RowFilter(stream="tx/fed-1"), [5, 8]),
        (RowFilter(kind="transfer.seen", after=8), [9]),
        (RowFilter(kind="transfer"), []),
        (RowFilter(since_unix_us=1_003, until_unix_us=1_005), [4, 5, 6]),
    ],
)
@pytest.mark.parametrize("page_rows", [1, 3, 500])
def test_rows_are_found_over_all_pages(
    connection: apsw.Connection,
    monkeypatch: pytest.MonkeyPatch,
    wanted: RowFilter,
    positions: list[int],
    page_rows: int,
) -> None:
    monkeypatch.setattr("engine.search.PAGE_ROWS", page_rows)
    assert [chained.row.position for chained in find_rows(connection, wanted)] == positions


@pytest.mark.parametrize(
    ("prefix", "identifier"),
    [
        (HASH[:8], HASH),
        (HASH, HASH),
        ("c0ffee00", "c0ffee00"),
        ("c0ffee0", "c0ffee00"),
        ("send/c0ffee9", "send/c0ffee99"),
        ("tx/fed-1", "tx/fed-1"),
        ("opened", "opened"),
    ],
)
def test_a_beginning_is_enough(connection: apsw.Connection, prefix: str, identifier: str) -> None:
    assert identify(connection, prefix) == identifier


def test_beginnings_of_several_or_none_are_refused(connection: apsw.Connection) -> None:
    with pytest.raises(InputError, match="begins 2 identifiers: c0ffee00, c0ffee99"):
        identify(connection, "c0ffee")
    for wrong in ("c0f", "", "c0ffee%", 'c0ff"'):
        with pytest.raises(InputError, match="does not identify"):
            identify(connection, wrong)
    with pytest.raises(NotFoundError):
        identify(connection, "0ffee00")  # inside, not at the beginning


@pytest.mark.parametrize("identifier", [HASH, "c0ffee00", "send/c0ffee00"])
def test_a_payment_is_found_over_all_streams(connection: apsw.Connection, identifier: str) -> None:
    rows, own = related_rows(connection, identifier, _ends)
    assert own == {f"image/{HASH}", "send/c0ffee00", "tx/fed-1"}
    wallet = [6, 9] if identifier == HASH else [6]
    assert [row.position for row in rows] == sorted([2, 3, 5, 8, *wallet])


def test_a_lasting_stream_is_traced_by_its_name(connection: apsw.Connection) -> None:
    rows, own = related_rows(connection, "wallet/fed", _ends)
    assert own == {"wallet/fed"}
    assert [row.position for row in rows] == [1, 6, 7, 9]


def test_a_stream_is_no_other_whose_name_begins_with_its_own(store: Store) -> None:
    events = [
        ("tx/fed-1", "send/c0ffee00"),
        ("tx/fed-10", "send/c0ffee99"),
        ("wallet/fed", "tx/fed-10"),
    ]
    _write(store, events)
    reader = open_reader(store.path)
    rows, own = related_rows(reader, "send/c0ffee00", _ends)
    reader.close()
    assert [row.position for row in rows] == [1]
    assert own == {"tx/fed-1"}
