"""What is open in a log, found by its tables without reading all of it."""

from collections.abc import Collection, Iterator
from itertools import takewhile

from engine.chain import Row, verified
from engine.fold import Machines, Position, fold
from engine.machine import State
from engine.storage import streams
from engine.storage.errors import DamagedError
from engine.storage.reader import LogReader
from gateway.log_fold import LogFold, Standing


def standing_in(
    log: LogReader, machines: Machines, states: Collection[type[State]]
) -> dict[str, Standing]:
    """Every stream that is in one of these states, which are not final, by name.

    Rows are taken as they stand. A log whose tables another version of the program wrote is folded as a whole.
    Raises DamagedError when the tables are not of this log.
    """
    if not streams.is_current(log):
        whole = LogFold(machines)
        whole.read(verified(log.rows()))
        return {name: one for name, one in whole.open.items() if type(one.state) in states}
    with log.moment():
        found = {
            one.stream: _standing(log, machines, one)
            for machine in machines
            if (names := {state.__name__ for state in machine.states if state in states})
            for one in streams.open_of_kind(log, machine.kind)
            if one.state_name in names
        }
    return dict(sorted(found.items()))


def state_of(
    log: LogReader, machines: Machines, stream: str, before_version: int | None = None
) -> State:
    """The state of a stream, now or before it had a version; the initial one if it has no event."""
    return _position_of(log, machines, stream, before_version).state


def _position_of(
    log: LogReader, machines: Machines, stream: str, before_version: int | None = None
) -> Position:
    rows = _rows_of(log, stream, before_version)
    position = fold(machines, rows, keep_final=True).get(stream)
    return position or Position(machines.of(stream).initial, 0, 0)


def _standing(log: LogReader, machines: Machines, one: streams.Indexed) -> Standing:
    position = _position_of(log, machines, one.stream)
    state = position.state
    if type(state).__name__ != one.state_name and position.fault is None:
        raise DamagedError(
            f"the tables say that {one.stream} is {one.state_name}, its rows that it is {type(state).__name__}: "
            "run gatewayd log verify"
        )
    return Standing(state, one.version, one.began_unix_us, one.since_unix_us, position.fault)


def _rows_of(log: LogReader, stream: str, before_version: int | None) -> Iterator[Row]:
    rows = log.rows_of(stream)
    if before_version is None:
        return rows
    return takewhile(lambda row: row.version < before_version, rows)
