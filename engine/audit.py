"""Verification of a stored log: the chain holds, it folds, and the read models equal what the fold gives."""

from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest

import apsw
import msgspec

from engine.chain import Head, verified
from engine.fold import Machines, state_hash, steps
from engine.fold import Position as StreamPosition
from engine.read_model import ReadModel
from engine.store import REBUILD_ROWS, StoredStep, newest_head, read_rows
from errors import FatalError


class ComparedReadModel(msgspec.Struct, frozen=True):
    """A read model and how many rows were equal. `compared` is false when the next start rebuilds it anyway."""

    name: str
    version: int
    rows: int
    compared: bool


class Verified(msgspec.Struct, frozen=True):
    """What a log holds. Two logs with one `head` are the same; with one `states` they fold to the same."""

    head: Head
    states: str
    streams: int
    unfinished_streams: int
    read_models: tuple[ComparedReadModel, ...]


def verify(
    connection: apsw.Connection, machines: Machines, read_models: Sequence[ReadModel]
) -> Verified:
    """Check one snapshot of the log that `connection` reads, which may be live.

    Raises FatalError at the first thing that is not as this program would have written it.
    """
    connection.execute("BEGIN")
    try:
        known: dict[str, StreamPosition] = {}
        with apsw.Connection(":memory:") as rebuilt:
            _fold(rebuilt, read_models, steps(machines, verified(read_rows(connection)), known))
            compared = tuple(_compare(connection, rebuilt, model) for model in read_models)
        head = newest_head(connection)
    finally:
        connection.execute("ROLLBACK")
    unfinished = sum(not machines.of(s).is_final(p.state) for s, p in known.items())
    return Verified(head, state_hash(machines, known), len(known), unfinished, compared)


def _fold(
    rebuilt: apsw.Connection, read_models: Sequence[ReadModel], stored: Iterator[StoredStep]
) -> None:
    for model in read_models:
        rebuilt.execute(model.ddl)
    while chunk := list(islice(stored, REBUILD_ROWS)):
        for model in read_models:
            model.fold(rebuilt, chunk)


def _compare(
    connection: apsw.Connection, rebuilt: apsw.Connection, model: ReadModel
) -> ComparedReadModel:
    stored = connection.execute("SELECT version FROM read_model WHERE name = ?", (model.name,))
    if stored.fetchone() != (model.version,):
        return ComparedReadModel(model.name, model.version, 0, compared=False)
    rows = sum(_compare_table(connection, rebuilt, table) for table in model.tables)
    return ComparedReadModel(model.name, model.version, rows, compared=True)


def _compare_table(connection: apsw.Connection, rebuilt: apsw.Connection, table: str) -> int:
    columns = [name for _, name, *_ in rebuilt.execute(f'PRAGMA table_info("{table}")')]
    query = f'SELECT * FROM "{table}" ORDER BY {", ".join(columns)}'  # noqa: S608 (names of ours)
    count = 0
    try:
        for found, expected in zip_longest(connection.execute(query), rebuilt.execute(query)):
            if found != expected:
                row = found or expected
                raise FatalError(f"the read model table {table} differs from the log at {row[:2]}")
            count += 1
    except apsw.SQLError as error:
        raise FatalError(f"the read model table {table} cannot be read: {error}") from error
    return count
