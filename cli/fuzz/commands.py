"""`gatewayd fuzz`: looks for values that break a property of the gateway, and replays what was found."""

import time
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import App, Parameter

from cli.fuzz.explorations import print_explorations
from cli.fuzz.simulations import print_mutants, print_simulations
from cli.help_pages import add_help
from cli.numbers import MaybeDecimalNumber, WholeNumber
from cli.optional import optional_imports
from errors import GatewayError, InputError

if TYPE_CHECKING:
    from fuzz.campaign import Case
    from fuzz.targets import Target

fuzz_app = App(
    name="fuzz",
    help="Look for inputs that break a promise, and replay them.",
    help_formatter="plain",
    result_action="return_value",
)
add_help(fuzz_app, "fuzz", program="cli.gatewayd.program")
fuzz_app.command(print_simulations, name="sim")
fuzz_app.command(print_mutants, name="mutants")
fuzz_app.command(print_explorations, name="explore")


class FuzzFoundError(GatewayError):
    """Something was found, which is what the exit code of a fuzzer tells."""


class Summary(msgspec.Struct, frozen=True):
    """What `--json` prints, once at the end; `cases` are the files written."""

    played: int
    failed: int
    seconds: float
    cases: tuple[str, ...]


@fuzz_app.default
def fuzz(
    *,
    seeds: WholeNumber = 100,
    first_seed: WholeNumber = 0,
    minutes: MaybeDecimalNumber = None,
    scenario: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    output: Path = Path("fuzz-cases"),
    replay: Path | None = None,
    json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Play every scenario with so many seeds; a seed is played the same everywhere.

    Exits 1 when a property was broken. Nothing is sent anywhere, and no gateway is touched.

    Parameters
    ----------
    seeds
        How many seeds each scenario is played with.
    first_seed
        The first of them.
    minutes
        Stop after this time, whatever is left; without it, when all seeds are played.
    scenario
        Beginnings of names of scenarios, such as decoder or guardian/version; all without any. May be repeated.
    output
        Folder for files of what failed.
    replay
        Play what such a file holds, and nothing else.
    json
        Print one JSON document at the end.
    """
    with optional_imports():
        from fuzz import campaign  # noqa: PLC0415 - Hypothesis is loaded by the fuzzer alone
        from fuzz.targets import TARGETS  # noqa: PLC0415 - same
    if replay is not None:
        case = campaign.Case.read(replay)
        if case.target not in TARGETS:
            raise InputError(f"this version has no scenario {case.target}")
        _tell_replay(campaign.replay(TARGETS[case.target], case), case.target)
        return
    if seeds < 1 or first_seed < 0 or (minutes is not None and minutes <= 0):
        raise InputError(
            "--seeds and --minutes must be above zero, and --first-seed must not be negative"
        )
    targets = campaign.chosen(TARGETS, scenario)
    summary = _run(targets, range(first_seed, first_seed + seeds), minutes, output, quiet=json)
    if json:
        print(msgspec.json.encode(summary).decode())
    else:
        print(
            f"{summary.played} inputs to {len(targets)} scenarios in {summary.seconds:.0f} s, {summary.failed} failed"
        )
    if summary.failed:
        raise FuzzFoundError(f"{summary.failed} scenarios failed; see {output}")


def _run(
    targets: "Mapping[str, Target]",
    seeds: range,
    minutes: float | None,
    output: Path,
    *,
    quiet: bool,
) -> Summary:
    from fuzz import campaign  # noqa: PLC0415 - see above

    began_s = time.monotonic()
    deadline_s = inf if minutes is None else began_s + 60 * minutes
    played = 0
    cases: list[str] = []
    for case in campaign.run(targets, seeds, deadline_s=deadline_s):
        played += 1
        if case is not None:
            cases.append(str(case.write(output)))
            if not quiet:
                print(
                    f"{case.target}: {case.error}\n  play it again: gatewayd fuzz --replay {cases[-1]}"
                )
    return Summary(played, len(cases), round(time.monotonic() - began_s, 1), tuple(cases))


def _tell_replay(again: "Case | None", target: str) -> None:
    if again is None:
        print(f"{target}: the property holds")
        return
    print(again.trace, end="")
    raise FuzzFoundError(f"{target} still fails: {again.error}")
