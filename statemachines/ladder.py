"""A ladder of notes: with it, many payments of everyday size are funded at once, each by a note of its own.

A rung is a note that pays for one payment and leaves little change. There is one for each of the payments made last, so
none of as many at once waits for the change of another. Rungs are made of what a transaction leaves over anyhow,
and, when nothing is under way, by a transaction of their own (`Rebalance`). What they cost beyond the fewest
notes comes out of an allowance, which grows by a share of the fees of everything else: so no pattern of payments makes
the ladder cost more than that share. All of this is pure; amounts are msat.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from fedimint.mintv2 import selection
from statemachines.items import HeldNote
from statemachines.reserving import FederationFees, Plan, plan

#: So many payments are funded at the same time.
RUNGS: Final = 32
#: What is taken for an everyday payment before any was made.
EVERYDAY_MSAT: Final = 1_000_000
#: The ladder takes at most this part of what the wallet is worth: larger payments need notes too.
WORTH_DIVISOR: Final = 2
#: A note so many denominations above a rung, four times its worth, still stands for it.
LARGER_BY: Final = 2
#: The ladder is made anew once this many rungs are missing.
MISSING_MAX: Final = RUNGS // 2
#: What the ladder may cost ahead of payments, at most later, and for each msat of fees that everything else costs.
ALLOWANCE_AHEAD_MSAT: Final = 10_000
ALLOWANCE_MAX_MSAT: Final = 100_000
ALLOWANCE_DIVISOR: Final = 10


def grown(allowance_msat: int, fee_msat: int, ladder_msat: int) -> int:
    """The allowance after a transaction whose fees were `fee_msat`, of them `ladder_msat` for the ladder."""
    earned_msat = (fee_msat - ladder_msat) // ALLOWANCE_DIVISOR
    return min(ALLOWANCE_MAX_MSAT, allowance_msat + earned_msat) - ladder_msat


def rungs(fees: FederationFees, paid: Sequence[int], worth_msat: int) -> Counter[int]:
    """Denominations of the ladder for payments such as these (what notes had to bring), of a wallet worth so much."""
    known = tuple(paid) or (EVERYDAY_MSAT,)
    left_msat = worth_msat // WORTH_DIVISOR
    found = Counter[int]()
    for needed_msat in sorted(known[number % len(known)] for number in range(RUNGS)):
        rung = _rung(fees, needed_msat)
        if rung is None or 1 << rung > left_msat:
            break
        found[rung] += 1
        left_msat -= 1 << rung
    return found


def missing(
    fees: FederationFees,
    paid: Sequence[int],
    denominations: Iterable[int],
    claimed_msat: int = 0,
) -> tuple[int, ...]:
    """The rungs for which there is none of these notes, ascending, when so much is added to their worth."""
    held = Counter(denominations)
    wanted = rungs(fees, paid, _worth_msat(held) + claimed_msat)
    return tuple(sorted(_unmet(wanted, held).elements()))


def spare(
    fees: FederationFees, paid: Sequence[int], notes: Sequence[HeldNote]
) -> tuple[HeldNote, ...]:
    """The notes that no rung needs, ascending; without those that their fee eats up."""
    left = Counter(note.denomination for note in notes)
    _unmet(rungs(fees, paid, _worth_msat(left)), left)
    found = []
    for note in sorted(notes, key=lambda note: note.denomination):
        if left[note.denomination] and selection.net_msat(note.denomination, fees.mintv2) > 0:
            left[note.denomination] -= 1
            found.append(note)
    return tuple(found)


def with_rungs(
    plain: Plan,
    wanted: tuple[int, ...],
    allowance_msat: int,
    tweaks: int,
    make: Callable[[tuple[int, ...]], Plan],
) -> Plan:
    """What `make` plans with as many of the rungs wanted as allowance, beyond `plain`, and tweaks suffice for."""
    while wanted:
        planned = make(wanted)
        costs_msat = planned.fee_msat - plain.fee_msat
        if costs_msat <= allowance_msat and len(planned.denominations) <= tweaks:
            return planned
        wanted = wanted[: len(wanted) // 2]
    return plain


def breakable(
    fees: FederationFees, notes: Sequence[HeldNote], needed_msat: int, wanted: Sequence[int]
) -> HeldNote | None:
    """The smallest note that brings what is needed and all the rungs wanted; None when none does."""
    needed_msat += sum(selection.cost_msat(rung, fees.mintv2) for rung in wanted)
    large = [
        note for note in notes if selection.net_msat(note.denomination, fees.mintv2) >= needed_msat
    ]
    return min(large, key=lambda note: note.denomination, default=None)


def rebuilt(
    fees: FederationFees,
    paid: Sequence[int],
    notes: Sequence[HeldNote],
    allowance_msat: int,
    tweaks: int,
) -> Plan | None:
    """A transaction that turns one note into missing rungs; None when few are missing, or it would bring none.

    All its fees are the ladder's. The rungs that are there are left alone, so each such transaction leaves more of
    them, until few are missing.
    """
    denominations = [note.denomination for note in notes]
    wanted = missing(fees, paid, denominations)
    unneeded = spare(fees, paid, notes)
    if len(wanted) <= MISSING_MAX or not unneeded:
        return None
    source = breakable(fees, unneeded, 0, wanted) or unneeded[-1]
    nothing = Plan((), (), 0, 0)
    planned = with_rungs(
        nothing,
        wanted,
        allowance_msat,
        tweaks,
        lambda some: plan(fees, (), spends=(source,), wanted=some),
    )
    denominations.remove(source.denomination)
    after = missing(fees, paid, [*denominations, *planned.denominations])
    return planned if planned.spends and len(after) < len(wanted) else None


def _rung(fees: FederationFees, needed_msat: int) -> int | None:
    enough = (
        d for d in selection.DENOMINATIONS if selection.net_msat(d, fees.mintv2) >= needed_msat
    )
    return next(enough, None)


def _unmet(wanted: Counter[int], held: Counter[int]) -> Counter[int]:
    """The rungs for which no note is held; takes those of the others out of `held`."""
    unmet = Counter[int]()
    for rung in sorted(wanted.elements(), reverse=True):
        stand_in = next((d for d in range(rung, rung + LARGER_BY + 1) if held[d] > 0), None)
        if stand_in is None:
            unmet[rung] += 1
        else:
            held[stand_in] -= 1
    return unmet


def _worth_msat(held: Counter[int]) -> int:
    return sum(count << d for d, count in held.items())
