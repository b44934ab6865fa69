"""Opens a stored log for reading only, also beside a running gateway, for every tool of a log."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import apsw

from engine.chain import ChainedRow, Head, Row
from engine.storage.rows import LOG_NAME, newest_head, open_reader, read_rows, read_stream


class LogReader:
    """Rows are taken as they stand; `chain.verified` checks them. Close it after use, as leaving a `with` does."""

    def __init__(self, connection: apsw.Connection) -> None:
        #: For the queries of this package alone.
        self.connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End also what is still being read."""
        self.connection.close(force=True)

    @property
    def head(self) -> Head:
        """The newest row."""
        return newest_head(self.connection)

    def rows(self, after: int = 0) -> Iterator[ChainedRow]:
        """Rows after a position in order, of one moment. Raises DamagedError or FatalError when they cannot be read."""
        return read_rows(self.connection, after)

    def rows_of(self, stream: str, after_version: int = 0) -> Iterator[Row]:
        """Rows of one stream after a version, in order. Raises as `rows` does."""
        return (chained.row for chained in read_stream(self.connection, stream, after_version))

    def query(
        self, sql: str, bindings: Sequence[str | int | bytes] = ()
    ) -> list[tuple[object, ...]]:
        """Rows of a read model, as `Store.query`."""
        return list(self.connection.execute(sql, bindings))

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Everything that is read in the block is of one moment."""
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.execute("ROLLBACK")


def open_log(data_dir: Path) -> LogReader:
    """The log of a data directory. Raises NotFoundError for one without a log."""
    return LogReader(open_reader(data_dir / LOG_NAME))
