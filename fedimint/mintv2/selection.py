"""Selects the mintv2 notes to spend and to issue: integers only, amounts in msat.

`held` counts notes by denomination; a note of denomination d is worth 2^d msat. Every input and
output costs the mint's fee on its value, so a note brings its value less the fee and takes its
value plus the fee. Selection is a client's own affair (fedimint-mintv2-client src/lib.rs does it in
another order); what is kept is the range of denominations and the target for each.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from errors import ConflictError, InputError
from fedimint.codec.wire_types import LARGEST_DENOMINATION, FeeConsensus

SMALLEST_DENOMINATION: Final = 9
DENOMINATIONS: Final = range(SMALLEST_DENOMINATION, LARGEST_DENOMINATION + 1)
TARGET_PER_DENOMINATION: Final = 3

# An input takes about 155 bytes of the 50,000 that a transaction may have.
MAX_CONSOLIDATED_NOTES: Final = 100
# An output takes about 70 bytes.
MAX_ISSUED_NOTES: Final = 250
MAX_ISSUED_MSAT: Final = 100 << LARGEST_DENOMINATION
"""What so many notes always express: 100 of the largest, up to 33 that a number has, 99 that fill up to the target."""


class InsufficientNotesError(ConflictError):
    """The notes held do not bring what is needed."""


class Representation(msgspec.Struct, frozen=True):
    """Denominations to issue, ascending, and what is left because no note is that small."""

    denominations: tuple[int, ...]
    dust_msat: int


def net_msat(denomination: int, fee: FeeConsensus) -> int:
    """What a note brings into a transaction; not positive when its fee eats it up."""
    return (1 << denomination) - fee.fee_msat(1 << denomination)


def cost_msat(denomination: int, fee: FeeConsensus) -> int:
    """What a note takes out of a transaction when it is issued."""
    return (1 << denomination) + fee.fee_msat(1 << denomination)


def spendable_msat(held: Mapping[int, int], fee: FeeConsensus) -> int:
    """The most that the notes held can bring, fees paid."""
    return sum(count * max(0, net_msat(d, fee)) for d, count in held.items())


def select_funding(held: Mapping[int, int], fee: FeeConsensus, needed_msat: int) -> dict[int, int]:
    """Counts of notes by denomination that bring at least `needed_msat`, fees paid.

    From the largest down, whatever fits is taken; what then still lacks is covered by the smallest
    note left, and notes it made needless go back. Raises InsufficientNotesError only when all notes
    together do not suffice, InputError for a negative need.
    """
    if needed_msat < 0:
        raise InputError(f"a transaction cannot need {needed_msat} msat")
    nets = {d: net_msat(d, fee) for d in held if held[d] > 0}
    usable = sorted((d for d in nets if nets[d] > 0), reverse=True)
    chosen: dict[int, int] = {}
    lacking_msat = needed_msat
    for d in usable:
        count = min(held[d], lacking_msat // nets[d])
        if count:
            chosen[d] = count
            lacking_msat -= count * nets[d]
    if lacking_msat == 0:
        return chosen
    # Any note left over was left because it alone exceeded what was lacking.
    left = [d for d in usable if held[d] > chosen.get(d, 0)]
    if not left:
        raise InsufficientNotesError(
            f"{needed_msat} msat are needed, the notes bring {needed_msat - lacking_msat} msat"
        )
    surplus_msat = nets[left[-1]] - lacking_msat
    for d in list(chosen):
        returned = min(chosen[d], surplus_msat // nets[d])
        surplus_msat -= returned * nets[d]
        chosen[d] -= returned
    chosen[left[-1]] = chosen.get(left[-1], 0) + 1
    return {d: count for d, count in chosen.items() if count}


def represent_amount(
    remaining_msat: int,
    held: Mapping[int, int],
    fee: FeeConsensus,
    target: int = TARGET_PER_DENOMINATION,
    max_notes: int = MAX_ISSUED_NOTES,
) -> Representation:
    """Notes to issue for an amount, their fees included; at most `max_notes`, whatever the amount.

    Small denominations are filled up to the target first, so that later payments find change; the
    rest goes into as few notes as possible. The dust is less than the cost of the smallest note, unless
    the notes were too few for the amount: up to `MAX_ISSUED_MSAT`, `MAX_ISSUED_NOTES` never are.
    """
    wanted = {d: max(0, target - held.get(d, 0)) for d in DENOMINATIONS}
    return represent_with(remaining_msat, wanted, fee, max_notes)


def represent_with(
    remaining_msat: int,
    wanted: Mapping[int, int],
    fee: FeeConsensus,
    max_notes: int = MAX_ISSUED_NOTES,
) -> Representation:
    """As `represent_amount`, but first come the notes `wanted`, counted by denomination, the smallest first."""
    if remaining_msat < 0:
        raise InputError(f"{remaining_msat} msat cannot be represented in notes")
    issued: list[int] = []
    for d in DENOMINATIONS:
        room = min(wanted.get(d, 0), max_notes - len(issued))
        count = min(room, remaining_msat // cost_msat(d, fee))
        issued += [d] * count
        remaining_msat -= count * cost_msat(d, fee)
    for d in reversed(DENOMINATIONS):
        count = min(remaining_msat // cost_msat(d, fee), max_notes - len(issued))
        issued += [d] * count
        remaining_msat -= count * cost_msat(d, fee)
    return Representation(tuple(sorted(issued)), remaining_msat)


def consolidate(
    held: Mapping[int, int],
    fee: FeeConsensus,
    target: int = TARGET_PER_DENOMINATION,
    max_notes: int = MAX_CONSOLIDATED_NOTES,
    least_notes: int = 1,
    *,
    kept: Mapping[int, int] = MappingProxyType({}),
) -> dict[int, int]:
    """Counts of notes to turn into larger ones: where more than twice the target is held, all
    beyond the target, the smallest first. Empty when they would be fewer than `least_notes`.

    Of a denomination in `kept`, counted by denomination, the target is at least that many.

    Fees keep notes from adding up to a larger one: what comes of a few is nearly as many again.
    """
    chosen: dict[int, int] = {}
    for d in sorted(held):
        least = max(target, kept.get(d, 0))
        if held[d] > 2 * least and net_msat(d, fee) > 0:
            count = min(held[d] - least, max_notes)
            if count:
                chosen[d] = count
                max_notes -= count
    return chosen if sum(chosen.values()) >= least_notes else {}


def select_exact(held: Mapping[int, int], amount_msat: int) -> dict[int, int] | None:
    """Counts of notes whose face values are exactly this amount, or None when there are none such.

    For ecash given from hand to hand, where no fee is due.
    """
    if amount_msat < 0:
        raise InputError(f"{amount_msat} msat cannot be represented in notes")
    chosen: dict[int, int] = {}
    for d in sorted(held, reverse=True):
        count = min(held[d], amount_msat >> d)
        if count > 0:
            chosen[d] = count
            amount_msat -= count << d
    return None if amount_msat else chosen


def round_up_msat(amount_msat: int) -> int:
    """The next amount that notes can express: a multiple of the smallest denomination."""
    return -(-amount_msat >> SMALLEST_DENOMINATION) << SMALLEST_DENOMINATION


def binary_denominations(amount_msat: int) -> tuple[int, ...]:
    """The fewest notes of exactly this face value, ascending.

    Raises InputError if it has none, or is above `MAX_ISSUED_MSAT`.
    """
    if not 0 <= amount_msat <= MAX_ISSUED_MSAT or amount_msat % (1 << SMALLEST_DENOMINATION):
        raise InputError(f"notes cannot express {amount_msat} msat exactly")
    largest, rest_msat = divmod(amount_msat, 1 << LARGEST_DENOMINATION)
    small = tuple(d for d in DENOMINATIONS if rest_msat >> d & 1)
    return small + (LARGEST_DENOMINATION,) * largest
