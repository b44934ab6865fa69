"""Selecting the notes to spend and to issue."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import InputError
from fedimint.codec.wire_types import FeeConsensus
from fedimint.mintv2 import selection
from fedimint.mintv2.selection import InsufficientNotesError

FEES = st.builds(
    FeeConsensus,
    base_msat=st.sampled_from([0, 1, 100, 511, 512, 5000]),
    parts_per_million=st.integers(0, 1000),
)
HELD = st.dictionaries(st.sampled_from(selection.DENOMINATIONS), st.integers(0, 9))
BASE_100 = FeeConsensus(base_msat=100, parts_per_million=0)


def _brings(chosen: dict[int, int], fee: FeeConsensus) -> int:
    return sum(count * selection.net_msat(d, fee) for d, count in chosen.items())


def _costs(denominations: tuple[int, ...], fee: FeeConsensus) -> int:
    return sum(selection.cost_msat(d, fee) for d in denominations)


@settings(deadline=None)
@given(held=HELD, fee=FEES, needed_msat=st.integers(0, 1 << 43))
def test_funding_covers_the_need_or_all_notes_would_not(
    held: dict[int, int], fee: FeeConsensus, needed_msat: int
) -> None:
    if selection.spendable_msat(held, fee) < needed_msat:
        with pytest.raises(InsufficientNotesError):
            selection.select_funding(held, fee, needed_msat)
        return
    chosen = selection.select_funding(held, fee, needed_msat)
    assert all(0 < count <= held[d] for d, count in chosen.items())
    brought_msat = _brings(chosen, fee)
    assert brought_msat >= needed_msat
    for d in chosen:
        assert brought_msat - selection.net_msat(d, fee) < needed_msat, "a note is needless"


@settings(deadline=None)
@given(held=HELD, fee=FEES, data=st.data())
def test_a_need_within_reach_is_always_funded(
    held: dict[int, int], fee: FeeConsensus, data: st.DataObject
) -> None:
    most_msat = selection.spendable_msat(held, fee)
    needed_msat = data.draw(st.integers(0, most_msat))
    assert _brings(selection.select_funding(held, fee, needed_msat), fee) >= needed_msat
    assert _brings(selection.select_funding(held, fee, most_msat), fee) == most_msat


@settings(deadline=None)
@given(held=HELD, fee=FEES, remaining_msat=st.integers(0, 1 << 43), target=st.integers(0, 5))
def test_issued_notes_fees_and_dust_are_the_amount(
    held: dict[int, int], fee: FeeConsensus, remaining_msat: int, target: int
) -> None:
    issued = selection.represent_amount(remaining_msat, held, fee, target)
    assert _costs(issued.denominations, fee) + issued.dust_msat == remaining_msat
    assert 0 <= issued.dust_msat < selection.cost_msat(selection.SMALLEST_DENOMINATION, fee)
    assert list(issued.denominations) == sorted(issued.denominations)
    assert set(issued.denominations) <= set(selection.DENOMINATIONS)


@settings(deadline=None)
@given(held=HELD, fee=FEES, needed_msat=st.integers(0, 1 << 43))
def test_funding_and_change_conserve_value(
    held: dict[int, int], fee: FeeConsensus, needed_msat: int
) -> None:
    try:
        chosen = selection.select_funding(held, fee, needed_msat)
    except InsufficientNotesError:
        return
    left = {d: held[d] - chosen.get(d, 0) for d in held}
    change = selection.represent_amount(_brings(chosen, fee) - needed_msat, left, fee)
    fees_msat = sum(count * fee.fee_msat(1 << d) for d, count in chosen.items())
    fees_msat += sum(fee.fee_msat(1 << d) for d in change.denominations)
    spent_msat = sum(count << d for d, count in chosen.items())
    issued_msat = sum(1 << d for d in change.denominations)
    assert spent_msat == needed_msat + issued_msat + fees_msat + change.dust_msat


def test_small_denominations_are_filled_to_the_target_first() -> None:
    issued = selection.represent_amount(10_000, {9: 2, 10: 3}, BASE_100)
    assert issued.denominations == (9, 9, 11, 11, 11, 11)
    assert issued.dust_msat == 10_000 - 2 * 612 - 4 * 2148


def test_one_large_note_is_broken_when_small_ones_do_not_suffice() -> None:
    held = {9: 1, 20: 2}
    assert selection.select_funding(held, BASE_100, 412) == {9: 1}
    assert selection.select_funding(held, BASE_100, 413) == {20: 1}
    assert selection.select_funding(held, BASE_100, 0) == {}


def test_notes_that_their_fee_eats_up_are_never_spent() -> None:
    fee = FeeConsensus(base_msat=1024, parts_per_million=0)
    assert selection.spendable_msat({9: 5, 10: 5}, fee) == 0
    with pytest.raises(InsufficientNotesError):
        selection.select_funding({9: 5, 10: 5}, fee, 1)
    assert selection.consolidate({9: 9, 11: 9}, fee) == {11: 6}


@settings(deadline=None)
@given(held=HELD, fee=FEES, max_notes=st.integers(0, 20))
def test_consolidation_leaves_the_target_and_respects_its_bound(
    held: dict[int, int], fee: FeeConsensus, max_notes: int
) -> None:
    chosen = selection.consolidate(held, fee, max_notes=max_notes)
    assert sum(chosen.values()) <= max_notes
    for d, count in chosen.items():
        assert held[d] > 2 * selection.TARGET_PER_DENOMINATION
        assert 0 < count <= held[d] - selection.TARGET_PER_DENOMINATION


def test_twice_the_target_is_left_alone() -> None:
    assert selection.consolidate({9: 6, 10: 7, 11: 3}, BASE_100) == {10: 4}


def test_too_few_notes_to_consolidate_are_left_alone() -> None:
    held = {9: 7, 10: 8}
    assert selection.consolidate(held, BASE_100, least_notes=9) == {9: 4, 10: 5}
    assert selection.consolidate(held, BASE_100, least_notes=10) == {}


@settings(deadline=None)
@given(held=HELD, amount_msat=st.integers(0, 1 << 43))
def test_exact_selection_is_exact(held: dict[int, int], amount_msat: int) -> None:
    chosen = selection.select_exact(held, amount_msat)
    if chosen is not None:
        assert sum(count << d for d, count in chosen.items()) == amount_msat
        assert all(0 < count <= held[d] for d, count in chosen.items())


@settings(deadline=None)
@given(held=HELD, data=st.data())
def test_exact_selection_finds_every_sum_of_notes(
    held: dict[int, int], data: st.DataObject
) -> None:
    taken = {d: data.draw(st.integers(0, count)) for d, count in held.items()}
    assert selection.select_exact(held, sum(count << d for d, count in taken.items())) is not None


@settings(deadline=None)
@given(amount_msat=st.integers(0, 1 << 45))
def test_amounts_are_rounded_up_to_what_notes_can_express(amount_msat: int) -> None:
    rounded_msat = selection.round_up_msat(amount_msat)
    assert 0 <= rounded_msat - amount_msat < 512
    denominations = selection.binary_denominations(rounded_msat)
    assert sum(1 << d for d in denominations) == rounded_msat
    assert list(denominations) == sorted(denominations)


def test_negative_and_uneven_amounts_are_refused() -> None:
    with pytest.raises(InputError):
        selection.select_funding({9: 1}, BASE_100, -1)
    with pytest.raises(InputError):
        selection.represent_amount(-1, {}, BASE_100)
    with pytest.raises(InputError):
        selection.select_exact({}, -1)
    for amount_msat in (-512, 513):
        with pytest.raises(InputError):
            selection.binary_denominations(amount_msat)
