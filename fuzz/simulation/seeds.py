"""Plays a range of seeds on all cores, adds up their coverage, and shrinks failures."""

import multiprocessing
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import islice

import msgspec

from fedimint.crypto.bls import BLS12_381
from fuzz.simulation import play
from fuzz.simulation.plans.plan import draw
from fuzz.simulation.play import Outcome
from fuzz.simulation.stand_in_curve import STAND_IN
from fuzz.simulation.transitions import Transition, counting

#: Seeds that a worker is given at a time.
CHUNK = 4
#: Every so many seeds, one is played with the real cryptography.
REAL_CURVE_EVERY = 100


class Batch(msgspec.Struct, frozen=True):
    """What a few seeds showed."""

    seeds: int
    rows: int
    counts: dict[str, int]
    transitions: dict[str, int]
    failed: tuple[int, ...]


class Summary(msgspec.Struct):
    """What all seeds so far showed."""

    seconds: float = 0.0
    seeds: int = 0
    rows: int = 0
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    transitions: Counter[str] = msgspec.field(default_factory=Counter)
    failed: list[int] = msgspec.field(default_factory=list)

    def add(self, batch: Batch) -> None:
        self.seeds += batch.seeds
        self.rows += batch.rows
        self.counts.update(batch.counts)
        self.transitions.update(batch.transitions)
        self.failed += batch.failed


def name_of(transition: Transition) -> str:
    """As people read it."""
    return f"{transition.machine}: {transition.state} --{transition.input}--> {transition.to}"


def played(seed: int, left_out: Iterable[int] = ()) -> Outcome:
    """One seed, on the curve that it is played with."""
    is_real = seed % REAL_CURVE_EVERY == REAL_CURVE_EVERY - 1
    return play.play(seed, tuple(left_out), BLS12_381 if is_real else STAND_IN)


def play_batch(seeds: Sequence[int]) -> Batch:
    """Play these seeds in this process."""
    with play.silence(), counting() as taken:
        outcomes = [played(seed) for seed in seeds]
    return Batch(
        len(outcomes),
        sum(outcome.rows for outcome in outcomes),
        dict(play.counted(outcomes)),
        {name_of(transition): count for transition, count in taken.items()},
        tuple(outcome.seed for outcome in outcomes if outcome.problems),
    )


def processes(workers: int) -> ProcessPoolExecutor:
    """Processes in which sets and dicts of text have one order, as a run by its seed needs."""
    os.environ["PYTHONHASHSEED"] = "0"  # read when a process starts: of ours, only those to come
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def run(seeds: range, *, seconds: float, workers: int) -> Summary:
    """Play the seeds, as many as there is time for; stop early at the first failures."""
    summary, began = Summary(), time.monotonic()
    waiting = _chunks(seeds)
    with processes(workers) as pool:
        under_way = [pool.submit(play_batch, chunk) for chunk in islice(waiting, 2 * workers)]
        while under_way:
            summary.add(under_way.pop(0).result())
            summary.seconds = time.monotonic() - began
            chunk = next(waiting, None)
            if chunk and summary.seconds < seconds and not summary.failed:
                under_way.append(pool.submit(play_batch, chunk))
    return summary


def _chunks(seeds: range) -> Iterator[list[int]]:
    iterator = iter(seeds)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


# --- what failed -------------------------------------------------------------------------------------------------


class Failure(msgspec.Struct, frozen=True):
    """A seed that broke a promise, with as few of its steps as still do."""

    seed: int
    left_out: tuple[int, ...]
    outcome: Outcome


def shrink(
    seed: int, fails: Callable[[Outcome], bool] = lambda outcome: bool(outcome.problems)
) -> Failure | None:
    """Leave out one step after the other as long as the run fails; None when it does not fail at all."""
    outcome = played(seed)
    if not fails(outcome):
        return None
    left_out: tuple[int, ...] = ()
    for place in reversed(range(len(draw(seed).steps))):
        tried = played(seed, (*left_out, place))
        if fails(tried):
            left_out, outcome = (*left_out, place), tried
    return Failure(seed, tuple(sorted(left_out)), outcome)


def told(seed: int) -> str | None:
    """Play a seed; what is wrong with it, made small, or None when nothing is."""
    with play.silence():
        failure = shrink(seed)
    return None if failure is None else described(failure)


def check(seed: int) -> None:
    """Play a seed. Raises AssertionError with what `gatewayd fuzz sim` tells of one that breaks a promise."""
    broken = _process().submit(told, seed).result()
    assert broken is None, broken


@cache
def _process() -> ProcessPoolExecutor:
    return processes(1)


def described(failure: Failure) -> str:
    """What a contributor needs: seed, commit, what is left of the workload, what broke, and how it went."""
    outcome = failure.outcome
    lines = [
        f"seed {failure.seed} at commit {commit()}, without steps {list(failure.left_out)}",
        *(f"  step     {step}" for step in outcome.steps),
        *(f"  problem  {problem}" for problem in outcome.problems),
        *(f"  {line}" for line in outcome.trace),
    ]
    return "\n".join(lines)


def commit() -> str:
    """The commit that runs, if it is known."""
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607 - wherever git is
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "unknown"
