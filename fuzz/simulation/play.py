"""Plays one seed: a function from an integer and a mask of omitted steps to everything that happened."""

import logging
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import structlog

from engine.machine import State
from fedimint.crypto import bls
from fedimint.crypto.curve import Curve
from fuzz.simulation.acts import data_loss, faults, operating, paying, receiving
from fuzz.simulation.harness import Harness
from fuzz.simulation.judging import ending, successes
from fuzz.simulation.plans import byzantine_steps, operator_steps, plan, steps
from fuzz.simulation.stand_in_curve import STAND_IN
from fuzz.simulation.virtual_time import run_seeded

#: A file system in memory where there is one: what is simulated is the process, and not the disk.
_MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
#: People who are not done by then, of the event loop's time, never will be.
_LIMIT_S = 8_000.0


class Outcome(msgspec.Struct, frozen=True):
    """What one run showed: nothing in `problems` when every promise was kept, nor in `trace`, the rows of who broke it.

    `states` are those of the log's end.
    """

    seed: int
    steps: tuple[steps.AnyStep, ...]
    problems: tuple[str, ...]
    counts: dict[str, int]
    states: dict[str, State]
    rows: int
    trace: tuple[str, ...]


def play(seed: int, left_out: Collection[int] = (), curve: Curve = STAND_IN) -> Outcome:
    """Play the plan of a seed without some of its steps."""
    drawn = plan.draw(seed)
    with (
        bls.using(curve),
        data_loss.recoverable(),
        tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder,
    ):
        return run_seeded(lambda: _run(seed, drawn.without(left_out), Path(folder)), seed)


@contextmanager
def silence() -> Iterator[None]:
    """What the gateway would log is of no interest while thousands of them run."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


async def _run(seed: int, chosen: Sequence[steps.AnyStep], directory: Path) -> Outcome:
    problems: list[str] = []
    harness: Harness | None = None
    try:
        async with anyio.create_task_group() as tasks:
            harness = Harness(seed, directory, tasks)
            with anyio.move_on_after(_LIMIT_S + _away_s(chosen)) as limit:
                await _play(harness, chosen)
            if limit.cancelled_caught:
                problems.append("somebody waits without end")
            problems += ending.problems(harness)
            problems += successes.problems(chosen, harness.witness.counts)
            tasks.cancel_scope.cancel()
    except Exception as error:  # noqa: BLE001 - whatever leaves the gateway, or who uses it, is a finding
        problems += [_text(one) for one in _leaves(error)]
    assert harness is not None
    return Outcome(
        seed,
        tuple(chosen),
        tuple(problems),
        successes.counted(chosen, harness.witness.counts),
        harness.auditor.states(),
        harness.auditor.position,
        harness.auditor.trace(problems) if problems else (),
    )


async def _play(harness: Harness, chosen: Sequence[steps.AnyStep]) -> None:
    harness.tasks.start_soon(harness.keep_alive)
    for federation in _federations(chosen):
        await operating.join(harness, federation)
    async with anyio.create_task_group() as people:
        for step in chosen:
            group = people if isinstance(step, steps.People) else harness.tasks
            group.start_soon(_begin, harness, step)
        await anyio.sleep(plan.PHASE_S)
        await ending.calm(harness)
    await ending.at_rest(harness)
    for happen in harness.afterwards:
        await happen()
        await ending.at_rest(harness)


async def _begin(harness: Harness, step: steps.AnyStep) -> None:
    await anyio.sleep(step.at_s)
    if isinstance(step, steps.People):
        harness.witness.counts[f"people {type(step).__name__}"] += 1
        succeeded = await _PEOPLE[type(step)](harness, step)
        successes.count(harness.witness.counts, step, succeeded=succeeded)
    else:
        await faults.make(harness, step)


def _federations(chosen: Sequence[steps.AnyStep]) -> list[int]:
    """Those that anybody has to do with."""
    named = {
        getattr(step, field)
        for step in chosen
        if isinstance(step, steps.People)
        for field in ("federation", "source", "target")
        if hasattr(step, field)
    }
    if any(isinstance(step, steps.Send) and step.twist == "two contracts" for step in chosen):
        named = {0, 1}
    return sorted(named)


def _away_s(chosen: Sequence[steps.AnyStep]) -> float:
    return sum(step.down_s for step in chosen if isinstance(step, byzantine_steps.CrashAt))


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    return [error]


def _text(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = (
        ""
        if trace is None
        else f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
    )
    return f"{type(error).__name__}: {error}{where}"


#: What each of them does, which tells whether they have what they wanted.
_PEOPLE: Mapping[type[steps.AnyStep], Callable[[Harness, Any], Awaitable[bool]]] = {
    steps.Send: paying.send,
    steps.Receive: receiving.receive,
    steps.Swap: receiving.swap,
    steps.Deposit: operating.deposit,
    steps.Withdraw: operating.withdraw,
    steps.HandIn: operating.hand_in,
    steps.Give: operating.give,
    steps.Leave: operating.leave,
    steps.SetTerms: operating.set_terms,
    operator_steps.SetCap: operating.set_cap,
    operator_steps.TrustAgain: operating.trust_again,
    operator_steps.ReplaceNode: operating.replace_node,
    steps.OperatorPays: operating.operator_pays,
    steps.OperatorSends: operating.operator_sends,
}


def counted(outcomes: Sequence[Outcome]) -> Counter[str]:
    """The counts of many runs together."""
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total.update(outcome.counts)
    return total
