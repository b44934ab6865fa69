"""How SQLite carries out a query."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apsw

Query = tuple[str, Any]


@contextmanager
def queries(connection: apsw.Connection) -> Iterator[list[Query]]:
    """The queries that are made meanwhile."""
    asked: list[Query] = []

    def note(_cursor: apsw.Cursor, sql: str, bindings: Any) -> bool:
        asked.append((sql, bindings))
        return True

    connection.exec_trace = note
    yield asked
    connection.exec_trace = None


def plans(connection: apsw.Connection, asked: Sequence[Query]) -> list[str]:
    """What SQLite does for each: SEARCH looks up, SCAN reads everything."""
    return [
        str(step[3])
        for sql, bindings in asked
        for step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings)
    ]
