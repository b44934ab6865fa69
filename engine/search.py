"""Finding rows in a stored log, page by page: no snapshot stays open while somebody looks at a page."""

import re
from collections.abc import Callable, Iterator, Sequence

import apsw
import msgspec

from engine.chain import ChainedRow, Row
from engine.store import select_rows
from errors import InputError, NotFoundError

PAGE_ROWS = 500
#: Texts looked for in one reading of the log.
TEXTS_AT_ONCE = 50
#: Shorter beginnings fit by chance.
PREFIX_CHARACTERS_MIN = 4
_IDENTIFIER = re.compile(r"[0-9A-Za-z_/.:-]+")


class RowFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that meet all that is given: after one position, until another. Times are inclusive, in microseconds."""

    after: int = 0
    until: int | None = None
    stream: str | None = None
    kind: str | None = None
    since_unix_us: int | None = None
    until_unix_us: int | None = None


def find_rows(connection: apsw.Connection, wanted: RowFilter) -> Iterator[ChainedRow]:
    """Rows in order. Those that are written while it runs are found too."""
    where = (
        "position > ?1 AND (?2 IS NULL OR stream = ?2) AND (?3 IS NULL OR kind = ?3) "
        "AND recorded_unix_us >= coalesce(?4, recorded_unix_us) "
        "AND recorded_unix_us <= coalesce(?5, recorded_unix_us) "
        "AND position <= coalesce(?6, position) ORDER BY position LIMIT ?7"
    )
    after = wanted.after
    while True:
        found = list(
            select_rows(
                connection,
                where,
                (
                    after,
                    wanted.stream,
                    wanted.kind,
                    wanted.since_unix_us,
                    wanted.until_unix_us,
                    wanted.until,
                    PAGE_ROWS,
                ),
            )
        )
        yield from found
        if len(found) < PAGE_ROWS:
            return
        after = found[-1].row.position


def identify(connection: apsw.Connection, prefix: str) -> str:
    """The one identifier that `prefix` begins: a stream, the id of one, or a text inside events.

    Raises InputError when it is too short or begins several, NotFoundError when it begins none.
    """
    if len(prefix) < PREFIX_CHARACTERS_MIN or not _IDENTIFIER.fullmatch(prefix):
        raise InputError(
            f"{prefix!r} does not identify a payment: give {PREFIX_CHARACTERS_MIN} characters of an id or more"
        )
    if connection.execute("SELECT 1 FROM log WHERE stream = ? LIMIT 1", (prefix,)).fetchone():
        return prefix
    pattern = re.compile(rf'(?:^|[/"]){re.escape(prefix)}[0-9A-Za-z_.:-]*')
    found: set[str] = set()
    for chained in _mentioning(connection, [prefix]):
        for text in (chained.row.stream, chained.row.event.body.decode()):
            found.update(match.lstrip('/"') for match in pattern.findall(text))
    if prefix in found:
        return prefix
    if not found:
        raise NotFoundError(f"nothing in the log begins with {prefix!r}")
    if len(found) > 1:
        some = ", ".join(sorted(found)[:5])
        raise InputError(f"{prefix!r} begins {len(found)} identifiers: {some}")
    return found.pop()


def related_rows(
    connection: apsw.Connection, identifier: str, ends: Callable[[str], bool]
) -> tuple[list[Row], frozenset[str]]:
    """Rows about `identifier` in order, and the streams that are wholly about it.

    Such a stream has it in its name, or is of a kind that `ends` and mentions it or another such stream. Of the
    rest, which live as long as the gateway, only the events with those mentions are given.
    """
    streams: set[str] = set()
    related: dict[int, Row] = {}
    needles = [identifier]
    while needles:
        whole = re.compile("|".join(rf"(?<!\w){re.escape(text)}(?!\w)" for text in needles))
        mentioning, needles = list(_mentioning(connection, needles)), []
        for chained in mentioning:
            row = chained.row
            if not whole.search(f"{row.stream} {row.event.body.decode()}"):
                continue  # tx/fed-1 is no tx/fed-10
            related[row.position] = row
            if row.stream not in streams and (identifier in row.stream or ends(row.stream)):
                streams.add(row.stream)
                needles.append(row.stream)
    return [related[position] for position in sorted(related)], frozenset(streams)


def _mentioning(connection: apsw.Connection, texts: Sequence[str]) -> Iterator[ChainedRow]:
    """Rows with one of `texts` in the name of their stream or in their event; some may come twice."""
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        some = texts[start : start + TEXTS_AT_ONCE]
        where = " OR ".join(["instr(stream, ?) OR instr(body, ?)"] * len(some))
        bindings = [form for text in some for form in (text, text.encode())]
        yield from select_rows(connection, f"{where} ORDER BY position", bindings)
