"""Whole gateways simulated by seed, as a target of the fuzzer."""

from concurrent.futures import ProcessPoolExecutor
from functools import cache

from fuzz.simulation import seeds


def check(seed: int) -> None:
    """Play a seed. Raises AssertionError with what `gatewayd fuzz sim` tells of one that breaks a promise."""
    told = _process().submit(seeds.told, seed).result()
    assert told is None, told


@cache
def _process() -> ProcessPoolExecutor:
    return seeds.processes(1)
