"""`gatewayd fuzz explore`: every interleaving of one payment up to a bound."""

from concurrent.futures import ProcessPoolExecutor
from math import inf
from typing import Annotated

from cyclopts import Parameter

from cli.fuzz.simulations import PromiseBrokenError, at_once
from cli.numbers import MaybeDecimalNumber, MaybeWholeNumber, WholeNumber
from cli.optional import optional_imports
from errors import InputError


def print_explorations(
    *names: str,
    crashes: WholeNumber = 1,
    losses: WholeNumber = 1,
    orders: WholeNumber = 1,
    restores: WholeNumber = 0,
    minutes: MaybeDecimalNumber = None,
    states: MaybeWholeNumber = None,
    workers: MaybeWholeNumber = None,
    whole: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Search every interleaving of one payment for one that breaks a promise, nearest first.

    The gateway's own code is played beside an abstract node, federation and operator; time moves across the edges
    that matter. Exits 1 when a promise was broken, and prints the shortest path there. What goes wrong on one path
    is bounded by the numbers below.

    Parameters
    ----------
    names
        Beginnings of names of payments, such as "receive" or "swap"; all without any.
    crashes
        How often the process dies, at any moment, and starts again at any other.
    losses
        How many answers are lost, come late, or leave a call in transit.
    orders
        How often the operator leaves, joins again, or switches receiving off or on.
    restores
        How often the log is lost at any moment, and a backup of any older one goes on in its place.
    minutes
        Stop after this time for each payment, whatever is left.
    states
        Stop after so many states of each payment; each takes about 1 KB of memory.
    workers
        Processes that search at once; without it, one for each core.
    whole
        Exit 1 also when something within the bounds was left out.
    """
    with optional_imports():  # they load the whole gateway
        from fuzz.explore.exploration import described, explored  # noqa: PLC0415
        from fuzz.explore.scenes import SCENES  # noqa: PLC0415
        from fuzz.explore.search import Limits  # noqa: PLC0415
        from fuzz.explore.world import Bounds  # noqa: PLC0415
        from fuzz.simulation.seeds import processes  # noqa: PLC0415

    bounds = Bounds(crashes, losses, orders, restores)
    if (
        min(bounds) < 0
        or (minutes is not None and minutes <= 0)
        or (states is not None and states < 1)
    ):
        raise InputError(
            "bounds must not be negative, and --minutes and --states must be above zero"
        )
    chosen = [name for name in SCENES if not names or name.startswith(names)]
    if not chosen:
        raise InputError(f"no payment has such a name; the names are {', '.join(SCENES)}")
    limits = Limits(states or 1 << 62, inf if minutes is None else 60 * minutes)
    print(f"on one path at most: {_told(bounds)}")
    broken = unseen = 0
    pool: ProcessPoolExecutor
    with processes(at_once(workers)) as pool:
        searches = [pool.submit(explored, name, bounds, limits) for name in chosen]
        for name, search in zip(chosen, searches, strict=True):
            report = search.result()
            print(*described(name, report), sep="\n", flush=True)
            broken += bool(report.broken)
            unseen += report.unseen
    if broken:
        raise PromiseBrokenError(f"{broken} payments break a promise")
    if whole and unseen:
        raise PromiseBrokenError(f"{unseen} states within the bounds were not explored")


def _told(bounds: tuple[int, ...]) -> str:
    names = "crashes", "answers lost or late", "orders of the operator", "restores of a backup"
    return ", ".join(f"{number} {name}" for number, name in zip(bounds, names, strict=True))
