"""Every mutant, by name, and the search for seeds that catch one."""

from collections.abc import Mapping

from fuzz import (
    mutants_deciding,
    mutants_ecash,
    mutants_operating,
    mutants_paying,
    mutants_receiving,
    mutants_restoring,
    play,
)
from fuzz.mutant import SEEDS_MAX, Mutant, is_caught

MUTANTS: Mapping[str, Mutant] = {
    mutant.name: mutant
    for room in (
        mutants_paying,
        mutants_receiving,
        mutants_ecash,
        mutants_operating,
        mutants_restoring,
        mutants_deciding,
    )
    for mutant in room.MUTANTS
}


def search(name: str, first_seed: int = 0) -> int | None:
    """The first seed that catches the mutant of that name, None when none of so many does."""
    seeds = range(first_seed, first_seed + SEEDS_MAX)
    with play.silence():
        return next((seed for seed in seeds if is_caught(MUTANTS[name], seed)), None)
