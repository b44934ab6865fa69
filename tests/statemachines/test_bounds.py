"""For any number the wallet decides at once: a transaction that fits, or a refusal."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.events import EVENT_BYTES_MAX
from engine.machine import Input
from fedimint import mintv2
from fedimint.codec import secp
from fedimint.codec.wire_types import LARGEST_DENOMINATION, MOST_MSAT
from fedimint.mintv2 import selection
from fedimint.mintv2.selection import InsufficientNotesError
from fedimint.transaction import DYN_ITEM, MAX_TRANSACTION_BYTES, DynItem
from fuzz.machines.scene import (
    BITCOIN_FEES,
    FEDERATION,
    FEES,
    FREE,
    MACHINES,
    PREIMAGE,
    WALLET,
    Scene,
    note,
    opened,
)
from statemachines import deposit, reserving, transaction, wallet_rules
from statemachines.deposit import DepositOutput, DepositSeen, ReceiveFeeQuoted
from statemachines.items import (
    Claim,
    ContractClaim,
    DepositClaim,
    FundedContract,
    HeldNote,
    IncomingRefund,
    Output,
    PegOut,
    Reservation,
)
from statemachines.reserving import (
    CLAIM_MAX_MSAT,
    ISSUED_NOTE_BYTES,
    OTHER_BYTES,
    SPENT_NOTE_BYTES,
    SPENT_NOTES_MAX,
    FederationFees,
    plan,
)
from statemachines.transaction import TransactionRejected, stream_of
from statemachines.wallet import (
    ClaimInputs,
    FundingRefused,
    FundOutput,
    NotesSpent,
    SpendNotes,
    Wallet,
)

U64_MAX = 2**64 - 1
PARENT, GIFT = "send/1", "gift/1"
TX = stream_of(FEDERATION, 1)
AMOUNTS = st.sampled_from([0, CLAIM_MAX_MSAT, 2**62, 2**63 - 1, U64_MAX]) | st.integers(0, U64_MAX)
LARGEST = (note("a", LARGEST_DENOMINATION), note("b", LARGEST_DENOMINATION), note("c", 9))


def reserved(scene: Scene, tx: str = TX) -> Reservation:
    state = scene.state(tx)
    assert isinstance(state, transaction.Reserved)
    return state.reservation


def decided(fees: FederationFees, notes: tuple[HeldNote, ...], input_: Input) -> Reservation | None:
    """What a wallet of these notes reserves for an input, None when it refuses or has such notes."""
    wallet = Wallet(federation_id=FEDERATION, fees=fees, notes=notes)
    (told,) = wallet_rules.MACHINE.decide(wallet, input_).tells
    if isinstance(told.input, transaction.Reserve):
        return told.input.reservation
    assert isinstance(told.input, FundingRefused | NotesSpent)
    return None


def fits(reservation: Reservation) -> bool:
    """Whether the transaction has room for it, and the log for its event."""
    inputs = len(reservation.spends) + len(reservation.claims)
    size = inputs * SPENT_NOTE_BYTES + len(reservation.issues) * ISSUED_NOTE_BYTES + OTHER_BYTES
    event = MACHINES.codec.encode(transaction.TxReserved(reservation=reservation))
    return size <= MAX_TRANSACTION_BYTES and len(event.body) < EVENT_BYTES_MAX


def test_notes_take_no_more_bytes_than_are_counted_for_them() -> None:
    key = secp.public_key(secp.decode_secret(bytes(31) + b"\x01"))
    spent = mintv2.INPUT.encode(mintv2.MintInput(mintv2.Note(41, key, bytes(48))))
    issued = mintv2.OUTPUT.encode(mintv2.MintOutput(41, bytes(48), bytes(16)))
    signature = 64
    assert len(DYN_ITEM.encode(DynItem(300, spent))) + signature <= SPENT_NOTE_BYTES
    assert len(DYN_ITEM.encode(DynItem(300, issued))) <= ISSUED_NOTE_BYTES


def _claims(amount: int) -> tuple[Claim, ...]:
    return (
        ContractClaim("11", 0, amount, PREIMAGE),
        IncomingRefund("11", 0, amount, "d0"),
        DepositClaim(0, 0, amount, 100),
    )


@given(AMOUNTS)
@example(U64_MAX)
def test_a_claim_of_any_size_is_one_transaction_that_fits(amount: int) -> None:
    for claim in _claims(amount):
        scene = opened(BITCOIN_FEES)
        scene.hold(*LARGEST)
        scene.deliver(WALLET, ClaimInputs(parent=PARENT, claims=(claim,)))
        reservation = reserved(scene)
        assert reservation.spends == ()
        assert fits(reservation)
        if 10_000_000 < claim.amount_msat <= CLAIM_MAX_MSAT:
            issued_msat = sum(1 << issue.denomination for issue in reservation.issues)
            fees_msat = reservation.input_fee_msat + reservation.output_fee_msat
            assert 0 <= claim.amount_msat - issued_msat - fees_msat < 612, "nothing is left behind"


@given(AMOUNTS)
@example(U64_MAX)
def test_an_output_of_any_size_is_paid_for_or_refused(amount: int) -> None:
    outputs: tuple[Output, ...] = (FundedContract("c0", amount), PegOut("00", amount, amount))
    for output in outputs:
        reservation = decided(
            BITCOIN_FEES, LARGEST, FundOutput(parent=PARENT, output=output, sign_by_unix_s=9)
        )
        assert reservation is None or fits(reservation)
        if output.amount_msat > 2 << LARGEST_DENOMINATION:
            assert reservation is None


@given(st.integers(1, U64_MAX // 512))
@example(U64_MAX // 512)
@example(CLAIM_MAX_MSAT // 512)
@example(CLAIM_MAX_MSAT // 512 + 1)
def test_ecash_of_any_size_is_given_or_refused(units: int) -> None:
    reservation = decided(FREE, LARGEST, SpendNotes(parent=GIFT, amount_msat=units * 512))
    assert reservation is None or fits(reservation)


def test_ecash_beyond_what_a_transaction_makes_is_refused_though_it_is_held() -> None:
    held = tuple(note(f"{n}", LARGEST_DENOMINATION) for n in range(120))
    more = SpendNotes(parent=GIFT, amount_msat=CLAIM_MAX_MSAT + 512)
    assert decided(FREE, held, more) is None
    less = decided(FREE, held, SpendNotes(parent=GIFT, amount_msat=CLAIM_MAX_MSAT - 512))
    assert less is not None
    assert fits(less)


def test_ecash_whose_making_costs_more_than_is_left_over_is_refused() -> None:
    """Five notes come of one, for 100 msat each, and the one is worth 412 msat more than is asked for, less its own."""
    more = SpendNotes(parent=GIFT, amount_msat=(1 << 14) - 512)
    assert decided(FEES, (note("a", 14),), more) is None
    assert decided(FREE, (note("a", 14),), more) is not None


def test_where_room_is_scarce_change_is_the_fewest_notes() -> None:
    """As many as may be spent, beside notes to make exactly: none is left for filling up small denominations."""
    notes = tuple(note(f"{n}", 20) for n in range(SPENT_NOTES_MAX))
    left_msat = (1 << 19) - 512
    wanted_msat = (SPENT_NOTES_MAX << 20) - left_msat
    exactly = (9,) * 110 + selection.binary_denominations(wanted_msat - 110 * 512)
    planned = plan(FREE, notes, exactly=exactly)
    assert len(planned.spends) == SPENT_NOTES_MAX
    change = planned.denominations[len(exactly) :]
    assert change == selection.binary_denominations(left_msat)


@pytest.mark.parametrize("exact_notes", [499, 500])
def test_more_notes_than_there_is_room_for_are_not_made_at_once(exact_notes: int) -> None:
    notes = tuple(note(f"{n}", 10) for n in range(SPENT_NOTES_MAX))
    with pytest.raises(InsufficientNotesError, match="notes are too small: 250 would be spent"):
        plan(FREE, notes, exactly=(9,) * exact_notes)


def test_the_largest_wallet_spent_at_once_and_refused_is_reissued_in_parts_without_a_loss() -> None:
    held: tuple[HeldNote, ...] = tuple(
        note(f"{n}", LARGEST_DENOMINATION) for n in range(SPENT_NOTES_MAX)
    )
    wallet = Wallet(federation_id=FEDERATION, fees=FEES, spending={TX: held}, transactions=1)
    refused = TransactionRejected(tx=TX, error="no", is_reissue=False)
    parts = [
        tell.input.reservation
        for tell in wallet_rules.MACHINE.decide(wallet, refused).tells
        if isinstance(tell.input, transaction.Reserve)
    ]
    assert [len(part.spends) for part in parts] == [100, 100, 50]
    for part in parts:
        assert fits(part)
        spent_msat = len(part.spends) << LARGEST_DENOMINATION
        issued_msat = sum(1 << issue.denomination for issue in part.issues)
        fees_msat = part.input_fee_msat + part.output_fee_msat
        assert 0 <= spent_msat - issued_msat - fees_msat < 612


# --- deposits ------------------------------------------------------------------------------------------------------

MOST_SAT = CLAIM_MAX_MSAT // 1_000


@pytest.mark.parametrize(
    ("value_sat", "taken"), [(MOST_SAT, True), (MOST_SAT + 1, False), (U64_MAX, False)]
)
def test_a_deposit_that_no_transaction_turns_into_ecash_is_dropped(
    value_sat: int, taken: bool
) -> None:
    scene = opened(BITCOIN_FEES)
    stream = deposit.stream_of(FEDERATION, 5)
    output = DepositOutput(5, 40, value_sat, "aa:0")
    scene.deliver(stream, DepositSeen(federation_id=FEDERATION, output=output))
    worth_msat = reserving.claim_worth_msat(BITCOIN_FEES, deposit.claim_of(output, 100))
    scene.deliver(stream, ReceiveFeeQuoted(fee_sat=100, worth_msat=worth_msat))
    state = scene.state(stream)
    if taken:
        assert isinstance(state, deposit.Claiming)
        assert fits(reserved(scene))
    else:
        assert isinstance(state, deposit.Dropped)
        assert "more than one transaction can turn into ecash" in state.reason
    assert scene.audit().is_sound


def test_what_one_transaction_claims_is_far_below_all_bitcoin() -> None:
    assert CLAIM_MAX_MSAT < MOST_MSAT
