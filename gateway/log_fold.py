"""Folds a log for its tools: what is open and since when, and the books."""

from collections.abc import Iterable, Iterator

import msgspec

from engine.chain import Moved, Row, StoredStep, state_name
from engine.fold import Machines, Position
from engine.machine import State
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
