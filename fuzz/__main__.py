"""`python -m fuzz`: play simulations by seed. Exit status 1 when a promise was broken."""

import argparse
import os
import sys

from fuzz import mutants, play, seeds
from fuzz.seeds import Summary
from fuzz.transitions import every_transition

#: Sets and dicts of text must come in one order for a seed to mean one run.
_HASH_SEED = "0"


def main() -> int:
    """Read the command line, play, and tell."""
    if os.environ.get("PYTHONHASHSEED") != _HASH_SEED:
        os.environ["PYTHONHASHSEED"] = _HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", "fuzz", *sys.argv[1:]])  # noqa: S606 - ourselves
    arguments = _parser().parse_args()
    play.be_silent()
    if arguments.mutants:
        return _search_mutants(arguments.first_seed)
    summary = seeds.run(
        arguments.first_seed,
        arguments.seeds,
        seconds=60.0 * arguments.minutes,
        workers=arguments.workers,
    )
    sys.stdout.write("\n".join(_told(summary, covered=arguments.covered)) + "\n")
    for seed in summary.failed:
        failure = seeds.shrink(seed)
        if failure is None:
            sys.stdout.write(
                f"seed {seed} fails only beside other seeds: it is no function of its seed\n"
            )
        else:
            sys.stdout.write(seeds.described(failure) + "\n")
    return 1 if summary.failed else 0


def _search_mutants(first_seed: int) -> int:
    """Find a seed that catches each mutant, anew; 1 when one of them lives."""
    alive = 0
    for mutant in mutants.MUTANTS.values():
        seed = mutants.search(mutant, first_seed)
        alive += seed is None
        told = "LIVES" if seed is None else f"caught by seed {seed}"
        sys.stdout.write(f"{mutant.name} (trap {mutant.trap}): {told}\n")
        sys.stdout.flush()
    return 1 if alive else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after that time")
    parser.add_argument("--workers", type=int, default=seeds.cores(), help="processes")
    parser.add_argument("--covered", action="store_true", help="name transitions never taken")
    parser.add_argument("--mutants", action="store_true", help="search seeds that catch mutants")
    return parser


def _told(summary: Summary, *, covered: bool) -> list[str]:
    rate = summary.seeds / summary.seconds if summary.seconds else 0.0
    every = {seeds.name_of(transition) for transition in every_transition()}
    missing = sorted(every - set(summary.transitions))
    lines = [
        f"{summary.seeds} seeds in {summary.seconds:.0f} s ({rate:.2f}/s), {len(summary.failed)} failed",
        f"{summary.rows} events committed",
        *(f"  {count:7} {name}" for name, count in sorted(summary.counts.items())),
        f"{len(every) - len(missing)} of {len(every)} transitions taken",
    ]
    return [*lines, *(f"  never: {name}" for name in missing)] if covered else lines


if __name__ == "__main__":
    sys.exit(main())
