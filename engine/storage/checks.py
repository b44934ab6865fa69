"""The checks of a start: the end of the log is there, its newest rows are right, and the open states follow.

What lies further back is checked beside the running gateway (`engine/storage/history.py`).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import apsw

from engine.chain import EMPTY_HEAD, Head, verified
from engine.fold import Position
from engine.storage import streams
from engine.storage.errors import DamagedError
from engine.storage.head_file import Noted
from engine.storage.opening import only_int
from engine.storage.rows import head_at, newest_head, read_rows
from engine.storage.tables import TableReader

#: Newest rows whose chain each start checks, whatever was checked before.
NEWEST_ROWS = 20_000
#: More rows than a page has room for.
PAGE_ROWS_MAX = 80


def check_end(connection: apsw.Connection, path: Path, noted: Noted | None) -> Head:
    """The head of the log. Raises DamagedError when what was once written is missing."""
    is_new = not only_int(connection, "PRAGMA user_version")
    head = EMPTY_HEAD if is_new else newest_head(connection)
    if noted is None:
        return head
    if noted.head.position > head.position:
        raise DamagedError(
            f"{path} ends at position {head.position}, but this gateway had written up to "
            f"{noted.head.position}: its end is missing. Put back what was removed, such as {path.name}-wal, or"
        )
    if noted.head.position and head_at(connection, noted.head.position) != noted.head:
        raise DamagedError(
            f"{path} is not the log that this directory had: position {noted.head.position} is another one"
        )
    return head


def first_unchecked(head: Head, checked: int, wal_pages: int) -> int:
    """After which position a start checks: all that no process has checked, all that the WAL had, the newest rows."""
    newest = max(NEWEST_ROWS, wal_pages * PAGE_ROWS_MAX)
    return max(0, min(checked, head.position - newest))


def check_newest(connection: apsw.Connection, path: Path, head: Head, after: int) -> dict[str, int]:
    """Check the chain behind a position up to the head. Returns the newest version of each stream of the newest rows.

    Raises DamagedError when a row is not what was written, or the log does not end with this head.
    """
    versions: dict[str, int] = {}
    if not head.position:
        return versions
    for row in verified(read_rows(connection, after), head_at(connection, after)):
        # Of a whole log, all its streams would be more than a small machine holds.
        if row.position > head.position - NEWEST_ROWS:
            versions[row.stream] = row.version
    if newest_head(connection) != head:
        raise DamagedError(f"{path} does not hold what {path.name}-wal held")
    return versions


def check_open(
    log: TableReader,
    path: Path,
    kinds: Iterable[str],
    found: Mapping[str, Position],
    newest: Mapping[str, int],
) -> None:
    """The open streams of these kinds are those of the index, and each of the newest rows is of one, or is over.

    Raises DamagedError when the tables say otherwise: they lie in different pages of the file.
    """
    indexed = {one.stream: one.version for kind in kinds for one in streams.open_of_kind(log, kind)}
    if indexed != {stream: position.version for stream, position in found.items()}:
        raise DamagedError(f"the tables of {path} do not agree on what is open")
    over = {stream: version for stream, version in newest.items() if stream not in found}
    if over != streams.finished_versions(log, over):
        raise DamagedError(f"the tables of {path} do not agree with its rows on what is over")
