"""Finds the rows of one payment by any of its names, over the indices of the log."""

import re
from collections.abc import Callable, Collection, Iterable
from itertools import takewhile

import msgspec

from engine.chain import Row
from engine.storage.reader import LogReader
from engine.storage.rows import select_rows, stream_id
from errors import InputError, NotFoundError

#: Shorter beginnings fit by chance.
PREFIX_CHARACTERS_MIN = 4
#: Of what a beginning fits so many are named.
NAMED_MAX = 5
#: No payment has as many; bounds memory.
ROWS_MAX = 2_000
_IDENTIFIER = re.compile(r"[0-9A-Za-z_/.:-]+")
#: Sorts behind everything that names are made of.
_BEHIND = "\x7f"


class Subject(msgspec.Struct, frozen=True):
    """What is traced: an identifier with the streams of that name, or, when none has it, with the rows that hold it."""

    identifier: str
    streams: tuple[str, ...]
    rows: tuple[Row, ...] = ()


def identify(log: LogReader, kinds: Collection[str], prefix: str) -> Subject:
    """What `prefix` begins: a stream, the id of streams of these kinds, or else a text inside events.

    Looking for a text inside events is one reading of the log. Raises InputError when the prefix is too short or
    begins several, NotFoundError when it begins none.
    """
    if len(prefix) < PREFIX_CHARACTERS_MIN or not _IDENTIFIER.fullmatch(prefix):
        raise InputError(
            f"{prefix!r} does not identify a payment: give {PREFIX_CHARACTERS_MIN} characters of an id or more"
        )
    if streams := named(log, kinds, prefix):
        return Subject(prefix, streams)
    begun = {
        stream if "/" in prefix else stream.partition("/")[2]
        for name in _names(kinds, prefix)
        for stream in _streams_from(log, name)
    }
    if not begun:
        return _held_in_events(log, prefix)
    identifier = _only(prefix, begun)
    return Subject(identifier, named(log, kinds, identifier))


def named(log: LogReader, kinds: Collection[str], identifier: str) -> tuple[str, ...]:
    """The stream of that name, or the streams of these kinds with that id."""
    names = _names(kinds, identifier)
    return tuple(name for name in names if stream_id(log.connection, name) is not None)


def related_rows(
    log: LogReader, subject: Subject, ends: Callable[[str], bool]
) -> tuple[list[Row], frozenset[str]]:
    """Rows about the subject in order, and the streams that are wholly about it.

    Such a stream is one of the subject's, or is of a kind that `ends` and names the subject or another such stream
    in an append with that one's rows. Of what else was in these appends, and lives as long as the gateway, only the
    rows that name one of them are given. Raises InputError when there are more rows than a payment has.
    """
    related = {row.position: row for row in subject.rows}
    streams = {*subject.streams, *(row.stream for row in subject.rows if ends(row.stream))}
    waiting = sorted(streams)
    while waiting:
        stream = waiting.pop()
        names = re.compile(
            "|".join(rf"(?<!\w){re.escape(one)}(?!\w)" for one in (stream, subject.identifier))
        )
        for begun in log.rows_of(stream):
            for row in _append(log, begun):
                if row.stream == stream or names.search(f"{row.stream} {row.event.body.decode()}"):
                    related[row.position] = row
                    if row.stream not in streams and ends(row.stream):
                        streams.add(row.stream)
                        waiting.append(row.stream)
            if len(related) > ROWS_MAX:
                raise _too_many(subject.identifier)
    return [related[position] for position in sorted(related)], frozenset(streams)


def _append(log: LogReader, row: Row) -> Iterable[Row]:
    """The rows that were written in one append with this one, itself included."""
    after = (chained.row for chained in log.rows(row.append - 1))
    return takewhile(lambda one: one.append == row.append, after)


def _names(kinds: Collection[str], identifier: str) -> list[str]:
    return [identifier] if "/" in identifier else [f"{kind}/{identifier}" for kind in kinds]


def _streams_from(log: LogReader, name: str) -> list[str]:
    """The first streams whose names begin so: enough to see that there are several."""
    sql = "SELECT stream FROM stream_name WHERE stream > ? AND stream < ? ORDER BY stream LIMIT ?"
    return [
        str(one) for (one,) in log.connection.execute(sql, (name, name + _BEHIND, NAMED_MAX + 1))
    ]


def _held_in_events(log: LogReader, prefix: str) -> Subject:
    """The text that `prefix` begins, with the rows whose events hold it."""
    pattern = re.compile(rf'(?<=[/"]){re.escape(prefix)}[0-9A-Za-z_.:-]*')
    rows: dict[str, list[Row]] = {}
    for chained in select_rows(
        log.connection, "instr(unpacked(body), ?) ORDER BY position", (prefix.encode(),)
    ):
        for text in set(pattern.findall(chained.row.event.body.decode())):
            # Of more that it begins, only the one that it is could still be meant.
            if text in {prefix, *rows} or len(rows) <= NAMED_MAX:
                rows.setdefault(text, []).append(chained.row)
                if len(rows[text]) > ROWS_MAX:
                    raise _too_many(text)
    identifier = prefix if prefix in rows else _only(prefix, rows)
    return Subject(identifier, (), tuple(rows[identifier]))


def _only(prefix: str, found: Collection[str]) -> str:
    if not found:
        raise NotFoundError(f"nothing in the log begins with {prefix!r}")
    if len(found) > 1:
        some = ", ".join(sorted(found)[:NAMED_MAX])
        many = f"{len(found)}" if len(found) <= NAMED_MAX else f"more than {NAMED_MAX}"
        raise InputError(f"{prefix!r} begins {many} identifiers: {some}")
    return next(iter(found))


def _too_many(identifier: str) -> InputError:
    return InputError(
        f"{identifier} is in more than {ROWS_MAX} events, so it is no payment: look at its streams one by one"
    )
