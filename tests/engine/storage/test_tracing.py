"""A payment and everything that belongs to it is found by any of its names."""

from collections.abc import Iterator, Sequence

import pytest

from engine.chain import Row, StoredStep
from engine.storage import tracing
from engine.storage.reader import LogReader, open_log
from engine.storage.store import Store
from engine.storage.tracing import identify, named, related_rows
from errors import InputError, NotFoundError
from tests.engine.storage.query_plans import plans, queries
from tests.engine.toy import Open, Seen, machines

HASH = "5f" * 32
TXID = "ab" * 32
KINDS = ("image", "send", "tx", "wallet")
#: Appends, each of streams and texts of events; a name in a text stands for what a real event would mention.
APPENDS = (
    [("wallet/fed", "opened")],
    [(f"image/{HASH}", "send/c0ffee00"), ("send/c0ffee00", HASH)],
    [("send/c0ffee99", "another payment")],
    [("send/c0ffee00", "paid"), ("tx/fed-1", "send/c0ffee00"), ("wallet/fed", "tx/fed-1")],
    [("wallet/fed", "tx/fed-2"), ("tx/fed-2", TXID), ("wallet/fed", "tx/fed-22")],
    [("tx/fed-1", "bytes"), ("wallet/fed", "tx/fed-1")],
    [("wallet/fed", "deadbeef01"), ("wallet/fed", "deadbeef02")],
)


@pytest.fixture
def log(store: Store) -> Iterator[LogReader]:
    _write(store, APPENDS)
    with open_log(store.path.parent) as reader:
        yield reader


def _write(store: Store, appends: Sequence[Sequence[tuple[str, str]]]) -> None:
    versions: dict[str, int] = {}
    steps: list[StoredStep] = []
    for events in appends:
        first = len(steps) + 1
        for stream, text in events:
            version = versions[stream] = versions.get(stream, 0) + 1
            event = Seen(text=text)
            encoded = machines().codec.encode(event)
            row = Row(len(steps) + 1, first, stream, version, encoded, 1, 1_000 + len(steps))
            steps.append(StoredStep(row, event, Open(), final=False))
    store.append(steps)


def _ends(stream: str) -> bool:
    return not stream.startswith("wallet/")


@pytest.mark.parametrize(
    ("prefix", "identifier", "streams"),
    [
        (HASH[:8], HASH, [f"image/{HASH}"]),
        (HASH, HASH, [f"image/{HASH}"]),
        ("c0ffee00", "c0ffee00", ["send/c0ffee00"]),
        ("c0ffee0", "c0ffee00", ["send/c0ffee00"]),
        ("send/c0ffee9", "send/c0ffee99", ["send/c0ffee99"]),
        ("tx/fed-2", "tx/fed-2", ["tx/fed-2"]),
        ("fed-1", "fed-1", ["tx/fed-1"]),
        ("wallet/fed", "wallet/fed", ["wallet/fed"]),
    ],
)
def test_the_beginning_of_a_stream_is_enough(
    log: LogReader, prefix: str, identifier: str, streams: list[str]
) -> None:
    subject = identify(log, KINDS, prefix)
    assert (subject.identifier, list(subject.streams)) == (identifier, streams)
    assert subject.rows == ()


@pytest.mark.parametrize(
    ("prefix", "identifier", "positions"),
    [(TXID[:8], TXID, [9]), ("bytes", "bytes", [11]), ("opened", "opened", [1])],
)
def test_a_text_in_events_is_found_where_it_stands(
    log: LogReader, prefix: str, identifier: str, positions: list[int]
) -> None:
    subject = identify(log, KINDS, prefix)
    assert (subject.identifier, subject.streams) == (identifier, ())
    assert [row.position for row in subject.rows] == positions


def test_beginnings_of_several_or_none_are_refused(log: LogReader) -> None:
    with pytest.raises(InputError, match="begins 2 identifiers: c0ffee00, c0ffee99"):
        identify(log, KINDS, "c0ffee")
    with pytest.raises(InputError, match="begins 2 identifiers: deadbeef01, deadbeef02"):
        identify(log, KINDS, "deadbeef")
    for wrong in ("c0f", "", "c0ffee%", 'c0ff"'):
        with pytest.raises(InputError, match="does not identify"):
            identify(log, KINDS, wrong)
    with pytest.raises(NotFoundError):
        identify(log, KINDS, "0ffee00")  # inside, not at the beginning


@pytest.mark.parametrize("form", ["send/{}", "{}"])
def test_of_many_only_some_are_named(
    store: Store, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(tracing, "NAMED_MAX", 2)
    stream = "wallet/fed" if form == "{}" else "send/{}"
    ids = [f"feed0{number}" for number in range(9)]
    _write(store, [[(stream.format(one), one)] for one in (*ids, *ids[:3], "feed")])
    reader = open_log(store.path.parent)
    with pytest.raises(InputError, match=r"begins more than 2 identifiers: .*feed00, .*feed01$"):
        identify(reader, KINDS, form.format("feed0"))
    whole = identify(reader, KINDS, form.format("feed"))
    reader.close()
    assert whole.identifier == form.format("feed")


@pytest.mark.parametrize(
    ("prefix", "wallet"), [(HASH, [7, 12]), ("c0ffee00", [7, 12]), ("send/c0ffee00", [7, 12])]
)
def test_a_payment_is_found_over_all_streams(
    log: LogReader, prefix: str, wallet: list[int]
) -> None:
    rows, own = related_rows(log, identify(log, KINDS, prefix), _ends)
    assert own == {f"image/{HASH}", "send/c0ffee00", "tx/fed-1"}
    assert [row.position for row in rows] == sorted([2, 3, 5, 6, 11, *wallet])


def test_a_text_leads_to_the_streams_that_hold_it(log: LogReader) -> None:
    rows, own = related_rows(log, identify(log, KINDS, TXID), _ends)
    assert own == {"tx/fed-2"}
    assert [row.position for row in rows] == [8, 9]  # tx/fed-22 is another one
    rows, own = related_rows(log, identify(log, KINDS, "deadbeef01"), _ends)
    assert own == frozenset()
    assert [row.position for row in rows] == [13]


def test_a_lasting_stream_is_traced_by_its_name(store: Store) -> None:
    _write(store, [[("wallet/fed", "opened")], [("wallet/fed", "credited"), ("wallet/b", "-")]])
    reader = open_log(store.path.parent)
    rows, own = related_rows(reader, identify(reader, KINDS, "wallet/fed"), _ends)
    reader.close()
    assert own == {"wallet/fed"}
    assert [row.position for row in rows] == [1, 2]


def test_what_has_too_many_events_is_no_payment(
    log: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "ROWS_MAX", 3)
    with pytest.raises(
        InputError, match="wallet/fed is in more than 3 events, so it is no payment"
    ):
        related_rows(log, identify(log, KINDS, "wallet/fed"), _ends)
    monkeypatch.setattr(tracing, "ROWS_MAX", 0)
    with pytest.raises(InputError, match=f"{TXID} is in more than 0 events"):
        identify(log, KINDS, TXID)


@pytest.mark.parametrize("prefix", [HASH, "c0ffee0", "send/c0ffee00"])
def test_a_payment_is_looked_up_and_the_log_never_read_for_it(log: LogReader, prefix: str) -> None:
    with queries(log.connection) as asked:
        related_rows(log, identify(log, KINDS, prefix), _ends)
    steps = plans(log.connection, asked)
    assert len(steps) > len(APPENDS)
    # For the beginning of an id the names are read, but no row is.
    read = {step for step in steps if step.startswith("SCAN")} - {
        "SCAN dictionary",
        "SCAN CONSTANT ROW",
    }
    assert read <= ({"SCAN stream_name"} if prefix == "c0ffee0" else set())
    assert any(step.startswith("SEARCH log") for step in steps)


def test_streams_are_found_by_the_id_in_their_names(log: LogReader) -> None:
    assert named(log, KINDS, HASH) == (f"image/{HASH}",)
    assert named(log, KINDS, "nothing") == ()
