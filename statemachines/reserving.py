"""The arithmetic of a federation transaction: fees, notes to spend, notes to issue.

Amounts are msat. Every item costs its module's fee on its amount, on top of it (client.md 4.3).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from errors import FatalError
from fedimint.codec.wire_types import FeeConsensus
from fedimint.mintv2 import selection
from fedimint.mintv2.selection import InsufficientNotesError, Representation
from fedimint.transaction import MAX_TRANSACTION_BYTES
from statemachines.items import Claim, HeldNote, Output, PegOut

#: Bytes that a note takes in a transaction: one spent, with its signature, and one issued.
SPENT_NOTE_BYTES: Final = 155
ISSUED_NOTE_BYTES: Final = 72
#: Bytes kept for everything else: a contract that is claimed or funded, a peg-out.
OTHER_BYTES: Final = 1_000
#: So many leave room for change in every denomination.
SPENT_NOTES_MAX: Final = 250
#: A claim of more is not taken on: one transaction could not turn all of it into notes, and what it leaves is lost.
CLAIM_MAX_MSAT: Final = selection.MAX_ISSUED_MSAT


class FederationFees(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the federation charges for each item of a module, by its kind; None where it has no walletv2."""

    lnv2: FeeConsensus
    mintv2: FeeConsensus
    walletv2: FeeConsensus | None = None


class Plan(msgspec.Struct, frozen=True):
    """Notes to spend, denominations to issue, and the fees of both sides."""

    spends: tuple[HeldNote, ...]
    denominations: tuple[int, ...]
    input_fee_msat: int
    output_fee_msat: int

    @property
    def fee_msat(self) -> int:
        """Of both sides."""
        return self.input_fee_msat + self.output_fee_msat


def plan(
    fees: FederationFees,
    notes: Sequence[HeldNote],
    *,
    claims: Sequence[Claim] = (),
    spends: tuple[HeldNote, ...] = (),
    outputs: Sequence[Output] = (),
    exactly: tuple[int, ...] = (),
    wanted: Sequence[int] = (),
) -> Plan:
    """Balance a transaction: what is lacking comes from `notes`, what is left over becomes notes.

    These are of the denominations `wanted` as far as it goes, and for the rest as few as possible.

    `spends` are notes that go in anyhow, `exactly` denominations that come out anyhow. Raises
    InsufficientNotesError when all notes do not bring what is lacking, or no transaction has room for them. Where
    nothing must come out, nothing is lacking: a claim that its fee eats up is planned as it is and never paid for
    with notes, and of one above `CLAIM_MAX_MSAT` comes what one transaction can issue. So it is quick for any number.
    """
    brought_msat = sum(claim.amount_msat - claim_fee_msat(fees, claim) for claim in claims)
    brought_msat += sum(selection.net_msat(note.denomination, fees.mintv2) for note in spends)
    must_bring_msat = needed_msat(fees, outputs)
    must_bring_msat += sum(selection.cost_msat(d, fees.mintv2) for d in exactly)
    free = _without(notes, spends)
    chosen: tuple[HeldNote, ...] = ()
    if 0 < must_bring_msat > brought_msat:
        counts = selection.select_funding(_held(free), fees.mintv2, must_bring_msat - brought_msat)
        chosen = pick(free, counts)
        if len(chosen) > SPENT_NOTES_MAX:
            raise InsufficientNotesError(
                f"the wallet's notes are too small: {len(chosen)} would be spent at once"
            )
        brought_msat += sum(selection.net_msat(note.denomination, fees.mintv2) for note in chosen)
    all_spent = spends + chosen
    room = _room_for_notes(len(claims) + len(all_spent)) - len(exactly)
    change = _change(fees, wanted, max(0, brought_msat - must_bring_msat), room)
    if must_bring_msat and (room < 0 or change.dust_msat >= _smallest_note_msat(fees)):
        raise InsufficientNotesError(
            f"the wallet's notes are too small: {len(all_spent)} would be spent for {len(exactly)} others at once"
        )
    denominations = (*exactly, *change.denominations)
    input_fee_msat = sum(claim_fee_msat(fees, claim) for claim in claims)
    input_fee_msat += sum(fees.mintv2.fee_msat(note.amount_msat) for note in all_spent)
    issue_fee_msat = sum(fees.mintv2.fee_msat(1 << d) for d in denominations)
    return Plan(
        spends=all_spent,
        denominations=denominations,
        input_fee_msat=input_fee_msat,
        output_fee_msat=issue_fee_msat + sum(output_fee_msat(fees, out) for out in outputs),
    )


def needed_msat(fees: FederationFees, outputs: Sequence[Output]) -> int:
    """What outputs take out of a transaction, their fees included."""
    return sum(out.amount_msat + output_fee_msat(fees, out) for out in outputs)


def spendable_msat(fees: FederationFees, notes: Sequence[HeldNote]) -> int:
    """The most that one transaction can bring out of these notes, their fees paid."""
    worth = sorted(
        (selection.net_msat(note.denomination, fees.mintv2) for note in notes), reverse=True
    )
    return sum(max(0, net_msat) for net_msat in worth[:SPENT_NOTES_MAX])


def most_withdrawable_sat(
    fees: FederationFees, notes: Sequence[HeldNote], peg_out_fee_sat: int
) -> int:
    """The largest peg-out that these notes pay for at this miners' fee; 0 when they pay for none."""
    spendable = spendable_msat(fees, notes)
    low, high = 0, max(0, spendable // 1_000 - peg_out_fee_sat)
    while low < high:
        middle = (low + high + 1) // 2
        out = PegOut("", middle, peg_out_fee_sat)
        if out.amount_msat + output_fee_msat(fees, out) <= spendable:
            low = middle
        else:
            high = middle - 1
    return low


def halves_worth_issuing(
    fees: FederationFees, notes: tuple[HeldNote, ...]
) -> list[tuple[HeldNote, ...]]:
    """The halves of these notes that bring at least one note, fees paid; none of a single note."""
    middle = len(notes) // 2
    halves = [notes[:middle], notes[middle:]] if middle else []
    return [half for half in halves if plan(fees, (), spends=half).denominations]


def claim_fee_msat(fees: FederationFees, claim: Claim) -> int:
    """What the federation charges for an input."""
    return _of_module(fees, claim.module).fee_msat(claim.amount_msat)


def claim_worth_msat(fees: FederationFees, claim: Claim) -> int:
    """What a claim brings after the federation's fees; 0 when that is too little for the smallest note."""
    left_msat = claim.amount_msat - claim_fee_msat(fees, claim)
    return left_msat if left_msat >= _smallest_note_msat(fees) else 0


def output_fee_msat(fees: FederationFees, output: Output) -> int:
    """What the federation charges for an output."""
    return _of_module(fees, output.module).fee_msat(output.amount_msat)


def pick(notes: Sequence[HeldNote], counts: dict[int, int]) -> tuple[HeldNote, ...]:
    """The oldest notes, as many of each denomination as `counts` says."""
    left = dict(counts)
    picked = []
    for note in notes:
        if left.get(note.denomination, 0) > 0:
            left[note.denomination] -= 1
            picked.append(note)
    return tuple(picked)


def _room_for_notes(inputs: int) -> int:
    """How many notes a transaction with so many inputs may issue."""
    left_bytes = MAX_TRANSACTION_BYTES - OTHER_BYTES - inputs * SPENT_NOTE_BYTES
    return min(selection.MAX_ISSUED_NOTES, max(0, left_bytes // ISSUED_NOTE_BYTES))


def _change(
    fees: FederationFees, wanted: Sequence[int], amount_msat: int, room: int
) -> Representation:
    """Notes for what is left over, with those wanted; where room is scarce, the fewest."""
    room = max(0, room)
    with_wanted = selection.represent_with(amount_msat, Counter(wanted), fees.mintv2, room)
    if with_wanted.dust_msat < _smallest_note_msat(fees):
        return with_wanted
    return selection.represent_with(amount_msat, {}, fees.mintv2, room)


def _smallest_note_msat(fees: FederationFees) -> int:
    return selection.cost_msat(selection.SMALLEST_DENOMINATION, fees.mintv2)


def _without(notes: Sequence[HeldNote], taken: Sequence[HeldNote]) -> list[HeldNote]:
    nonces = {note.nonce for note in taken}
    return [note for note in notes if note.nonce not in nonces]


def _of_module(fees: FederationFees, kind: str) -> FeeConsensus:
    found: FeeConsensus | None = getattr(fees, kind)
    if found is None:
        raise FatalError(f"an item for a federation without a {kind} module")
    return found


def _held(notes: Sequence[HeldNote]) -> Counter[int]:
    return Counter(note.denomination for note in notes)
