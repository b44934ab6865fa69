"""The ladder of notes: it pays many at once, costs no more than its allowance, and comes to an end."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.machine import Input, State
from errors import ConflictError
from fedimint.codec.wire_types import FeeConsensus
from fedimint.mintv2 import selection
from fuzz.machines.scene import (
    BITCOIN_FEES,
    FEDERATION,
    FEES,
    FREE,
    PREIMAGE,
    WALLET,
    Scene,
    note,
)
from statemachines import ladder, wallet_rules
from statemachines.items import (
    ContractClaim,
    DepositClaim,
    FundedContract,
    HeldNote,
    Reservation,
)
from statemachines.ladder import ALLOWANCE_AHEAD_MSAT, ALLOWANCE_MAX_MSAT, MISSING_MAX, RUNGS
from statemachines.reserving import FederationFees
from statemachines.transaction import (
    Reserve,
    TransactionAbandoned,
    TransactionFinished,
    TransactionRejected,
)
from statemachines.wallet import (
    AddTweaks,
    ClaimInputs,
    FundOutput,
    OpenWallet,
    Rebalance,
    RecoverNotes,
    Wallet,
)
from statemachines.wallet_rules import MACHINE

MOST = (1 << 64) - 1
_FEE = st.builds(FeeConsensus, st.integers(0, 5_000), st.integers(0, 1_000))
_FEES = st.builds(FederationFees, lnv2=_FEE, mintv2=_FEE)
_AMOUNTS = st.one_of(
    st.integers(0, 10_000_000),
    st.sampled_from([0, 1, 511, 512, 1 << 41, MOST]),
    st.integers(0, MOST),
)
_PAID = st.lists(_AMOUNTS, max_size=RUNGS).map(tuple)
_NOTES = st.lists(st.integers(0, 41), max_size=60).map(
    lambda denominations: tuple(note(f"{n}", d) for n, d in enumerate(denominations))
)


def _denominations(notes: tuple[HeldNote, ...]) -> list[int]:
    return [each.denomination for each in notes]


@given(fees=_FEES, paid=_PAID, worth_msat=st.integers(0, MOST))
def test_each_rung_pays_for_one_payment_and_half_of_the_wallet_stays(
    fees: FederationFees, paid: tuple[int, ...], worth_msat: int
) -> None:
    rungs = ladder.rungs(fees, paid, worth_msat)
    assert rungs.total() <= RUNGS
    assert sum(count << rung for rung, count in rungs.items()) <= worth_msat // 2
    smallest_msat = min(paid, default=ladder.EVERYDAY_MSAT)
    assert all(selection.net_msat(rung, fees.mintv2) >= smallest_msat for rung in rungs)


@settings(deadline=None)
@given(
    fees=_FEES,
    paid=_PAID,
    notes=_NOTES,
    allowance_msat=st.integers(0, ALLOWANCE_MAX_MSAT),
    tweaks=st.integers(0, 300),
)
def test_a_ladder_is_built_within_its_allowance_and_comes_to_an_end(
    fees: FederationFees,
    paid: tuple[int, ...],
    notes: tuple[HeldNote, ...],
    allowance_msat: int,
    tweaks: int,
) -> None:
    """However often it is asked, with an allowance that is always full again."""
    for round_ in range(RUNGS + 1):
        planned = ladder.rebuilt(fees, paid, notes, allowance_msat, tweaks)
        if planned is None:
            return
        (source,) = planned.spends
        left_msat = source.amount_msat - planned.fee_msat
        left_msat -= sum(1 << d for d in planned.denominations)
        assert 0 <= left_msat < selection.cost_msat(selection.SMALLEST_DENOMINATION, fees.mintv2)
        assert planned.fee_msat <= allowance_msat
        assert len(planned.denominations) <= tweaks
        before = ladder.missing(fees, paid, _denominations(notes))
        notes = tuple(each for each in notes if each != source) + tuple(
            note(f"{round_} {n}", d) for n, d in enumerate(planned.denominations)
        )
        assert len(ladder.missing(fees, paid, _denominations(notes))) < len(before)
    raise AssertionError("notes are turned into notes without an end")


@given(
    steps=st.lists(st.tuples(st.integers(0, MOST), st.integers(0, ALLOWANCE_MAX_MSAT)), max_size=50)
)
def test_the_ladder_never_costs_more_than_its_share(steps: list[tuple[int, int]]) -> None:
    allowance_msat, others_msat, ladder_msat = ALLOWANCE_AHEAD_MSAT, 0, 0
    for other_msat, asked_msat in steps:
        spent_msat = min(asked_msat, allowance_msat)
        allowance_msat = ladder.grown(allowance_msat, other_msat + spent_msat, spent_msat)
        others_msat += other_msat
        ladder_msat += spent_msat
        assert 0 <= allowance_msat <= ALLOWANCE_MAX_MSAT
        assert ladder_msat + allowance_msat <= ALLOWANCE_AHEAD_MSAT + others_msat // 10


def test_a_larger_note_stands_for_a_rung_up_to_four_times_its_worth() -> None:
    paid = (1_000_000,)
    many = [22] * RUNGS
    assert ladder.missing(FEES, paid, many) == ()
    assert ladder.missing(FEES, paid, [23] * RUNGS) == (20,) * RUNGS
    assert ladder.missing(FEES, paid, many[1:]) == (20,)
    assert ladder.missing(FEES, paid, [30]) == (20,) * RUNGS


def test_before_any_payment_rungs_are_for_everyday_ones() -> None:
    assert ladder.rungs(FEES, (), 1 << 30) == Counter({20: RUNGS})
    assert ladder.rungs(FEES, (), 1 << 22) == Counter({20: 2})
    assert ladder.rungs(FEES, (MOST,), 1 << 62) == Counter()


def test_what_was_paid_lately_decides_on_the_rungs() -> None:
    rungs = ladder.rungs(FEES, (1_000, 1_000_000, 1_000_000, 50_000_000), 1 << 40)
    assert rungs == Counter({11: 8, 20: 16, 26: 8})


# --- in the wallet -------------------------------------------------------------------------------------------------


class Book:
    """A wallet, the transactions that it reserved, and what they cost; each ends when told so."""

    def __init__(self, fees: FederationFees = BITCOIN_FEES) -> None:
        self.wallet: State = MACHINE.initial
        self.open: list[Reservation] = []
        self.fee_msat = 0
        self.own_fee_msat = 0
        self.made = 0
        self.give(OpenWallet(federation_id=FEDERATION, fees=fees))
        self.grind()

    @property
    def held(self) -> Wallet:
        assert isinstance(self.wallet, Wallet)
        return self.wallet

    def give(self, input_: Input) -> bool:
        """Whether that reserved a transaction."""
        decision = MACHINE.decide(self.wallet, input_)
        for event in decision.events:
            self.wallet = MACHINE.evolve(self.wallet, event)
        reserved = [
            tell.input.reservation for tell in decision.tells if isinstance(tell.input, Reserve)
        ]
        self.open += reserved
        for one in reserved:
            self.fee_msat += one.input_fee_msat + one.output_fee_msat
            if one.parent == WALLET:
                self.own_fee_msat += one.input_fee_msat + one.output_fee_msat
        assert self.held.remembered.coming.keys() <= self.held.spending.keys()
        return bool(reserved)

    def grind(self) -> None:
        missing = 256 - len(self.held.tweaks)
        self.made += missing
        self.give(AddTweaks(tweaks=tuple(f"t{self.made - n}" for n in range(missing))))

    def deposit(self, sat: int) -> None:
        self.give(ClaimInputs(parent="deposit/1", claims=(DepositClaim(0, 0, sat, 100),)))

    def earn(self, msat: int) -> None:
        claim = ContractClaim("11" * 32, 0, msat, PREIMAGE)
        self.give(ClaimInputs(parent="send/1", claims=(claim,)))

    def fund(self, msat: int) -> bool:
        output = FundedContract("c0", msat)
        return self.give(FundOutput(parent="receive/1", output=output, sign_by_unix_s=9))

    def end_first(self) -> None:
        reservation = self.open.pop(0)
        notes = tuple(note(issue.tweak, issue.denomination) for issue in reservation.issues)
        self.give(TransactionFinished(tx=reservation.tx, notes=notes, lost_msat=0))

    def end_all(self) -> None:
        while self.open:
            self.end_first()
        self.grind()


def test_after_a_deposit_many_everyday_payments_are_funded_at_once() -> None:
    book = Book()
    book.deposit(1_000_000)
    book.end_all()
    assert all(book.fund(1_000_000) for _ in range(RUNGS))
    assert len(book.open) == RUNGS


def test_payments_without_a_pause_keep_finding_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The change of a larger note brings the rungs that others need, before the last is gone."""
    monkeypatch.setattr(wallet_rules, "TIDY_LEAST_NOTES", 1 << 60)
    book = Book()
    book.deposit(1_000_000)
    book.end_all()
    for _ in range(300):
        assert book.fund(1_000_000)
        if len(book.open) == MISSING_MAX:
            book.end_first()
            book.grind()
    assert book.own_fee_msat == 0, "no transaction of its own was needed for it"


def test_an_idle_wallet_of_few_notes_builds_its_ladder() -> None:
    book = Book()
    book.give(RecoverNotes(notes=(note("a", 33),)))
    assert book.give(Rebalance())
    assert not book.give(Rebalance()), "one at a time"
    book.end_all()
    assert not book.give(Rebalance()), "no rung is missing"
    assert book.own_fee_msat < ALLOWANCE_AHEAD_MSAT
    assert book.held.remembered.allowance_msat == ALLOWANCE_AHEAD_MSAT - book.own_fee_msat
    assert all(book.fund(1_000_000) for _ in range(RUNGS))


def test_a_ladder_waits_for_tweaks_and_for_its_allowance() -> None:
    notes = (note("a", 33),)
    assert ladder.rebuilt(FEES, (), notes, ALLOWANCE_AHEAD_MSAT, 3) is None
    assert ladder.rebuilt(FEES, (), notes, 99, 256) is None
    assert ladder.rebuilt(FREE, (), notes, 0, 256) is not None
    half = ladder.rebuilt(FEES, (), notes, ALLOWANCE_AHEAD_MSAT, 40)
    assert half is not None
    assert 20 in half.denominations


def test_a_large_note_that_costs_too_much_to_break_is_left_alone() -> None:
    costly = FederationFees(lnv2=FEES.lnv2, mintv2=FeeConsensus(100, 1_000))
    assert ladder.rebuilt(costly, (), (note("a", 33),), ALLOWANCE_MAX_MSAT, 256) is None


def test_the_end_of_a_transaction_ends_what_was_to_come() -> None:
    for end in (
        TransactionAbandoned(tx=f"tx/{FEDERATION}-1"),
        TransactionRejected(tx=f"tx/{FEDERATION}-1", error="no", is_reissue=True),
    ):
        book = Book()
        book.give(RecoverNotes(notes=(note("a", 33),)))
        book.give(Rebalance())
        assert book.held.remembered.coming
        book.open.clear()
        book.give(end)
        assert book.held.remembered.coming.keys() == {one.tx for one in book.open}


def test_the_rungs_of_the_ladder_are_not_tidied_up() -> None:
    book = Book()
    book.deposit(1_000_000)
    book.end_all()
    book.earn(1_100_000)
    book.end_all()
    assert Counter(_denominations(book.held.notes))[20] >= RUNGS


def test_a_federation_never_joined_has_no_ladder() -> None:
    with pytest.raises(ConflictError, match="has not joined"):
        Scene().deliver(WALLET, Rebalance())


@settings(deadline=None, max_examples=30)
@given(
    amounts=st.lists(
        st.tuples(st.sampled_from(["fund", "earn", "end", "pause"]), _AMOUNTS), max_size=80
    ),
    fees=st.sampled_from([BITCOIN_FEES, FREE]),
)
def test_no_pattern_of_payments_makes_the_ladder_cost_more_than_its_share(
    amounts: list[tuple[str, int]], fees: FederationFees
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wallet_rules, "TIDY_LEAST_NOTES", 1 << 60)  # its transactions are no ladder's
        book = Book(fees)
        if fees is BITCOIN_FEES:
            book.deposit(10_000_000)
        for what, msat in amounts:
            if what == "fund":
                book.fund(msat)
            elif what == "earn":
                book.earn(msat)
            elif book.open:
                book.end_first()
            if what == "pause":
                book.end_all()
                while book.give(Rebalance()):
                    book.end_all()
    others_msat = book.fee_msat - book.own_fee_msat
    assert book.own_fee_msat <= ALLOWANCE_AHEAD_MSAT + others_msat // 10
