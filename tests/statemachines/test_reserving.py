"""The arithmetic of transactions: balanced, fees of every item paid, nothing spent that need not be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import FatalError
from fedimint.codec.wire_types import FeeConsensus
from fedimint.mintv2.selection import InsufficientNotesError
from fuzz.machines.scene import BITCOIN_FEES, FEES, FREE, PREIMAGE, note
from statemachines import reserving
from statemachines.items import (
    Claim,
    ContractClaim,
    DepositClaim,
    ForeignNote,
    FundedContract,
    HeldNote,
    IncomingRefund,
    Output,
    PegOut,
)
from statemachines.reserving import (
    SPENT_NOTES_MAX,
    FederationFees,
    Plan,
    claim_fee_msat,
    claim_worth_msat,
    most_withdrawable_sat,
    output_fee_msat,
    plan,
    spendable_msat,
)

_FEE = st.builds(FeeConsensus, st.integers(0, 5_000), st.integers(0, 5_000))
_FEES = st.builds(FederationFees, lnv2=_FEE, mintv2=_FEE, walletv2=_FEE)
_NOTES = st.lists(st.integers(9, 25), max_size=40).map(
    lambda denominations: tuple(note(f"{n}", d) for n, d in enumerate(denominations))
)
_CLAIMS: st.SearchStrategy[Claim] = st.one_of(
    st.integers(1, 10_000_000).map(lambda msat: ContractClaim("11", 0, msat, PREIMAGE)),
    st.integers(1, 10_000_000).map(lambda msat: IncomingRefund("11", 0, msat, "d0")),
    st.integers(1, 10_000).map(lambda sat: DepositClaim(0, 0, sat + 100, 100)),
    st.integers(9, 25).map(lambda denomination: ForeignNote(denomination, "n")),
)
_OUTPUTS: st.SearchStrategy[Output] = st.one_of(
    st.integers(1, 10_000_000).map(lambda msat: FundedContract("c0", msat)),
    st.integers(1, 10_000).map(lambda sat: PegOut("", sat, 100)),
)


def _left_over_msat(
    planned: Plan, claims: tuple[Claim, ...] = (), outputs: tuple[Output, ...] = ()
) -> int:
    """What goes in less what comes out less fees, which the federation must not find negative."""
    in_msat = sum(item.amount_msat for item in (*claims, *planned.spends))
    out_msat = sum(output.amount_msat for output in outputs)
    out_msat += sum(1 << denomination for denomination in planned.denominations)
    return in_msat - out_msat - planned.input_fee_msat - planned.output_fee_msat


def _check_fees(
    fees: FederationFees, planned: Plan, claims: tuple[Claim, ...], outputs: tuple[Output, ...]
) -> None:
    in_msat = sum(claim_fee_msat(fees, claim) for claim in claims)
    in_msat += sum(fees.mintv2.fee_msat(each.amount_msat) for each in planned.spends)
    out_msat = sum(output_fee_msat(fees, output) for output in outputs)
    out_msat += sum(fees.mintv2.fee_msat(1 << d) for d in planned.denominations)
    assert (planned.input_fee_msat, planned.output_fee_msat) == (in_msat, out_msat)


@given(_FEES, _NOTES, _OUTPUTS)
def test_an_output_is_paid_with_its_fees_or_not_at_all(
    fees: FederationFees, notes: tuple[HeldNote, ...], output: Output
) -> None:
    needed_msat = output.amount_msat + output_fee_msat(fees, output)
    if spendable_msat(fees, notes) < needed_msat:
        with pytest.raises(InsufficientNotesError):
            plan(fees, notes, outputs=(output,))
        return
    planned = plan(fees, notes, outputs=(output,))
    assert set(planned.spends) <= set(notes)
    assert len(set(planned.spends)) == len(planned.spends)
    smallest_msat = 512 + fees.mintv2.fee_msat(512)
    assert 0 <= _left_over_msat(planned, outputs=(output,)) < smallest_msat
    _check_fees(fees, planned, (), (output,))


@given(_FEES, _NOTES, st.lists(_CLAIMS, min_size=1, max_size=4).map(tuple))
def test_claims_spend_no_note_whatever_they_bring(
    fees: FederationFees, notes: tuple[HeldNote, ...], claims: tuple[Claim, ...]
) -> None:
    planned = plan(fees, notes, claims=claims)
    assert planned.spends == ()
    worth_msat = sum(claim.amount_msat - claim_fee_msat(fees, claim) for claim in claims)
    left_over_msat = _left_over_msat(planned, claims)
    if worth_msat < 0:
        assert (planned.denominations, left_over_msat) == ((), worth_msat)
    else:
        assert 0 <= left_over_msat < 512 + fees.mintv2.fee_msat(512)
    _check_fees(fees, planned, claims, ())


@given(_FEES, _NOTES, st.integers(1, 40_000))
def test_notes_to_give_away_are_made_exactly(
    fees: FederationFees, notes: tuple[HeldNote, ...], units: int
) -> None:
    exactly = tuple(d for d in range(9, 42) if units * 512 >> d & 1)
    try:
        planned = plan(fees, notes, exactly=exactly)
    except InsufficientNotesError:
        needed_msat = sum((1 << d) + fees.mintv2.fee_msat(1 << d) for d in exactly)
        assert spendable_msat(fees, notes) < needed_msat
        return
    assert planned.denominations[: len(exactly)] == exactly
    assert _left_over_msat(planned) >= 0
    _check_fees(fees, planned, (), ())


@given(_FEES, _CLAIMS)
def test_a_claim_is_worth_something_exactly_when_a_note_comes_of_it(
    fees: FederationFees, claim: Claim
) -> None:
    worth_msat = claim_worth_msat(fees, claim)
    assert bool(worth_msat) == bool(plan(fees, (), claims=(claim,)).denominations)
    if worth_msat:
        assert worth_msat == claim.amount_msat - claim_fee_msat(fees, claim)


def test_a_deposit_that_costs_the_miners_more_than_it_holds_is_worth_nothing() -> None:
    assert claim_worth_msat(BITCOIN_FEES, DepositClaim(0, 0, 500, 1_000)) == 0


@given(_FEES, _NOTES, st.integers(0, 2_000))
def test_the_most_that_can_be_withdrawn_can_be_withdrawn_and_one_satoshi_more_cannot(
    fees: FederationFees, notes: tuple[HeldNote, ...], fee_sat: int
) -> None:
    most_sat = most_withdrawable_sat(fees, notes, fee_sat)
    assert most_sat >= 0
    if most_sat:
        plan(fees, notes, outputs=(PegOut("", most_sat, fee_sat),))
    with pytest.raises(InsufficientNotesError):
        plan(fees, notes, outputs=(PegOut("", most_sat + 1, fee_sat),))


def test_more_notes_than_a_transaction_has_room_for_are_not_spent_at_once() -> None:
    notes = tuple(note(f"{n}", 10) for n in range(SPENT_NOTES_MAX + 1))
    room_msat = SPENT_NOTES_MAX * 1_024
    assert spendable_msat(FREE, notes) == room_msat
    assert len(plan(FREE, notes, outputs=(FundedContract("c0", room_msat),)).spends) == 250
    with pytest.raises(InsufficientNotesError, match="251 would be spent at once"):
        plan(FREE, notes, outputs=(FundedContract("c0", room_msat + 1),))


def test_the_oldest_notes_are_spent_first() -> None:
    notes = (note("old", 12), note("young", 12), note("small", 9))
    assert reserving.pick(notes, {12: 1, 9: 0}) == notes[:1]


def test_notes_that_their_own_fee_eats_up_count_for_nothing() -> None:
    costly = FederationFees(lnv2=FEES.lnv2, mintv2=FeeConsensus(1_000, 0))
    assert spendable_msat(costly, (note("a", 9), note("b", 10))) == 24


def test_a_federation_without_bitcoin_has_no_fee_for_it() -> None:
    with pytest.raises(FatalError, match="without a walletv2 module"):
        claim_fee_msat(FEES, DepositClaim(0, 0, 500, 1))
    with pytest.raises(FatalError, match="without a walletv2 module"):
        output_fee_msat(FEES, PegOut("", 500, 1))
