"""Queries of the index of streams use an index."""

from collections.abc import Iterator

import apsw
import pytest

from engine.storage import streams
from engine.storage.read_model import StreamIndex
from engine.storage.reader import LogReader
from engine.storage.rows import add_functions
from engine.storage.schema import LOG_TABLES
from engine.storage.streams import Indexed
from tests.engine.storage.query_plans import plans, queries

OLD = Indexed("toy/old", "Waiting", 3, 10, 30)
NEW = Indexed("toy/new", "Done", 2, 20, 25)
OTHER = Indexed("other/1", "Waiting", 1, 15, 15)


@pytest.fixture
def log() -> Iterator[LogReader]:
    connection = apsw.Connection(":memory:")
    add_functions(connection)
    connection.execute(LOG_TABLES + StreamIndex.ddl)
    for number, one in enumerate((OLD, NEW, OTHER)):
        kind = one.stream.partition("/")[0]
        connection.execute(
            "INSERT INTO stream_name VALUES (?1, name_hash(?2), ?2)", (number, one.stream)
        )
        connection.execute(
            "INSERT INTO stream VALUES (?1, ?1, ?2, ?3, ?4, ?5, 1, ?6, ?7)",
            (
                number,
                kind,
                one.state_name,
                one.state_name == "Done",
                one.version,
                one.began_unix_us,
                one.since_unix_us,
            ),
        )
    with LogReader(connection) as reader:
        yield reader


def test_streams_are_found_by_name(log: LogReader) -> None:
    found = streams.named(log, ["toy/old", "other/1", "toy/unknown"])
    assert found == {"toy/old": OLD, "other/1": OTHER}
    assert streams.named(log, []) == {}


def test_streams_are_found_by_kind(log: LogReader) -> None:
    assert list(streams.newest_of_kind(log, "toy")) == [NEW, OLD]
    assert list(streams.open_of_kind(log, "toy")) == [OLD]
    assert list(streams.open_of_kind(log, "nothing")) == []
    assert streams.finished_versions(log, ["toy/old", "toy/new"]) == {"toy/new": 2}


def test_nothing_reads_the_whole_index(log: LogReader) -> None:
    with queries(log.connection) as asked:
        streams.named(log, ["toy/old"])
        list(streams.newest_of_kind(log, "toy"))
        list(streams.open_of_kind(log, "toy"))
    found = [plan for plan in plans(log.connection, asked) if "stream" in plan]
    assert len(found) == 6
    assert all(plan.startswith("SEARCH stream") for plan in found), found


def test_the_index_of_another_version_is_told_from_ours(log: LogReader) -> None:
    assert not streams.is_current(log)
    log.connection.execute("INSERT INTO read_model VALUES ('streams', ?)", (StreamIndex.version,))
    assert streams.is_current(log)
    log.connection.execute("UPDATE read_model SET version = version + 1")
    assert not streams.is_current(log)


def test_the_time_of_an_event_is_found_by_its_position(log: LogReader) -> None:
    log.connection.execute(
        "INSERT INTO log VALUES (1, 1, 1, 1, 'toy.done', 1, 1, 1800000000000000, x'7b7d', x'')"
    )
    assert streams.recorded_unix_us(log, 1) == 1_800_000_000_000_000
    assert streams.recorded_unix_us(log, 2) is None
