"""The search, over small graphs."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from fuzz.explore.search import NO_WAY_OUT, Limits, Report, explore


class Step(NamedTuple):
    place: str
    broken: tuple[str, ...] = ()
    is_fault: bool = False


class Graph:
    """Places named by letters; paths begin at a, and may end in capitals."""

    def __init__(self, steps: Mapping[str, str], faults: str = "", broken: str = "") -> None:
        """`faults` and `broken` name steps by both of their ends, such as `ab cd`."""
        self._steps, self._faults, self._broken = steps, faults.split(), broken.split()

    def beginnings(self) -> Iterator[str]:
        yield "a"

    def steps(self, place: str) -> Iterator[Step]:
        for after in self._steps.get(place, ""):
            name = place + after
            yield Step(after, (name,) if name in self._broken else (), name in self._faults)

    def is_at_rest(self, place: str) -> bool:
        return place.isupper()

    def broken_at_rest(self, place: str) -> tuple[str, ...]:
        return ("ends badly",) if place == "X" else ()

    def told(self, place: str, step: Step) -> str:
        return place + step.place


def _search(graph: Graph, limits: Limits = Limits()) -> Report:  # noqa: B008 - it is a constant
    return explore(graph, limits, clock=lambda: 0.0)


def test_every_place_is_visited_once_and_every_step_is_taken() -> None:
    report = _search(Graph({"a": "bc", "b": "d", "c": "d", "d": "ab", "b2": "z"} | {"d": "aE"}))
    assert (report.states, report.transitions, report.depth) == (5, 6, 3)
    assert (report.unseen, report.broken) == (0, ())


def test_the_shortest_path_to_a_broken_promise_is_told() -> None:
    graph = Graph({"a": "bc", "b": "d", "d": "e", "e": "F", "c": "e"}, broken="eF")
    report = _search(graph)
    assert report.broken == ("eF",)
    assert report.trace == ("ac", "ce", "eF")


def test_a_bad_end_is_told_with_its_path() -> None:
    report = _search(Graph({"a": "b", "b": "X"}))
    assert (report.broken, report.trace) == (("ends badly",), ("ab", "bX"))


def test_a_place_that_only_leads_round_in_a_circle_is_a_dead_end() -> None:
    report = _search(Graph({"a": "bE", "b": "c", "c": "b"}))
    assert (report.broken, report.trace) == ((NO_WAY_OUT,), ("ab",))


def test_a_way_out_that_needs_a_fault_is_none() -> None:
    graph = {"a": "bE", "b": "E"}
    assert _search(Graph(graph)).broken == ()
    assert _search(Graph(graph, faults="bE")).broken == (NO_WAY_OUT,)


def test_what_a_limit_left_out_is_counted_and_is_no_dead_end() -> None:
    report = _search(Graph({"a": "bcd", "b": "e", "c": "e", "d": "e", "e": "e"}), Limits(states=4))
    assert (report.states, report.unseen, report.broken) == (4, 3, ())


def test_a_search_ends_when_its_time_is_over() -> None:
    seconds = iter(range(100))
    report = explore(
        Graph({"a": "b", "b": "c", "c": "d", "d": "E"}),
        Limits(seconds=2),
        clock=lambda: float(next(seconds)),
    )
    assert (report.states, report.unseen) == (3, 1)
