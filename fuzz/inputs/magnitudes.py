"""Bounds of the numbers in a decoded value, by the units in the names of fields."""

from collections.abc import Iterator
from typing import Any

import msgspec

from fedimint.codec.wire_types import LARGEST_DENOMINATION, MOST_MSAT, MOST_SAT

_U64_MAX = (1 << 64) - 1
#: Bits of an invoice, of any number.
_NO_NUMBERS = frozenset({"features"})


def check_numbers(value: Any) -> None:
    """Raise AssertionError for a number that JSON, and so the log, could not hold, or that is more than there is."""
    for problem in absurd_numbers(value):
        raise AssertionError(problem)


def absurd_numbers(value: Any) -> Iterator[str]:
    """What `check_numbers` has against it, number by number."""
    for name, number in _numbers("", value):
        if not 0 <= number <= _most(name):
            yield f"{name or 'it'} is {number}"


def _most(name: str) -> int:
    if name.endswith("_msat"):
        return MOST_MSAT
    if name.endswith("_sat"):
        return MOST_SAT
    return LARGEST_DENOMINATION if name == "denomination" else _U64_MAX


def _numbers(name: str, value: Any) -> Iterator[tuple[str, int]]:
    """All integers within, by the name of their field."""
    if isinstance(value, int):
        yield name, value
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            if field not in _NO_NUMBERS:
                yield from _numbers(field, getattr(value, field))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(name, key)
            yield from _numbers(name, inner)
    elif isinstance(value, tuple | list | set):
        for inner in value:
            yield from _numbers(name, inner)
