"""What is open in a log and since when, for its tools: folded with the books, or found without reading all of it."""

from collections.abc import Collection, Iterable, Iterator
from itertools import takewhile

import msgspec

from engine.chain import Moved, Row, StoredStep, state_name, verified
from engine.fold import Machines, Position, fold
from engine.machine import State
from engine.storage import streams
from engine.storage.errors import DamagedError
from engine.storage.reader import LogReader
from statemachines.ledger import Auditor


class Standing(msgspec.Struct, frozen=True):
    """An open machine: its state, which has lasted since then, and when the machine began.

    With a `fault`, why its later events cannot be read: the state is the last that is known.
    """

    state: State
    version: int
    began_unix_us: int
    since_unix_us: int
    fault: str | None = None

    @property
    def name(self) -> str:
        """The name of the state, `Unread` with a fault."""
        return state_name(self.state, self.fault)


class LogFold:
    """The fold of a log as far as it was read."""

    def __init__(self, machines: Machines) -> None:
        self.open: dict[str, Standing] = {}
        self.newest: Row | None = None
        self._machines = machines
        self._auditor = Auditor()

    @property
    def balances_msat(self) -> dict[str, int]:
        """The accounts that are not zero (`statemachines/accounts.py`)."""
        return self._auditor.balances

    def read(self, rows: Iterable[Row]) -> None:
        """Fold all of these rows."""
        for _ in self.steps(rows):
            pass

    def steps(self, rows: Iterable[Row]) -> Iterator[Moved]:
        """Fold these rows one by one."""
        positions: dict[str, Position] = {
            stream: Position(standing.state, standing.version, 0, standing.fault)
            for stream, standing in self.open.items()
        }
        for row in rows:
            known = self.open.get(row.stream)
            before = known.state if known is not None else self._machines.of(row.stream).initial
            step = self._machines.step(positions, row)
            for _problem in self._auditor.inspect(before, step):
                pass  # verify tells of them
            self.newest = row
            if step.final:
                self.open.pop(row.stream, None)
                positions.pop(row.stream, None)
            else:
                positions[row.stream] = Position.after(step)
                self.open[row.stream] = _standing(known, step)
            yield Moved(before, step)


def _standing(known: Standing | None, step: StoredStep) -> Standing:
    now_us = step.row.recorded_unix_us
    if known is None:
        return Standing(step.state, step.row.version, now_us, now_us, step.fault)
    since_us = known.since_unix_us if type(step.state) is type(known.state) else now_us
    return Standing(step.state, step.row.version, known.began_unix_us, since_us, step.fault)


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
            one.stream: _found(log, machines, one)
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


def _found(log: LogReader, machines: Machines, one: streams.Indexed) -> Standing:
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
