"""All that a data directory holds, for tests that look for what must not be in it."""

from pathlib import Path

from engine.storage.reader import open_log
from engine.storage.rows import LOG_NAME


def log_bytes(directory: Path) -> bytes:
    """The files of the log as they are, and the bodies of its rows, which the file keeps deflated."""
    files = [path.read_bytes() for path in directory.glob(f"{LOG_NAME}*")]
    with open_log(directory) as log:
        bodies = [chained.row.event.body for chained in log.rows()]
    assert files
    assert bodies
    return b"\n".join([*files, *bodies])
