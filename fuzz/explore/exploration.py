"""Explores scenes by name, and describes what was seen."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from fuzz.explore.model import Model
from fuzz.explore.parts import without_event_loop
from fuzz.explore.scenes import SCENES
from fuzz.explore.search import Limits, Report, explore
from fuzz.explore.world import Bounds
from fuzz.simulation import play


def explored(
    name: str,
    bounds: Bounds,
    limits: Limits = Limits(),  # noqa: B008 - it is a constant
    mutated: AbstractContextManager[object] | None = None,
) -> Report:
    """Explore the scene of that name, with a rule of the gateway taken out while `mutated` lasts."""
    with play.silence(), mutated or nullcontext(), without_event_loop():
        return explore(Model(SCENES[name], bounds), limits)


def described(name: str, report: Report) -> Sequence[str]:
    """What a search saw, in lines for people."""
    rate = report.transitions / report.seconds if report.seconds else 0.0
    lines = [
        f"{name}: {report.states:,} states, {report.transitions:,} transitions, depth {report.depth}",
        f"  in {report.seconds:.0f} s, {rate:,.0f} transitions/s",
    ]
    if report.broken:
        lines += [f"  broken   {promise}" for promise in report.broken]
        lines += [f"  {number:3}  {what}" for number, what in enumerate(report.trace, 1)]
    elif report.unseen:
        lines.append(f"  {report.unseen:,} states were not explored: give it more time")
    else:
        lines.append("  nothing within the bounds is left out")
    return lines
