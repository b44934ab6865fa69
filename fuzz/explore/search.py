"""The search: visits every place that can be reached, each once, nearest first."""

import time
from array import array
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import pairwise
from math import inf
from typing import Generic, NamedTuple, Protocol, TypeVar, cast

P = TypeVar("P", bound=Hashable)
P_co = TypeVar("P_co", bound=Hashable, covariant=True)


class Step(Protocol[P_co]):
    """Something that may happen: where it leads, what promises it breaks, and whether it is a fault."""

    @property
    def place(self) -> P_co: ...
    @property
    def broken(self) -> tuple[str, ...]: ...
    @property
    def is_fault(self) -> bool: ...


S = TypeVar("S", bound=Step[Hashable])


class Explored(Protocol[P, S]):
    """What is searched: places, and the steps that lead from one to others."""

    def beginnings(self) -> Iterable[P]:
        """Where all paths begin."""
        ...

    def steps(self, place: P) -> Iterator[S]:
        """Everything that may happen next."""
        ...

    def is_at_rest(self, place: P) -> bool:
        """Whether a path may end here."""
        ...

    def broken_at_rest(self, place: P) -> tuple[str, ...]:
        """What is wrong with a place where a path may end."""
        ...

    def told(self, place: P, step: S) -> str:
        """A step in words."""
        ...


class Limits(NamedTuple):
    """Where a search ends though it has not seen everything within its bounds."""

    states: int = 1 << 62
    seconds: float = inf


class Report(NamedTuple):
    """What a search saw. Of `unseen` states it is not known what lies behind them.

    `broken` are the promises that a path broke, and `trace` what happens on it: there is none that is shorter.
    """

    states: int
    transitions: int
    depth: int
    unseen: int
    seconds: float
    broken: tuple[str, ...] = ()
    trace: tuple[str, ...] = ()


NO_WAY_OUT = "nothing that goes on without a fault leads from here to an end"


def explore(
    model: Explored[P, S],
    limits: Limits = Limits(),  # noqa: B008 - it is a constant
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Visit every place, breadth first, until a promise is broken.

    In the end every place must have a way, without any further fault, to one where a path may end.
    """
    return _Search(model, clock).run(limits)


class _Search(Generic[P, S]):
    def __init__(self, model: Explored[P, S], clock: Callable[[], float]) -> None:
        self._model = model
        self._clock = clock
        self._numbers: dict[P, int] = {}
        self._places: list[P] = []
        self._parents = array("q")
        self._depths = array("l")
        #: The places from and to which a step leads that is no fault.
        self._calm_from, self._calm_to = array("q"), array("q")
        self._transitions = 0
        self._waiting: deque[int] = deque()
        self._began_s = clock()

    def run(self, limits: Limits) -> Report:
        for place in self._model.beginnings():
            self._met(place, -1)
        while self._waiting and len(self._places) < limits.states:
            if self._is_late(limits):
                break
            found = self._go_on(self._waiting.popleft())
            if found is not None:
                return found
        stuck = self._dead_end()
        if stuck is not None:
            return self._report((NO_WAY_OUT,), self._trace(stuck))
        return self._report()

    def _is_late(self, limits: Limits) -> bool:
        return limits.seconds < inf and self._clock() - self._began_s > limits.seconds

    def _go_on(self, number: int) -> Report | None:
        """Take every step from a place; what is broken, if anything is."""
        place = self._places[number]
        for step in self._model.steps(place):
            self._transitions += 1
            after = self._met(cast("P", step.place), number)
            if not step.is_fault:
                self._calm_from.append(number)
                self._calm_to.append(after)
            if step.broken:
                trace = *self._trace(number), self._model.told(place, step)
                return self._report(step.broken, trace)
        broken = self._model.broken_at_rest(place) if self._model.is_at_rest(place) else ()
        return self._report(broken, self._trace(number)) if broken else None

    def _met(self, place: P, parent: int) -> int:
        number = self._numbers.get(place)
        if number is None:
            number = self._numbers[place] = len(self._places)
            self._places.append(place)
            self._parents.append(parent)
            self._depths.append(self._depths[parent] + 1 if parent >= 0 else 0)
            self._waiting.append(number)
        return number

    def _dead_end(self) -> int | None:
        """The nearest place from which nothing leads to an end, nor to a place that was not explored."""
        into: list[list[int]] = [[] for _ in self._places]
        for source, target in zip(self._calm_from, self._calm_to, strict=True):
            into[target].append(source)
        unseen = set(self._waiting)
        good = [
            n in unseen or self._model.is_at_rest(place) for n, place in enumerate(self._places)
        ]
        waiting = [number for number, is_good in enumerate(good) if is_good]
        while waiting:
            for source in into[waiting.pop()]:
                if not good[source]:
                    good[source] = True
                    waiting.append(source)
        return next((number for number, is_good in enumerate(good) if not is_good), None)

    def _trace(self, number: int) -> tuple[str, ...]:
        """What happens on the way to a place, in words."""
        path = [number]
        while self._parents[path[-1]] >= 0:
            path.append(self._parents[path[-1]])
        places = [self._places[one] for one in reversed(path)]
        told = []
        for before, after in pairwise(places):
            step = next(step for step in self._model.steps(before) if step.place == after)
            told.append(self._model.told(before, step))
        return tuple(told)

    def _report(self, broken: tuple[str, ...] = (), trace: tuple[str, ...] = ()) -> Report:
        return Report(
            states=len(self._places),
            transitions=self._transitions,
            depth=max(self._depths, default=0),
            unseen=len(self._waiting),
            seconds=self._clock() - self._began_s,
            broken=broken,
            trace=trace,
        )
