"""Finds rows in a stored log, page by page, without keeping a snapshot open."""

from collections.abc import Collection, Iterator

import msgspec

from engine.chain import ChainedRow, Row
from engine.storage.reader import LogReader
from engine.storage.rows import id_of, select_rows
from engine.storage.store import Store

PAGE_ROWS = 500


class RowFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that meet all that is given: after one position, until another. Times are inclusive, in microseconds."""

    after: int = 0
    until: int | None = None
    stream: str | None = None
    kind: str | None = None
    since_unix_us: int | None = None
    until_unix_us: int | None = None


def row_at(store: Store, position: int) -> Row:
    """The row at a position that there is."""
    return next(store.rows(position - 1)).row


def find_rows(log: LogReader, wanted: RowFilter, limit: int | None = None) -> Iterator[ChainedRow]:
    """Rows in order, at most `limit`. Those that are written while it runs are found too.

    Positions and a stream are looked up; for a kind or a time all rows in question are read, once.
    """
    # Within a stream, versions have the order of positions, and an index.
    order, of_stream = (
        ("position", "") if wanted.stream is None else ("version", f"stream_id = {id_of('?2')} AND")
    )
    where = (
        f"{of_stream} {order} > ?1 AND position > ?8 AND (?3 IS NULL OR kind = ?3) "
        "AND recorded_unix_us >= coalesce(?4, recorded_unix_us) "
        "AND recorded_unix_us <= coalesce(?5, recorded_unix_us) "
        f"AND position <= coalesce(?6, position) ORDER BY {order} LIMIT ?7"
    )
    behind, left = 0, limit
    while left is None or left > 0:
        page = PAGE_ROWS if left is None else min(left, PAGE_ROWS)
        found = list(
            select_rows(
                log.connection,
                where,
                (
                    behind,
                    wanted.stream,
                    wanted.kind,
                    wanted.since_unix_us,
                    wanted.until_unix_us,
                    wanted.until,
                    page,
                    wanted.after,
                ),
            )
        )
        yield from found
        if len(found) < page:
            return
        newest = found[-1].row
        behind = newest.position if wanted.stream is None else newest.version
        left = None if left is None else left - page


def find_kinds(log: LogReader, kinds: Collection[str], *, unless_zero: str) -> Iterator[ChainedRow]:
    """Rows of these kinds in order, by one reading of the log, but for those whose event has 0 in a field."""
    where = (
        "kind IN (SELECT value FROM json_each(?)) "
        "AND coalesce(json_extract(CAST(unpacked(body) AS TEXT), ?), 1) != 0 ORDER BY position"
    )
    bindings = (msgspec.json.encode(list(kinds)).decode(), f"$.{unless_zero}")
    return select_rows(log.connection, where, bindings)
