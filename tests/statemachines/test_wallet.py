"""Notes and tweaks of one federation: promised once, never lost."""

import msgspec
import pytest

from engine.machine import Input
from errors import ConflictError
from fedimint.mintv2.selection import represent_amount
from fuzz.machines.scene import (
    FEDERATION,
    FEES,
    FREE,
    PREIMAGE,
    WALLET,
    Scene,
    note,
    opened,
)
from statemachines import ladder, transaction, wallet, wallet_rules
from statemachines.items import ContractClaim, FundedContract, HeldNote, Reservation
from statemachines.reserving import FederationFees
from statemachines.transaction import (
    TransactionAbandoned,
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
    TransactionSigned,
    stream_of,
)
from statemachines.wallet import (
    AddTweaks,
    ClaimInputs,
    FundingRefused,
    FundOutput,
    NotesSpent,
    OpenWallet,
    RecoverNotes,
    SpendNotes,
    Wallet,
)

SEND, RECEIVE, GIFT = "send/1", "receive/1", "gift/1"


def tx(number: int) -> str:
    return stream_of(FEDERATION, number)


def claim(amount_msat: int = 1_100_000, out_idx: int = 0) -> ClaimInputs:
    return ClaimInputs(
        parent=SEND, claims=(ContractClaim("11" * 32, out_idx, amount_msat, PREIMAGE),)
    )


def reservation(scene: Scene, number: int) -> Reservation:
    state = scene.state(tx(number))
    assert isinstance(state, transaction.Reserved)
    return state.reservation


def holding(*notes: HeldNote, fees: FederationFees = FEES) -> Scene:
    """A wallet of these notes, which came by a transaction of no interest."""
    scene = opened(fees)
    scene.deliver(WALLET, TransactionFinished(tx="tx/before-1", notes=notes, lost_msat=0))
    return scene


def rejection(number: int) -> TransactionRejected:
    """Of a transaction that only re-issues notes."""
    return TransactionRejected(tx=tx(number), error="spent", is_reissue=True)


def spending(*notes: HeldNote, fees: FederationFees = FEES) -> Scene:
    """Seven or more notes of one denomination, of which a tidying transaction spends all but three."""
    scene = holding(*notes, fees=fees)
    assert scene.wallet.spending
    return scene


def test_a_wallet_opens_with_the_fees_of_the_federation() -> None:
    scene = opened()
    assert scene.wallet == Wallet(federation_id=FEDERATION, fees=FEES)
    rows = list(scene.rows)
    scene.deliver(WALLET, OpenWallet(federation_id=FEDERATION, fees=FEES))
    assert scene.rows == rows


def test_new_fees_leave_notes_and_tweaks_alone() -> None:
    scene = holding(note("a"))
    scene.deliver(WALLET, AddTweaks(tweaks=("t",)))
    before = scene.wallet
    scene.deliver(WALLET, OpenWallet(federation_id=FEDERATION, fees=FREE))
    assert scene.wallet.fees == FREE
    assert (scene.wallet.notes, scene.wallet.tweaks) == (before.notes, before.tweaks)
    assert scene.wallet.balance_msat == 1 << 20


@pytest.mark.parametrize("input_", [AddTweaks(tweaks=("t",)), claim()])
def test_a_federation_never_joined_has_no_wallet(input_: Input) -> None:
    with pytest.raises(ConflictError, match="has not joined"):
        Scene().deliver(WALLET, input_)


def test_a_tweak_is_in_the_pool_once() -> None:
    scene = opened()
    scene.deliver(WALLET, AddTweaks(tweaks=("t", "u", "t")))
    scene.deliver(WALLET, AddTweaks(tweaks=("u", "v")))
    assert scene.wallet.tweaks == ("t", "u", "v")
    rows = list(scene.rows)
    scene.deliver(WALLET, AddTweaks(tweaks=("v", "t")))
    assert scene.rows == rows


def test_a_claim_takes_its_tweaks_out_of_the_pool() -> None:
    scene = opened()
    scene.deliver(WALLET, AddTweaks(tweaks=("t", "u", "v")))
    scene.deliver(WALLET, claim(1_000 + 512 + 100 + 1024 + 100))
    assert [issue.tweak for issue in reservation(scene, 1).issues] == ["t", "u"]
    assert scene.wallet.tweaks == ("v",)
    scene.deliver(WALLET, claim(1_000 + 512 + 100 + 1024 + 100, out_idx=1))
    assert [issue.tweak for issue in reservation(scene, 2).issues] == ["v", ""]
    assert not scene.wallet.tweaks


def test_where_tweaks_are_few_so_are_the_notes_that_are_made() -> None:
    scene = opened()
    scene.deliver(WALLET, AddTweaks(tweaks=("t",)))
    scene.deliver(WALLET, claim(100_000_000))
    made = reservation(scene, 1).issues
    fewest = represent_amount(100_000_000 - 1_000, {}, FEES.mintv2, target=0).denominations
    assert tuple(issue.denomination for issue in made) == fewest
    assert [issue.tweak for issue in made] == ["t", *[""] * (len(fewest) - 1)]
    scene.deliver(WALLET, AddTweaks(tweaks=tuple(map(str, range(60)))))
    scene.deliver(WALLET, claim(100_000_000, out_idx=1))
    assert len(reservation(scene, 2).issues) > len(fewest)
    assert "" not in {issue.tweak for issue in reservation(scene, 2).issues}


def test_a_claim_turns_all_but_fees_and_dust_into_notes() -> None:
    scene = opened()
    scene.deliver(WALLET, claim(1_100_000))
    made = reservation(scene, 1)
    issued_msat = sum(1 << issue.denomination for issue in made.issues)
    dust_msat = 1_100_000 - issued_msat - made.input_fee_msat - made.output_fee_msat
    assert made.input_fee_msat == 1_000
    assert made.output_fee_msat == 100 * len(made.issues)
    assert 0 <= dust_msat < 512 + 100


def test_a_claim_spends_no_note_of_ours() -> None:
    scene = holding(note("a"), note("b"))
    scene.deliver(WALLET, claim())
    assert reservation(scene, 1).spends == ()
    assert scene.wallet.spending == {}
    assert scene.wallet.notes == (note("a"), note("b"))


def test_a_claim_too_small_for_any_note_is_made_all_the_same() -> None:
    scene = opened()
    scene.deliver(WALLET, claim(1_100))
    assert reservation(scene, 1).issues == ()
    scene.deliver(WALLET, claim(900, out_idx=1))
    assert reservation(scene, 2).issues == ()


def test_the_end_of_a_transaction_brings_its_notes() -> None:
    scene = holding(note("a"))
    assert scene.wallet.notes == (note("a"),)
    assert scene.wallet.spending == {}


def test_transactions_being_signed_are_no_news_to_the_wallet() -> None:
    scene = opened()
    before = scene.wallet
    scene.deliver(WALLET, TransactionSigned(tx=tx(1), txid="77"))
    assert scene.wallet == before


def test_too_many_notes_of_one_kind_are_tidied_up_at_once() -> None:
    notes = tuple(note(name) for name in "abcdefg")
    scene = spending(*notes)
    assert scene.wallet.notes == notes[4:]
    assert scene.wallet.spending == {tx(1): notes[:4]}
    made = reservation(scene, 1)
    assert made.parent == WALLET
    assert made.spends == tuple(note.denomination for note in notes[:4])
    assert scene.rows[-1].append == scene.rows[-3].append


def test_too_few_notes_for_a_transaction_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wallet_rules, "TIDY_LEAST_NOTES", 5)
    monkeypatch.setattr(ladder, "RUNGS", 0)
    assert holding(*(note(name) for name in "abcdefg")).wallet.spending == {}
    notes = tuple(note(name) for name in "abcdefgh")
    assert holding(*notes).wallet.spending == {tx(1): notes[:5]}


def test_what_a_finished_transaction_spent_is_gone() -> None:
    scene = spending(*(note(name) for name in "abcdefg"))
    new = note("new", 22)
    scene.deliver(WALLET, TransactionFinished(tx=tx(1), notes=(new,), lost_msat=0))
    assert scene.wallet.spending == {}
    assert scene.wallet.notes == (note("e"), note("f"), note("g"), new)


def test_notes_of_a_rejected_transaction_are_reissued_in_halves() -> None:
    """Until a note stands alone, so that a bad one cannot hold the others for long."""
    notes = tuple(note(name) for name in "abcdefg")
    scene = spending(*notes)
    scene.deliver(WALLET, rejection(1))
    assert scene.wallet.spending == {tx(2): notes[:2], tx(3): notes[2:4]}
    assert scene.wallet.notes == notes[4:]
    scene.deliver(WALLET, rejection(3))
    assert scene.wallet.spending == {tx(2): notes[:2], tx(4): notes[2:3], tx(5): notes[3:4]}
    for number in range(2, 6):
        assert reservation(scene, number).parent == WALLET


def test_a_note_refused_alone_is_on_record_as_lost() -> None:
    scene = spending(*(note(name) for name in "abcdefg"))
    scene.deliver(WALLET, rejection(1))
    scene.deliver(WALLET, rejection(2))
    scene.deliver(WALLET, rejection(5))
    lost = scene.events[-1][1]
    assert isinstance(lost, wallet.NotesLost)
    assert (lost.nonces, lost.amount_msat) == ((note("b").nonce,), 1 << 20)
    assert set(scene.wallet.spending) == {tx(3), tx(4)}


def test_notes_that_went_in_beside_a_claim_are_reissued_together() -> None:
    """It was perhaps the contract that was refused, so no note is suspect yet, not even a single one."""
    scene = spending(*(note(name) for name in "abcdefg"))
    before = scene.wallet.spending[tx(1)]
    scene.deliver(WALLET, TransactionRejected(tx=tx(1), error="no contract", is_reissue=False))
    assert scene.wallet.spending == {tx(2): before}


def test_notes_not_worth_their_fees_are_lost_once_they_are_suspect() -> None:
    """Kept, a bad one among them would have every later transaction refused, for less than its fees are worth."""
    scene = spending(*(note(name, 9) for name in "abcdefg"))
    before = scene.wallet
    scene.deliver(WALLET, rejection(1))
    assert [len(notes) for notes in scene.wallet.spending.values()] == [2, 2]
    scene.deliver(WALLET, rejection(2))
    lost = scene.events[-1][1]
    assert isinstance(lost, wallet.NotesLost)
    assert (lost.nonces, lost.amount_msat) == ((note("a", 9).nonce, note("b", 9).nonce), 1_024)
    assert scene.wallet.spending == {tx(3): before.spending[tx(1)][2:]}
    assert scene.wallet.notes == before.notes


def test_of_a_rejected_transaction_only_what_is_not_worth_its_fees_is_lost() -> None:
    large, small = note("large", 20), note("small", 9)
    state = msgspec.structs.replace(opened().wallet, spending={tx(9): (large, small)})
    decision = wallet_rules.MACHINE.decide(state, rejection(9))
    lost, restored, reserved = decision.events
    assert isinstance(lost, wallet.NotesLost)
    assert (lost.nonces, lost.amount_msat) == ((small.nonce,), 512)
    assert isinstance(restored, wallet.WalletRestored)
    assert restored.nonces == (large.nonce,)
    assert isinstance(reserved, wallet.WalletReserved)
    assert reserved.nonces == (large.nonce,)


def test_notes_not_worth_their_fees_stay_while_it_may_be_the_contract_that_was_refused() -> None:
    state = msgspec.structs.replace(opened().wallet, spending={tx(9): (note("small", 9),)})
    refused = TransactionRejected(tx=tx(9), error="no contract", is_reissue=False)
    (restored,) = wallet_rules.MACHINE.decide(state, refused).events
    assert isinstance(restored, wallet.WalletRestored)


def test_the_rejection_of_a_claim_frees_nothing() -> None:
    scene = holding(note("a"))
    scene.deliver(WALLET, claim())
    before = scene.wallet
    scene.deliver(WALLET, TransactionRejected(tx=tx(1), error="no contract", is_reissue=False))
    assert scene.wallet == before


# --- funding, giving, recovering -------------------------------------------------------------------------------------


def fund(amount_msat: int) -> FundOutput:
    return FundOutput(
        parent=RECEIVE, output=FundedContract("c0", amount_msat), sign_by_unix_s=5_030
    )


def told(scene: Scene, input_: Input) -> list[tuple[str, Input]]:
    return [
        (tell.stream, tell.input)
        for tell in wallet_rules.MACHINE.decide(scene.wallet, input_).tells
    ]


def test_an_output_is_paid_for_with_notes_that_nothing_else_can_have() -> None:
    scene = holding(note("a"), note("b"))
    ((stream, reserve), *_) = told(scene, fund(1_000_000))
    assert stream == tx(1)
    assert isinstance(reserve, transaction.Reserve)
    made = reserve.reservation
    assert (made.parent, made.outputs) == (RECEIVE, (FundedContract("c0", 1_000_000),))
    assert made.spends == (note("a").denomination,)
    scene.deliver(WALLET, fund(1_000_000))
    assert scene.wallet.spending == {tx(1): (note("a"),)}
    assert scene.wallet.notes == (note("b"),)


def test_who_asks_for_more_than_the_notes_bring_is_told_so_and_nothing_is_reserved() -> None:
    scene = holding(note("a"))
    refused = FundingRefused(available_msat=(1 << 20) - 100)
    assert told(scene, fund(1 << 20)) == [(RECEIVE, refused)]
    assert told(scene, SpendNotes(parent=GIFT, amount_msat=1 << 20 | 512)) == [(GIFT, refused)]
    assert wallet_rules.MACHINE.decide(scene.wallet, fund(1 << 20)).events == ()


def test_notes_given_away_belong_to_who_asked_for_them() -> None:
    scene = holding(note("a", 12), note("b", 10), note("c", 10))
    asked = SpendNotes(parent=GIFT, amount_msat=1_024)
    assert told(scene, asked) == [(GIFT, NotesSpent(notes=(note("b", 10),)))]
    scene = holding(note("a", 12))
    ((stream, _reserve),) = told(scene, asked)
    assert stream == tx(1)


def test_notes_of_a_rejected_funding_are_reissued_together() -> None:
    """It was perhaps the contract that was refused, so no note is suspect yet."""
    notes = (note("a"), note("b"), note("c"))
    scene = holding(*notes)
    scene.deliver(WALLET, fund(2_500_000))
    scene.deliver(WALLET, TransactionRejected(tx=tx(1), error="no", is_reissue=False))
    assert scene.wallet.spending == {tx(2): notes}
    assert reservation(scene, 2).parent == WALLET


def test_recovered_notes_are_taken_once_and_not_beside_those_in_transactions() -> None:
    scene = spending(*(note(name) for name in "abcdefg"))
    known = scene.wallet
    rows = list(scene.rows)
    scene.deliver(WALLET, RecoverNotes(notes=(*known.notes, *known.spending[tx(1)])))
    assert scene.rows == rows
    scene.deliver(WALLET, RecoverNotes(notes=(note("new"), known.notes[0], note("new"))))
    assert scene.wallet.notes == (*known.notes, note("new"))


def test_consensus_and_keys_of_others_are_no_news_to_the_wallet() -> None:
    scene = holding(note("a"))
    before = scene.wallet
    scene.deliver(WALLET, TransactionAccepted(tx=tx(1), txid="77"))
    scene.deliver(WALLET, TransactionAbandoned(tx=tx(1)))
    assert scene.wallet == before
