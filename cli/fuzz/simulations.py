"""`gatewayd fuzz sim` and `gatewayd fuzz mutants`: plays seeds, with all rules or with one disabled."""

import os
from math import inf
from typing import TYPE_CHECKING, Annotated, NoReturn

from cyclopts import Parameter

from cli.numbers import MaybeDecimalNumber, MaybeWholeNumber, WholeNumber
from cli.optional import optional_imports
from errors import GatewayError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuzz.simulation.seeds import Summary


class PromiseBrokenError(GatewayError):
    """A simulation broke a promise, or none noticed a mutant."""


class TooFewPaidError(GatewayError):
    """In simulations too few of the payments succeeded that people wanted in good faith."""


class NotCoveredError(GatewayError):
    """Simulations left out something that a gateway can do."""


def print_simulations(
    *,
    seeds: WholeNumber = 300,
    first_seed: WholeNumber = 0,
    minutes: MaybeDecimalNumber = None,
    workers: MaybeWholeNumber = None,
    covered: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Play whole gateways with faults, one a seed; a seed is played the same everywhere.

    Exits 1 when one broke a promise, and prints the least of its steps that still do. Tells how many honest payments
    were wanted and how many succeeded, and exits 1 when too few did.

    Parameters
    ----------
    seeds
        How many.
    first_seed
        The first of them.
    minutes
        Stop after this time, whatever is left; without it, when all seeds are played.
    workers
        Processes that play at once; without it, one for each core.
    covered
        Name the transitions of the state machines that no seed took, and exit 1 if there are any and all
        seeds were played.
    """
    with optional_imports():  # they load the whole gateway
        from fuzz.simulation import seeds as simulations  # noqa: PLC0415
        from fuzz.simulation.judging import successes  # noqa: PLC0415

    if seeds < 1 or (minutes is not None and minutes <= 0):
        raise InputError("--seeds and --minutes must be above zero")
    processes_at_once = at_once(workers)
    limit_s = inf if minutes is None else 60 * minutes
    summary = simulations.run(
        range(first_seed, first_seed + seeds), seconds=limit_s, workers=processes_at_once
    )
    missing = _never_taken(summary)
    print("\n".join(_lines(summary, missing)))
    if covered:
        print(*(f"  never: {name}\n" for name in missing), sep="", end="")
    if summary.failed:
        _tell(summary.failed, processes_at_once)
    too_few = successes.too_few(summary.counts)
    if too_few:
        raise TooFewPaidError(f"the gateway refuses too much: {too_few[0]}")
    if covered and missing and summary.seeds == seeds:
        raise NotCoveredError(f"no seed took {len(missing)} of the state machines' transitions")


def _tell(failed: "Sequence[int]", workers: int) -> NoReturn:
    """Play them again, each with as few steps as still break a promise."""
    from fuzz.simulation import seeds as simulations  # noqa: PLC0415 - see above

    with simulations.processes(workers) as pool:
        for seed, told in zip(failed, pool.map(simulations.told, failed), strict=True):
            print(told or f"seed {seed} fails only beside others: it is no function of its seed")
    raise PromiseBrokenError(f"{len(failed)} seeds broke a promise")


def print_mutants(
    *names: str, first_seed: WholeNumber = 0, workers: MaybeWholeNumber = None
) -> None:
    """Disable one safety rule of the gateway at a time, and look for a simulation that fails.

    Exits 1 when none fails for some rule. Needs a checkout.

    Parameters
    ----------
    names
        Beginnings of names of mutants, such as "call again"; all without any.
    first_seed
        The first of the seeds to try.
    workers
        Processes that search at once; without it, one for each core.
    """
    with optional_imports():  # they load the whole gateway
        from fuzz.mutants import catalogue  # noqa: PLC0415
        from fuzz.simulation.seeds import processes  # noqa: PLC0415

    chosen = [name for name in catalogue.MUTANTS if not names or name.startswith(names)]
    if not chosen:
        raise InputError(f"no mutant has such a name; the names are {', '.join(catalogue.MUTANTS)}")
    alive = 0
    with processes(at_once(workers)) as pool:
        searches = [pool.submit(catalogue.search, name, first_seed) for name in chosen]
        for name, search in zip(chosen, searches, strict=True):
            seed = search.result()
            alive += seed is None
            caught = "LIVES" if seed is None else f"caught by seed {seed}"
            mutant = catalogue.MUTANTS[name]
            trap = f", trap {mutant.trap}" if mutant.trap else ""
            print(f"{name} (promise {mutant.promise}{trap}): {caught}", flush=True)
    if alive:
        raise PromiseBrokenError(f"{alive} mutants survive: no seed fails with them")


def at_once(workers: int | None) -> int:
    """How many processes to use: as many as asked for, or as there are cores. Raises InputError for none."""
    if workers is not None and workers < 1:
        raise InputError("--workers must be above zero")
    return workers or os.cpu_count() or 1


def _never_taken(summary: "Summary") -> list[str]:
    from fuzz.simulation.seeds import name_of  # noqa: PLC0415 - see above
    from fuzz.simulation.transitions import RARELY_TAKEN, every_transition  # noqa: PLC0415 - same

    expected = every_transition() - RARELY_TAKEN
    return sorted({name_of(one) for one in expected} - set(summary.transitions))


def _lines(summary: "Summary", missing: "Sequence[str]") -> list[str]:
    from fuzz.simulation.judging import successes  # noqa: PLC0415 - see above
    from fuzz.simulation.transitions import every_transition  # noqa: PLC0415 - same

    rate = summary.seeds / summary.seconds if summary.seconds else 0.0
    every = len(every_transition())
    return [
        f"{summary.seeds} seeds in {summary.seconds:.0f} s ({rate:.2f}/s), {len(summary.failed)} failed",
        f"{summary.rows} events committed",
        *(f"  {count:7} {name}" for name, count in sorted(summary.counts.items())),
        *map(str, successes.shares(summary.counts)),
        f"{every - len(missing)} of {every} transitions taken",
    ]
