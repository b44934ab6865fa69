"""`gatewayd log`: verify, show and trace what is in a gateway's log, also of a running one. Nothing here writes."""

import json as json_module
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

import apsw
import msgspec
from cyclopts import App, Parameter

from engine.audit import Verified, verify
from engine.chain import Row
from engine.fold import Machines, steps
from engine.read_model import ReadModel
from engine.search import RowFilter, find_rows, identify, related_rows
from engine.store import LOG_NAME, open_reader
from errors import InputError

#: Characters of facts on one line for people; `--json` has everything.
FACTS_CHARACTERS = 160
_LONG_ID = re.compile(r"\b[0-9a-f]{20,}\b")

Json = Annotated[bool, Parameter(name="--json", negative="")]

log_app = App(
    name="log",
    help="Read the log of a gateway, also of a running one.",
    help_formatter="plain",
    result_action="return_value",
)


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


class TraceLine(msgspec.Struct, frozen=True):
    """An event on the way of a payment. `state` is null for streams that are about more than this payment."""

    event: Line
    since_previous_ms: float | None
    state: str | None


class Trace(msgspec.Struct, frozen=True):
    """What `trace --json` prints."""

    identifier: str
    streams: tuple[str, ...]
    events: tuple[TraceLine, ...]


@log_app.command(name="verify")
def verify_command(data_dir: Path, /, *, json: Json = False) -> None:
    """Check the hash chain and the read models, and print the newest position and hash.

    Keep what it prints: a log that later lacks rows at its end can only be told from this.

    Parameters
    ----------
    data_dir
        The gateway's data directory.
    json
        Print one JSON document.
    """
    machines, read_models = _program()
    with _reading(data_dir) as connection:
        found = verify(connection, machines, read_models)
    print(verified_json(found) if json else "\n".join(verified_text(found)))


@log_app.command
def show(
    data_dir: Path,
    /,
    *,
    after: int = 0,
    stream: str | None = None,
    kind: str | None = None,
    limit: int | None = None,
    since: str | None = None,
    until: str | None = None,
    json: Json = False,
) -> None:
    """Print events in order.

    Parameters
    ----------
    data_dir
        The gateway's data directory.
    after
        Only events after this position.
    stream
        Only events of this stream, such as image/HASH.
    kind
        Only events of this kind, such as tx.signed.
    limit
        At most this many events.
    since
        Only events from this time on: ISO 8601 (UTC without an offset) or Unix seconds.
    until
        Only events up to this time.
    json
        Print one JSON document per event and line.
    """
    wanted = RowFilter(
        after=after,
        stream=stream,
        kind=kind,
        since_unix_us=_unix_us(since),
        until_unix_us=_unix_us(until),
    )
    with _reading(data_dir) as connection:
        rows = (chained.row for chained in find_rows(connection, wanted))
        for row in islice(rows, limit):
            print(msgspec.json.encode(line(row)).decode() if json else row_text(row))


@log_app.command(name="trace")
def trace_command(data_dir: Path, payment: str, /, *, json: Json = False) -> None:
    """Print everything that one payment did.

    Parameters
    ----------
    data_dir
        The gateway's data directory.
    payment
        A stream, or the beginning of a payment hash, contract id, operation id or txid.
    json
        Print one JSON document.
    """
    machines, _ = _program()
    with _reading(data_dir) as connection:
        found = trace(connection, machines, payment)
    print(msgspec.json.encode(found).decode() if json else "\n".join(trace_text(found)))


def line(row: Row) -> Line:
    """A row as JSON has it."""
    return Line(
        position=row.position,
        append=row.append,
        recorded=_time(row.recorded_unix_us),
        recorded_unix_us=row.recorded_unix_us,
        epoch=row.epoch,
        stream=row.stream,
        version=row.version,
        kind=row.kind,
        schema_version=row.event.schema_version,
        facts=msgspec.Raw(row.event.body),
    )


def row_text(row: Row) -> str:
    """A row as people read it."""
    return (
        f"{row.position:>8}  {_time(row.recorded_unix_us)}  {_shortened(row.stream)} v{row.version}  "
        f"{row.kind}  {facts(row.event.body)}"
    )


def facts(body: bytes) -> str:
    """The body of an event on one line, long identifiers and the line itself cut."""
    text = " ".join(f"{key}={_plain(value)}" for key, value in json_module.loads(body).items())
    text = _shortened(text)
    return text if len(text) <= FACTS_CHARACTERS else text[: FACTS_CHARACTERS - 1] + "…"


def trace(connection: apsw.Connection, machines: Machines, payment: str) -> Trace:
    """The events of one payment over all streams, with the states they led to.

    Raises what `engine.search.identify` raises.
    """
    identifier = identify(connection, payment)
    rows, own = related_rows(connection, identifier, lambda s: bool(machines.of(s).final))
    states = {
        step.row.position: type(step.state).__name__
        for step in steps(machines, (row for row in rows if row.stream in own))
    }
    events = []
    previous_us: int | None = None
    for row in rows:
        since_ms = None if previous_us is None else (row.recorded_unix_us - previous_us) / 1000
        events.append(TraceLine(line(row), since_ms, states.get(row.position)))
        previous_us = row.recorded_unix_us
    return Trace(identifier, tuple(sorted(own)), tuple(events))


def trace_text(found: Trace) -> Iterator[str]:
    """A table: position, time, milliseconds since the line before, stream, event, state, facts."""
    yield f"{found.identifier}: {len(found.events)} events, streams of its own: {len(found.streams)}"
    cells = [
        (
            str(traced.event.position),
            traced.event.recorded,
            "" if traced.since_previous_ms is None else f"+{traced.since_previous_ms:.1f} ms",
            _shortened(traced.event.stream),
            traced.event.kind,
            traced.state or "-",
            facts(bytes(traced.event.facts)),
        )
        for traced in found.events
    ]
    yield from _table(("position", "time", "after", "stream", "event", "state", "facts"), cells)


def verified_text(found: Verified) -> Iterator[str]:
    """What `verify` prints for people."""
    yield "the chain holds"
    yield f"position  {found.head.position}"
    yield f"hash      {found.head.hash.hex()}"
    yield f"states    {found.states}"
    yield f"streams   {found.streams}, of which {found.unfinished_streams} are open"
    for model in found.read_models:
        equal = f"{model.rows} rows equal their rebuild"
        what = equal if model.compared else "outdated: the next start rebuilds it"
        yield f"table     {model.name} v{model.version}: {what}"


def verified_json(found: Verified) -> str:
    """What `verify --json` prints; hashes are hex."""
    document = msgspec.to_builtins(found)
    document["head"]["hash"] = found.head.hash.hex()
    return msgspec.json.encode(document).decode()


def _program() -> tuple[Machines, Sequence[ReadModel]]:
    from gateway.log import machines, read_models  # noqa: PLC0415 - loads every machine

    of = machines()
    return of, read_models(of)


@contextmanager
def _reading(data_dir: Path) -> Iterator[apsw.Connection]:
    connection = open_reader(data_dir / LOG_NAME)
    try:
        yield connection
    finally:
        connection.close(force=True)


def _time(unix_us: int) -> str:
    moment = datetime.fromtimestamp(unix_us // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_us // 1000 % 1000:03}Z"


def _unix_us(text: str | None) -> int | None:
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


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json_module.dumps(value, separators=(",", ":"))


def _shortened(text: str) -> str:
    return _LONG_ID.sub(lambda match: f"{match[0][:12]}…", text)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    everything = [head, *rows]
    widths = [max(len(row[column]) for row in everything) for column in range(len(head))]
    for row in everything:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
