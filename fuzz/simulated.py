"""Whole gateways simulated by seed, as a target of the fuzzer."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import cache

from fuzz import play, seeds


def check(seed: int) -> None:
    """Play a seed. Raises AssertionError with what `python -m fuzz` tells of one that breaks a promise."""
    told = _process().submit(_problems, seed).result()
    assert told is None, told


def _problems(seed: int) -> str | None:
    play.be_silent()
    failure = seeds.shrink(seed)
    return None if failure is None else seeds.described(failure)


@cache
def _process() -> ProcessPoolExecutor:
    """One process in which sets and dicts of text have one order, as a run by its seed needs."""
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    os.environ["PYTHONHASHSEED"] = "0"  # read when a process starts: of ours, only those to come
    pool.submit(os.getpid).result()
    return pool
