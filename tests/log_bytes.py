"""All that a data directory holds, for tests that look for what must not be in it."""

from contextlib import closing
from pathlib import Path

from engine.rows import LOG_NAME, open_reader, read_rows


def log_bytes(directory: Path) -> bytes:
    """The files of the log as they are, and the bodies of its rows, which the file keeps deflated."""
    files = [path.read_bytes() for path in directory.glob(f"{LOG_NAME}*")]
    with closing(open_reader(directory / LOG_NAME)) as connection:
        bodies = [chained.row.event.body for chained in read_rows(connection)]
    assert files
    assert bodies
    return b"\n".join([*files, *bodies])
