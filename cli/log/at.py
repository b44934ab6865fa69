"""`gatewayd log at` and `diff`: all states at one position, and what changed between two positions."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice, takewhile
from typing import NamedTuple

import msgspec

from cli.log.reading import DataDir, Json, duration_text, program, shortened, table, time_text
from cli.numbers import WholeNumber
from engine.chain import Row, verified
from engine.machine import kind_of
from engine.storage.changes import Changes
from engine.storage.reader import LogReader, open_log
from errors import InputError
from gateway.log_fold import LogFold

#: Streams named for people; `--json` has all.
NAMED_STREAMS = 40


class OpenMachine(msgspec.Struct, frozen=True):
    """A machine that had not ended. With `unread`, why its later events cannot be read: the facts are older."""

    stream: str
    state: str
    version: int
    since_unix_us: int
    facts: msgspec.Raw
    unread: str | None


class At(msgspec.Struct, frozen=True):
    """What `at --json` prints: open machines by name, and the books in msat by account."""

    position: int
    recorded_unix_us: int
    epoch: int
    open: tuple[OpenMachine, ...]
    balances_msat: dict[str, int]


class Diff(NamedTuple):
    """What `diff --json` prints, with `changes` as a list; balances are what was added to each account, in msat."""

    first: int
    last: int
    lasted_us: int
    balances_msat: dict[str, int]
    changes: Changes


def print_at(data_dir: DataDir, position: WholeNumber, /, *, json: Json = False) -> None:
    """Print the state of everything right after an event: open machines, balances, and the balance sheet.

    Parameters
    ----------
    position
        The position of the event.
    """
    machines, _ = program()
    fold = LogFold(machines)
    with open_log(data_dir) as log:
        fold.read(_up_to(log, position))
    assert fold.newest is not None
    found = At(
        position=position,
        recorded_unix_us=fold.newest.recorded_unix_us,
        epoch=fold.newest.epoch,
        open=tuple(
            OpenMachine(
                stream,
                standing.name,
                standing.version,
                standing.since_unix_us,
                msgspec.Raw(machines.encode_state(standing.state)),
                standing.fault,
            )
            for stream, standing in sorted(fold.open.items())
        ),
        balances_msat=fold.balances_msat,
    )
    print(msgspec.json.encode(found).decode() if json else "\n".join(_at_text(found)))


def print_diff(
    data_dir: DataDir, first: WholeNumber, last: WholeNumber, /, *, json: Json = False
) -> None:
    """Print what changed after one event and up to another: streams begun, moved and ended, and balances.

    Parameters
    ----------
    first
        The position before the first event that counts; 0 is the beginning of the log.
    last
        The position of the last event that counts.
    """
    if not 0 <= first < last:
        raise InputError(
            f"nothing lies between {first} and {last}: name the earlier position first"
        )
    machines, _ = program()
    with open_log(data_dir) as log:
        found = _diff(LogFold(machines), _up_to(log, last), first, last)
    for part in _diff_json(found) if json else _diff_text(found):
        print(part)


def _up_to(log: LogReader, position: int) -> Iterator[Row]:
    """All rows up to a position. Raises InputError when the log does not reach that far."""
    newest = log.head.position
    if not 0 < position <= newest:
        raise InputError(f"the log has no position {position}: it reaches from 1 to {newest}")
    return takewhile(lambda row: row.position <= position, verified(log.rows()))


def _diff(fold: LogFold, rows: Iterator[Row], first: int, last: int) -> Diff:
    balances_before: dict[str, int] = {}
    began_us = ended_us = 0
    changes = Changes()
    for moved in fold.steps(rows):
        row = moved.step.row
        if row.position > first:
            changes.add(moved)
            began_us, ended_us = began_us or row.recorded_unix_us, row.recorded_unix_us
        elif row.position == first:
            balances_before, began_us = fold.balances_msat, row.recorded_unix_us
    after = fold.balances_msat
    added = {
        account: after.get(account, 0) - balances_before.get(account, 0)
        for account in sorted(after.keys() | balances_before.keys())
    }
    return Diff(
        first=first,
        last=last,
        lasted_us=ended_us - began_us,
        balances_msat={account: msat for account, msat in added.items() if msat},
        changes=changes,
    )


def _at_text(found: At) -> Iterator[str]:
    yield (
        f"position {found.position}, {time_text(found.recorded_unix_us)}, "
        f"written by start {found.epoch} of the gateway"
    )
    yield ""
    yield from _open_text(found)
    yield ""
    yield from sheet(found.balances_msat)


def _open_text(found: At) -> Iterator[str]:
    counts = Counter((kind_of(machine.stream), machine.state) for machine in found.open)
    yield from table(
        ("open", "state", "number"),
        [(kind, state, str(number)) for (kind, state), number in sorted(counts.items())],
    )
    yield ""
    cells = [
        (
            shortened(machine.stream),
            machine.state,
            duration_text(found.recorded_unix_us - machine.since_unix_us),
        )
        for machine in found.open[:NAMED_STREAMS]
    ]
    yield from table(("stream", "state", "for"), cells)
    yield from _rest(len(found.open))


def _diff_text(found: Diff) -> Iterator[str]:
    yield (
        f"after {found.first} up to {found.last}: {found.last - found.first} events, "
        f"{duration_text(found.lasted_us)}"
    )
    yield ""
    cells = [
        (
            shortened(change.stream),
            "begun" if change.before is None else change.before,
            change.after,
            "ended" if change.is_over else "",
            str(change.events),
        )
        for change in islice(found.changes, NAMED_STREAMS)
    ]
    yield from table(("stream", "was", "is", "", "events"), cells)
    yield from _rest(len(found.changes))
    yield ""
    yield from sheet(found.balances_msat)


def _diff_json(found: Diff) -> Iterator[str]:
    """One document in parts: of a long log its list has a place for every stream."""
    balances = msgspec.json.encode(found.balances_msat).decode()
    yield (
        f'{{"first":{found.first},"last":{found.last},"lasted_us":{found.lasted_us},'
        f'"balances_msat":{balances},"changes":['
    )
    for number, change in enumerate(found.changes):
        yield ("," if number else "") + msgspec.json.encode(change).decode()
    yield "]}"


def _rest(number: int) -> Iterator[str]:
    if number > NAMED_STREAMS:
        yield f"… and {number - NAMED_STREAMS} more: --json has all"


def sheet(balances_msat: dict[str, int]) -> Iterator[str]:
    """A balance sheet: every account, and their sum, which is 0 when no msat is lost."""
    rows = [(shortened(account), f"{msat:>18,}") for account, msat in balances_msat.items()]
    rows.append(("sum", f"{sum(balances_msat.values()):>18,}"))
    yield from table(("account", f"{'msat':>18}"), rows)
