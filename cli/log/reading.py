"""What every `gatewayd log` tool shares: opening a log to read, times, and lines that fit a terminal."""

import json as json_module
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from engine.chain import Row, verified
from engine.fold import Machines
from engine.storage.read_model import ReadModel
from engine.storage.reader import LogReader
from errors import InputError

_LONG_ID = re.compile(r"\b[0-9a-f]{20,}\b")

#: The flag of those that read only what they need, and take it as it stands.
Verify = Annotated[bool, Parameter(negative="")]
#: The flag that every tool has.
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document.")]
#: The argument that every tool has, but those that make a log.
DataDir = Annotated[Path, Parameter(help="The gateway's data directory.")]


class Line(msgspec.Struct, frozen=True):
    """One event as `--json` prints it; `facts` is the event's body."""

    position: int
    append: int
    recorded: str
    recorded_unix_us: int
    epoch: int
    stream: str
    version: int
    kind: str
    schema_version: int
    facts: msgspec.Raw


def program() -> tuple[Machines, Sequence[ReadModel]]:
    """The machines and read models of this gateway."""
    from gateway.log import machines, read_models  # noqa: PLC0415 - loads every machine

    of = machines()
    return of, read_models()


def verify_chain(log: LogReader) -> None:
    """Read the whole log. Raises DamagedError at the first row that does not follow from the one before it."""
    for _row in verified(log.rows()):
        pass


def line(row: Row) -> Line:
    """A row as JSON has it."""
    return Line(
        position=row.position,
        append=row.append,
        recorded=time_text(row.recorded_unix_us),
        recorded_unix_us=row.recorded_unix_us,
        epoch=row.epoch,
        stream=row.stream,
        version=row.version,
        kind=row.kind,
        schema_version=row.event.schema_version,
        facts=msgspec.Raw(row.event.body),
    )


def facts(body: bytes, characters: int) -> str:
    """The body of an event on one line of at most so many characters, long identifiers cut."""
    text = " ".join(f"{key}={_plain(value)}" for key, value in json_module.loads(body).items())
    return cut(shortened(text), characters)


def cut(text: str, characters: int) -> str:
    """The beginning of a text."""
    return text if len(text) <= characters else text[: characters - 1] + "…"


def time_text(unix_us: int) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(unix_us // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_us // 1000 % 1000:03}Z"


def unix_us(text: str | None) -> int | None:
    """A time as people write it, in microseconds. Raises InputError."""
    if text is None:
        return None
    if text.isdecimal():
        return int(text) * 1_000_000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{text!r} is neither an ISO 8601 time nor Unix seconds") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000)


def duration_text(us: int) -> str:
    """How long something took, in the two units that tell."""
    seconds = us // 1_000_000
    for name, size, smaller, smaller_size in (
        ("d", 86_400, "h", 3_600),
        ("h", 3_600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if seconds >= size:
            return f"{seconds // size} {name} {seconds % size // smaller_size} {smaller}"
    return f"{us / 1_000_000:.1f} s" if seconds else f"{us / 1_000:.1f} ms"


def shortened(text: str) -> str:
    """A text with long identifiers cut."""
    return _LONG_ID.sub(lambda match: f"{match[0][:12]}…", text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Columns under their heads; all but the last are as wide as their widest cell."""
    everything = [head, *rows]
    widths = [max(len(row[column]) for row in everything) for column in range(len(head))]
    for row in everything:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json_module.dumps(value, separators=(",", ":"))
