"""What a read model may do with its tables: write while it folds, and query. It names no database."""

from collections.abc import Iterable, Sequence
from typing import Protocol

#: What a column holds; integers have 64 bits.
Value = str | int | bytes | None
COLUMN_MIN, COLUMN_MAX = -(1 << 63), (1 << 63) - 1


class Tables(Protocol):
    """The writing side, inside the transaction of the events that are folded."""

    def execute(
        self, statement: str, bindings: Sequence[Value] = (), /
    ) -> Iterable[Sequence[object]]:
        """Run one statement of SQL; its rows are read as they are asked for."""
        ...

    def executemany(self, statement: str, bindings: Iterable[Sequence[Value]], /) -> object:
        """Run one statement for each of the bindings."""
        ...

    def changes(self) -> int:
        """How many rows the last statement changed."""
        ...


class TableReader(Protocol):
    """The reading side: what is committed."""

    def query(
        self, sql: str, bindings: Sequence[str | int | bytes] = (), /
    ) -> list[tuple[object, ...]]:
        """Rows of a read model."""
        ...
