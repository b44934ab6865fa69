"""What moved to `fuzz/known_addresses.py`, under its old name."""

from fuzz.known_addresses import grind_known, no_addresses

__all__ = ["grind_known", "no_addresses"]
