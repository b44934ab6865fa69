"""Every mutant, by name, and the search for seeds that catch one."""

from collections.abc import Mapping

from fuzz.mutants import deciding, ecash, operating, paying, receiving, restoring
from fuzz.mutants.mutant import SEEDS_MAX, Mutant, is_caught
from fuzz.simulation import play

MUTANTS: Mapping[str, Mutant] = {
    mutant.name: mutant
    for room in (
        paying,
        receiving,
        ecash,
        operating,
        restoring,
        deciding,
    )
    for mutant in room.MUTANTS
}


def search(name: str, first_seed: int = 0) -> int | None:
    """The first seed that catches the mutant of that name, None when none of so many does."""
    seeds = range(first_seed, first_seed + SEEDS_MAX)
    with play.silence():
        return next((seed for seed in seeds if is_caught(MUTANTS[name], seed)), None)
