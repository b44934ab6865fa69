"""`gatewayd log show`: events by position, stream, kind and time."""

from typing import Annotated

import msgspec
from cyclopts import Parameter

from cli.log.reading import (
    DataDir,
    Json,
    Verify,
    cut,
    facts,
    line,
    shortened,
    time_text,
    unix_us,
    verify_chain,
)
from cli.numbers import MaybeWholeNumber, WholeNumber
from engine.chain import Row
from engine.storage.reader import open_log
from engine.storage.search import RowFilter, find_rows

#: Characters of one line for people; `--json` has everything.
WIDTH = 100
_INDENT = " " * 10


def print_events(
    data_dir: DataDir,
    /,
    *,
    after: WholeNumber = 0,
    to: MaybeWholeNumber = None,
    stream: str | None = None,
    kind: str | None = None,
    limit: MaybeWholeNumber = None,
    since: str | None = None,
    until: str | None = None,
    verify: Verify = False,
    json: Annotated[Json, Parameter(help="Print one JSON document per event and line.")] = False,
) -> None:
    """Print events in order, each with what it says on a second line.

    The chain is not checked. Rows of a stream, or between positions, are looked up; for a kind or a time the log
    is read once, up to the limit.

    Parameters
    ----------
    after
        Only events after this position.
    to
        Only events up to this position.
    stream
        Only events of this stream, such as image/HASH.
    kind
        Only events of this kind, such as tx.signed.
    limit
        At most this many events.
    since
        Only events from this time on: ISO 8601 (UTC without an offset) or Unix seconds.
    until
        Only events up to this time.
    verify
        Check the hash chain of the whole log first.
    """
    wanted = RowFilter(
        after=after,
        until=to,
        stream=stream,
        kind=kind,
        since_unix_us=unix_us(since),
        until_unix_us=unix_us(until),
    )
    with open_log(data_dir) as log:
        if verify:
            verify_chain(log)
        for chained in find_rows(log, wanted, limit):
            row = chained.row
            print(msgspec.json.encode(line(row)).decode() if json else row_text(row))


def row_text(row: Row) -> str:
    """A row as people read it: what and where, then its facts."""
    head = (
        f"{row.position:>8}  {time_text(row.recorded_unix_us)}  {row.kind:<24}  "
        f"{shortened(row.stream)} v{row.version}"
    )
    said = facts(row.event.body, WIDTH - len(_INDENT))
    return cut(head, WIDTH) + (f"\n{_INDENT}{said}" if said else "")
