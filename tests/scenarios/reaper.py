"""Kills the gateway once at every moment of its log that it has not died at before."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from engine.chain import StoredStep
from engine.fold import Position
from engine.machine import kind_of
from engine.storage.reader import open_log
from fuzz.simulation.simulated_gateway import SimulatedGateway
from fuzz.simulation.virtual_time import SimulatedCrash
from gateway.log import machines


class Entered(NamedTuple):
    """A state of the tables that an event led to."""

    machine: str
    state: str


#: What is told apart: an append by its events and the states they lead to, a point beside an effect by its name and
#: the states of whatever is under way.
Moment = frozenset[tuple[str, ...]]


class Reaper:
    """A probe. In each play it ends one life at a moment that it ended none at before.

    Besides, it ends one in every state that it never ended one in, so that also what is entered after a death alone
    is died in; the first play has many deaths, each later one has one of its own.
    """

    def __init__(self, gateway: SimulatedGateway, others: Iterable["Reaper"] = ()) -> None:
        """Take for done what `others` did."""
        self.entered: set[Entered] = set()
        #: States that the gateway died in, right after the commit that entered them.
        self.died_in: set[Entered] = {state for other in others for state in other.died_in}
        self.died_at: set[Moment] = {moment for other in others for moment in other.died_at}
        self._gateway = gateway
        self._known: dict[str, Position] = {}
        self._directory = gateway.directory
        self._position = 0
        self._is_armed = False
        self._is_spent = False

    def arm(self) -> None:
        """Begin another play."""
        self._is_armed, self._is_spent = True, False

    @property
    def has_died(self) -> bool:
        """In this play, at a moment that was new."""
        return self._is_spent

    def __call__(self, point: str) -> None:
        """Right after a commit, and before and after the handler of an effect."""
        what, _, name = point.partition(" ")
        if what == "before":
            return
        steps = list(self._committed()) if what == "after" else []
        if not self._is_armed:
            return
        appends = list(_appends(steps))
        moments = {_moment(append) for append in appends}
        if what != "after":
            moments.add(frozenset({(what, name)}))
        for append in appends:
            self.entered |= _left_by(append)
        left = _left_by(steps)
        is_new, is_new_state = not moments <= self.died_at, not left <= self.died_in
        if not is_new_state and (self._is_spent or not is_new):
            return
        self.died_in |= left
        if not self._is_spent and is_new:
            self.died_at |= moments
            self._is_spent = True
        raise SimulatedCrash(point)

    def _committed(self) -> Iterator[StoredStep]:
        """What came to the log since the last look."""
        if self._gateway.directory != self._directory:
            self._directory, self._position = self._gateway.directory, 0
            self._known.clear()
        with open_log(self._directory) as log:
            found = list(log.rows(self._position))
        for chained in found:
            step = _MACHINES.step(self._known, chained.row)
            self._known[step.row.stream] = Position.after(step)
            self._position = step.row.position
            yield step


_MACHINES = machines()


def _appends(steps: Iterable[StoredStep]) -> Iterator[list[StoredStep]]:
    for _, append in groupby(steps, key=lambda step: step.row.append):
        yield list(append)


def _moment(append: Iterable[StoredStep]) -> Moment:
    return frozenset(
        (kind_of(step.row.stream), step.event.kind, type(step.state).__name__) for step in append
    )


def _left_by(steps: Iterable[StoredStep]) -> set[Entered]:
    """The states in which these steps leave their streams: others were passed within one append."""
    latest = {step.row.stream: type(step.state).__name__ for step in steps}
    return {Entered(kind_of(stream), state) for stream, state in latest.items()}
