"""What moved to `fuzz/simulation.py`, under its old name."""

from fuzz.simulation import (
    FEE,
    START_UNIX_S,
    WORDS,
    CrashAt,
    SeededRandomness,
    SimulatedCrash,
    now_unix_s,
    ports,
    run_gateway,
    run_seeded,
    unground,
)

__all__ = [
    "FEE",
    "START_UNIX_S",
    "WORDS",
    "CrashAt",
    "SeededRandomness",
    "SimulatedCrash",
    "now_unix_s",
    "ports",
    "run_gateway",
    "run_seeded",
    "unground",
]
