"""`gatewayd log trace`: one payment through all of its machines, as a table or as a diagram."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
from cyclopts import Parameter

from cli.log.reading import (
    DataDir,
    Json,
    Line,
    Verify,
    duration_text,
    facts,
    line,
    program,
    shortened,
    table,
    time_text,
    verify_chain,
)
from engine.chain import Row
from engine.fold import Machines, steps
from engine.machine import kind_of
from engine.quarantine import stream_of
from engine.storage.reader import LogReader, open_log
from engine.storage.tracing import Subject, identify, named, related_rows

#: Characters of facts on a line of their own.
FACTS_CHARACTERS = 90
#: Streams whose id is the payment hash.
_BY_HASH = ("image", "receive", "completion", "operator_payment")


class TraceLine(msgspec.Struct, frozen=True):
    """An event on the way of a payment. `state` is null for streams that are about more than this payment."""

    event: Line
    since_previous_ms: float | None
    state: str | None


class Stay(msgspec.Struct, frozen=True):
    """How long a machine was in one state; `event` led there, `lasted_us` is null while it is there."""

    state: str
    event: str
    entered_unix_us: int
    lasted_us: int | None


class MachinePath(msgspec.Struct, frozen=True):
    """The states of one machine in order."""

    stream: str
    stays: tuple[Stay, ...]
    is_over: bool


class Trace(msgspec.Struct, frozen=True):
    """What `trace --json` prints."""

    identifier: str
    streams: tuple[str, ...]
    paths: tuple[MachinePath, ...]
    events: tuple[TraceLine, ...]


def print_trace(
    data_dir: DataDir,
    payment: str,
    /,
    *,
    diagram: Annotated[bool, Parameter(negative="")] = False,
    facts: Annotated[bool, Parameter(negative="")] = False,
    verify: Verify = False,
    json: Json = False,
) -> None:
    """Print everything that one payment did, and how long each machine was in each state.

    Rows are found by their streams, without a check of the chain, so this takes a second on a long log. A text
    that no stream has in its name, such as a txid, is looked for in all of it.

    Parameters
    ----------
    payment
        A stream, or the beginning of a payment hash, contract id, operation id or txid.
    diagram
        Print a Mermaid diagram of the states instead.
    facts
        Print what each event says, too.
    verify
        Check the hash chain of the whole log first.
    """
    machines, _ = program()
    with open_log(data_dir) as log:
        if verify:
            verify_chain(log)
        found = trace(log, machines, payment)
    if json:
        print(msgspec.json.encode(found).decode())
    else:
        lines = trace_diagram(found) if diagram else trace_text(found, with_facts=facts)
        print("\n".join(lines))


def trace(log: LogReader, machines: Machines, payment: str) -> Trace:
    """The events of one payment over all streams, with the states they led to.

    Raises what `engine.storage.tracing` raises.
    """
    kinds = tuple(machine.kind for machine in machines)
    subject = identify(log, kinds, payment)
    rows, own = related_rows(log, subject, lambda s: bool(machines.of(s).final))
    hashes = {s.partition("/")[2] for s in own if kind_of(s) in _BY_HASH} - {subject.identifier}
    for payment_hash in sorted(hashes):
        of_hash = Subject(payment_hash, named(log, kinds, payment_hash))
        more, owned = related_rows(log, of_hash, lambda s: bool(machines.of(s).final))
        rows, own = [*rows, *more], own | owned
    noted = list(_quarantines(log, own))
    rows, own = [*rows, *noted], own | {row.stream for row in noted}
    rows = sorted({row.position: row for row in rows}.values(), key=lambda row: row.position)
    states: dict[int, str] = {}
    stays: dict[str, list[Stay]] = {}
    over: set[str] = set()
    for step in steps(machines, (row for row in rows if row.stream in own)):
        name, row = step.state_name, step.row
        states[row.position] = name
        if step.final:
            over.add(row.stream)
        path = stays.setdefault(row.stream, [])
        if path and path[-1].state == name:
            continue
        if path:
            lasted_us = row.recorded_unix_us - path[-1].entered_unix_us
            path[-1] = msgspec.structs.replace(path[-1], lasted_us=lasted_us)
        path.append(Stay(name, row.kind, row.recorded_unix_us, None))
    events = []
    previous_us: int | None = None
    for row in rows:
        since_ms = None if previous_us is None else (row.recorded_unix_us - previous_us) / 1000
        events.append(TraceLine(line(row), since_ms, states.get(row.position)))
        previous_us = row.recorded_unix_us
    paths = tuple(
        MachinePath(stream, tuple(path), stream in over) for stream, path in stays.items()
    )
    return Trace(subject.identifier, tuple(sorted(own)), paths, tuple(events))


def _quarantines(log: LogReader, streams: Iterable[str]) -> Iterator[Row]:
    """What is on record of mistakes met in these streams."""
    for stream in sorted(streams):
        yield from log.rows_of(stream_of(stream))


def trace_text(found: Trace, *, with_facts: bool) -> Iterator[str]:
    """A table of events, then one of stays."""
    first, last = found.events[0].event, found.events[-1].event
    took = duration_text(last.recorded_unix_us - first.recorded_unix_us)
    yield found.identifier
    yield (
        f"{len(found.events)} events from {first.recorded} on, over {took}; "
        f"streams of its own: {len(found.streams)}"
    )
    yield ""
    cells = [
        (
            str(traced.event.position),
            traced.event.recorded[11:-1],
            "" if traced.since_previous_ms is None else f"+{_ms(traced.since_previous_ms)}",
            shortened(traced.event.stream),
            traced.event.kind,
            traced.state or "-",
        )
        for traced in found.events
    ]
    head, *lines = table(("position", "time", "after", "stream", "event", "state"), cells)
    yield head
    for text, traced in zip(lines, found.events, strict=True):
        yield text
        said = facts(bytes(traced.event.facts), FACTS_CHARACTERS) if with_facts else ""
        if said:
            yield f"          {said}"
    yield ""
    yield from table(("stream", "state", "entered", "for"), list(_stays(found)))


def _stays(found: Trace) -> Iterator[tuple[str, str, str, str]]:
    for path in found.paths:
        for number, stay in enumerate(path.stays):
            if stay.lasted_us is not None:
                lasted = duration_text(stay.lasted_us)
            else:
                lasted = "for good" if path.is_over else "until now"
            yield (
                "" if number else shortened(path.stream),
                stay.state,
                time_text(stay.entered_unix_us),
                lasted,
            )


def trace_diagram(found: Trace) -> Iterator[str]:
    """Mermaid text: each machine a box, its states in the order they were entered."""
    yield "stateDiagram-v2"
    for number, path in enumerate(found.paths, 1):
        yield f'    state "{shortened(path.stream)}" as machine{number} {{'
        names = list(dict.fromkeys(stay.state for stay in path.stays))
        nodes = {name: f"machine{number}_{name}" for name in names}
        yield from (f'        state "{name}" as {node}' for name, node in nodes.items())
        source, waited = "[*]", ""
        for stay in path.stays:
            yield f"        {source} --> {nodes[stay.state]}: {stay.event}{waited}"
            source = nodes[stay.state]
            waited = f" after {duration_text(stay.lasted_us)}" if stay.lasted_us is not None else ""
        if path.is_over:
            yield f"        {source} --> [*]"
        yield "    }"


def _ms(ms: float) -> str:
    return duration_text(round(ms * 1_000))
