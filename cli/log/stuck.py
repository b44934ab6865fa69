"""`gatewayd log stuck`: what waits, since when, for whom, and what the operator may safely do."""

import textwrap
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from cli.log.reading import (
    DataDir,
    Json,
    Verify,
    cut,
    duration_text,
    program,
    shortened,
    time_text,
    verify_chain,
)
from engine.faults import Faults
from engine.fold import Position
from engine.quarantine import THE_LOG, Quarantined, QuarantinedStream
from engine.storage.reader import open_log
from gateway.log_fold import Standing, standing_in, state_of
from gateway.losses import Loss, losses
from statemachines import OPEN_STATES, federation, identity
from statemachines.outlook import OpenState

#: Characters of a line for people.
WIDTH = 100

#: Whom a state waits for whose federation was given up, and what may be done.
_RESTS = (
    "nobody: its federation was given up",
    "If the federation comes back, join it again.",
)


class Waiting(msgspec.Struct, frozen=True):
    """An open payment, transaction or order. `error` is in the gateway's own log output, not here."""

    stream: str
    state: str
    since_unix_s: int
    due_unix_s: int
    overdue: bool
    waits_for: str
    what_to_do: str


class Stuck(msgspec.Struct, frozen=True):
    """What `stuck --json` prints. `frozen` is the restore that is not reconciled yet."""

    frozen: identity.Restoration | None
    quarantined: tuple[QuarantinedStream, ...]
    waiting: tuple[Waiting, ...]
    losses: tuple[Loss, ...]


def print_stuck(
    data_dir: DataDir,
    /,
    *,
    everything: Annotated[bool, Parameter(name="--all", negative="")] = False,
    verify: Verify = False,
    json: Json = False,
) -> None:
    """Print what is overdue, whom it waits for and what may safely be done; and what was lost.

    Rows and tables are read without a check of the chain, so this takes seconds on a long log.

    Parameters
    ----------
    everything
        Print what is open and in time, too.
    verify
        Check the hash chain of the whole log first; `gatewayd log verify` checks everything.
    """
    found = stuck(data_dir, int(time.time()), everything=everything, verify=verify)
    print(msgspec.json.encode(found).decode() if json else "\n".join(_text(found)))


def stuck(data_dir: Path, now_unix_s: int, *, everything: bool, verify: bool = False) -> Stuck:
    """What is overdue at a time, or all that is open. With `verify`, raises DamagedError for a broken chain."""
    machines, _ = program()
    with open_log(data_dir) as log:
        if verify:
            verify_chain(log)
        standing = standing_in(log, machines, (*OPEN_STATES, Quarantined))
        left = {
            one.state.facts.federation_id
            for one in standing_in(log, machines, (federation.Left,)).values()
            if isinstance(one.state, federation.Left)
        }
        founded = state_of(log, machines, identity.STREAM)
        lost = tuple(losses(log, machines))
    waiting = [
        waits
        for stream, one in standing.items()
        if isinstance(one.state, OpenState) and one.fault is None
        if (waits := _waiting(stream, one, one.state, now_unix_s, left)).overdue or everything
    ]
    waiting.sort(key=lambda one: (one.since_unix_s, one.stream))
    frozen = None
    if isinstance(founded, identity.Founded) and founded.is_frozen:
        frozen = founded.restoration
    return Stuck(frozen, _quarantined(standing), tuple(waiting), lost)


def _quarantined(standing: Mapping[str, Standing]) -> tuple[QuarantinedStream, ...]:
    """What is on record, and what this program cannot read though no gateway of its version was started yet."""
    live = {
        stream: Position(one.state, one.version, 0, one.fault) for stream, one in standing.items()
    }
    found = Faults(live).quarantined()
    return tuple(
        msgspec.structs.replace(one, is_readable=one.is_readable and one.where != THE_LOG)
        for one in found
    )


def _waiting(
    stream: str, standing: Standing, state: OpenState, now_unix_s: int, left: Collection[str]
) -> Waiting:
    since_unix_s = standing.since_unix_us // 1_000_000
    due = state.due_unix_s(since_unix_s)
    rests = state.whose() in left
    outlook = state.outlook
    waits_for, what_to_do = _RESTS if rests else (outlook.waits_for, outlook.what_to_do)
    return Waiting(
        stream=stream,
        state=standing.name,
        since_unix_s=since_unix_s,
        due_unix_s=due,
        overdue=not rests and now_unix_s >= due,
        waits_for=waits_for,
        what_to_do=what_to_do,
    )


def _text(found: Stuck) -> Iterator[str]:
    if found.frozen is not None:
        since = time_text(found.frozen.restored_unix_s * 1_000_000)
        yield f"FROZEN since {since}: restored from a backup, position {found.frozen.position}"
        yield from _wrapped("  why         ", found.frozen.evidence)
        yield "  waits for   Lightning node and federations; the gateway's log output names those that are missing"
        yield "  what to do  See that node and guardians are reachable: the freeze then ends by itself."
        yield ""
    for quarantined in found.quarantined:
        yield cut(f"{shortened(quarantined.stream)}  QUARANTINED: {quarantined.where}", WIDTH)
        yield from _wrapped("  bug         ", quarantined.fault)
        again = f"gateway-cli retry {quarantined.stream}" if quarantined.is_readable else "start it"
        yield from _wrapped(
            "  what to do  ",
            "What it holds is safe and booked, and it does nothing by itself. Report the bug; with a "
            f"version that fixes it: {again}",
        )
    if not found.waiting:
        yield "nothing is overdue"
    now_us = int(time.time()) * 1_000_000
    for one in found.waiting:
        age = duration_text(max(0, now_us - one.since_unix_s * 1_000_000))
        mark = "" if one.overdue else " (in time)"
        yield cut(f"{shortened(one.stream)}  {one.state} for {age}{mark}", WIDTH)
        yield f"  waits for   {one.waits_for}"
        yield from _wrapped("  what to do  ", one.what_to_do)
    if found.losses:
        total_msat = sum(loss.lost_msat for loss in found.losses)
        yield ""
        yield f"lost: {total_msat:,} msat"
        for loss in found.losses:
            yield cut(
                f"  {loss.position:>8}  {time_text(loss.recorded_unix_s * 1_000_000)[:19]}  "
                f"{loss.lost_msat:>14,} msat  {shortened(loss.stream)}",
                WIDTH,
            )
            yield from _wrapped("            ", loss.why)


def _wrapped(indent: str, text: str) -> Iterator[str]:
    return iter(
        textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=" " * len(indent))
    )
