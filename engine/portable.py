"""A log as text, one row a line with its hash, and a new log from that text."""

from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from engine.chain import EMPTY_HEAD, ChainedRow, Head, Row, chain_hash, verified
from engine.events import EncodedEvent
from engine.fold import Machines, steps
from engine.storage.store import Store
from errors import InputError

#: Rows written in one transaction.
ROWS_PER_APPEND = 1_000


class _Line(msgspec.Struct, frozen=True):
    """All columns of a row; `body` is the event's JSON as it stands in the log, `hash` is hex."""

    position: int
    append: int
    stream: str
    version: int
    kind: str
    schema_version: int
    epoch: int
    recorded_unix_us: int
    body: str
    hash: str


_DECODER = msgspec.json.Decoder(_Line)


def to_line(chained: ChainedRow) -> str:
    """A row as one line of JSON, without its end."""
    row = chained.row
    line = _Line(
        position=row.position,
        append=row.append,
        stream=row.stream,
        version=row.version,
        kind=row.event.kind,
        schema_version=row.event.schema_version,
        epoch=row.epoch,
        recorded_unix_us=row.recorded_unix_us,
        body=row.event.body.decode(),
        hash=chained.hash.hex(),
    )
    return msgspec.json.encode(line).decode()


def from_line(text: str | bytes) -> ChainedRow:
    """The row of a line. Raises InputError for one that is none."""
    try:
        line = _DECODER.decode(text)
        digest = bytes.fromhex(line.hash)
    except (msgspec.MsgspecError, ValueError) as error:
        raise InputError(f"this is no row of a log: {error}") from error
    event = EncodedEvent(line.kind, line.schema_version, line.body.encode())
    row = Row(
        line.position,
        line.append,
        line.stream,
        line.version,
        event,
        line.epoch,
        line.recorded_unix_us,
    )
    return ChainedRow(row, digest)


def chained(rows: Iterable[Row]) -> Iterator[ChainedRow]:
    """Rows of a whole log with the hashes that belong to them."""
    previous = EMPTY_HEAD.hash
    for row in rows:
        previous = chain_hash(previous, row)
        yield ChainedRow(row, previous)


def write_rows(store: Store, machines: Machines, rows: Iterable[ChainedRow]) -> Head:
    """Write a whole log into an empty store, verified on the way, and return its head.

    Raises FatalError for rows that do not follow from each other or do not fold; what was written then stays.
    """
    store.rebuild(store.outdated_read_models(), iter(()))
    folded = steps(machines, verified(rows), keep_final=False)
    while chunk := list(islice(folded, ROWS_PER_APPEND)):
        store.append(chunk)
    return store.head
