"""Ecash sent and received: exact notes leave the wallet, and received ones count once their reissue is final."""

import pytest

from errors import ConflictError
from fuzz.machines.scene import FEDERATION, MACHINES, WALLET, Scene, note, opened
from statemachines import gift, reissue
from statemachines.gift import GiftFacts, GiftRefused, Given, Preparing, RequestGift
from statemachines.items import ForeignNote, Reservation
from statemachines.reissue import (
    Abandoned,
    Reissued,
    ReissueFacts,
    ReissueRejected,
    Reissuing,
    RequestReissue,
)
from statemachines.transaction import BuildAbandoned, NotesCollected, stream_of
from statemachines.wallet import AddTweaks

GIFT, REISSUE = gift.stream_of("g1"), reissue.stream_of("e1")
TX = stream_of(FEDERATION, 1)
FOREIGN = (ForeignNote(14, "their nonce"), ForeignNote(15, "their other nonce"))
TAKEN = ReissueFacts(id="e1", federation_id=FEDERATION, notes=FOREIGN)
REQUEST = RequestReissue(facts=TAKEN)


def give(scene: Scene, amount_msat: int) -> GiftFacts:
    facts = GiftFacts(id="g1", federation_id=FEDERATION, amount_msat=amount_msat)
    scene.deliver(GIFT, RequestGift(facts=facts))
    return facts


def taken() -> Scene:
    scene = opened()
    scene.deliver(REISSUE, REQUEST)
    return scene


# --- given -----------------------------------------------------------------------------------------------------------


def test_notes_that_fit_exactly_leave_the_wallet_in_the_append_of_the_request() -> None:
    scene = opened()
    held = (note("a", 12), note("b", 12), note("c", 10))
    scene.hold(*held)
    facts = give(scene, (1 << 12) + (1 << 10))
    assert scene.last_append() == ["gift.requested", "wallet.spent", "gift.given"]
    assert scene.state(GIFT) == Given(facts=facts, notes=(held[0], held[2]))
    assert scene.wallet.notes == held[1:2]
    assert scene.audit().balances["ecash_given"] == facts.amount_msat
    assert scene.audit().is_sound


def test_else_a_transaction_makes_them_first_and_they_leave_when_it_ends() -> None:
    scene = opened()
    scene.hold(note("a", 15))
    facts = give(scene, 512 + 2_048)
    assert scene.state(GIFT) == Preparing(facts=facts)
    issued = [issue.denomination for issue in scene.reservation(TX).issues]
    assert {9, 11} <= set(issued)
    scene.finish(TX)
    state = scene.state(GIFT)
    assert isinstance(state, Given)
    assert sorted(each.denomination for each in state.notes) == [9, 11]
    assert scene.last_append()[-2:] == ["wallet.spent", "gift.given"]
    given = {each.nonce for each in state.notes}
    assert not given & {each.nonce for each in scene.wallet.notes}
    assert scene.audit().is_sound


def test_notes_that_no_threshold_signed_are_made_once_more() -> None:
    scene = opened()
    scene.hold(note("a", 20))
    give(scene, 512)
    scene.accept(TX)
    lost_msat = sum(1 << issue.denomination for issue in scene.reservation(TX).issues)
    scene.deliver(TX, NotesCollected(notes=(note("kept", 15),), lost_msat=lost_msat - (1 << 15)))
    assert isinstance(scene.state(GIFT), Preparing)
    scene.finish(stream_of(FEDERATION, 2))
    assert isinstance(scene.state(GIFT), Given)
    assert scene.audit().is_sound


def test_more_than_the_wallet_brings_is_not_given() -> None:
    scene = opened()
    scene.hold(note("a", 12))
    facts = give(scene, 1 << 13)
    assert scene.state(GIFT) == GiftRefused(
        facts=facts,
        reason="the ecash held brings 3996 msat, not enough for 8192 msat and the federation's fees",
    )
    assert scene.wallet.notes == (note("a", 12),)


def test_a_gift_whose_notes_the_federation_refuses_to_make_keeps_the_old_ones() -> None:
    scene = opened()
    scene.hold(note("a", 15))
    facts = give(scene, 512)
    scene.reject(TX)
    assert scene.state(GIFT) == GiftRefused(facts=facts, reason="the federation refused: no")
    assert scene.wallet.spending == {stream_of(FEDERATION, 2): (note("a", 15),)}
    assert scene.audit().is_sound


def test_a_gift_is_asked_for_once() -> None:
    scene = opened()
    give(scene, 512)
    with pytest.raises(ConflictError, match="asked for before"):
        give(scene, 512)


# --- taken -----------------------------------------------------------------------------------------------------------


def test_foreign_notes_are_claimed_and_none_of_ours_is_spent_with_them() -> None:
    scene = opened()
    scene.hold(note("a"))
    scene.deliver(REISSUE, REQUEST)
    assert scene.last_append() == ["reissue.requested", "wallet.reserved", "tx.reserved"]
    made = scene.reservation(TX)
    assert (made.claims, made.spends, made.parent) == (FOREIGN, (), REISSUE)
    assert TAKEN.amount_msat == (1 << 14) + (1 << 15)


def test_received_ecash_counts_once_its_reissue_is_final() -> None:
    """Until then its giver can spend it elsewhere."""
    scene = taken()
    scene.accept(TX)
    assert scene.state(REISSUE) == Reissuing(facts=TAKEN)
    assert scene.wallet.balance_msat == 0
    scene.collect(TX)
    state = scene.state(REISSUE)
    assert isinstance(state, Reissued)
    assert state.received_msat == scene.wallet.balance_msat < TAKEN.amount_msat
    report = scene.audit()
    assert report.is_sound
    assert report.balances["ecash_received"] == -TAKEN.amount_msat


def test_notes_that_their_giver_spent_are_no_loss_of_ours() -> None:
    scene = taken()
    scene.reject(TX)
    assert scene.state(REISSUE) == ReissueRejected(facts=TAKEN, error="no")
    assert scene.audit().balances == {}
    assert scene.wallet.spending == {}


def test_ecash_whose_keys_went_with_the_process_may_be_handed_in_again() -> None:
    scene = opened()
    scene.deliver(WALLET, AddTweaks(tweaks=("t",)))
    scene.deliver(REISSUE, REQUEST)
    scene.deliver(TX, BuildAbandoned())
    assert scene.state(REISSUE) == Abandoned(facts=TAKEN)
    scene.deliver(REISSUE, REQUEST)
    again = scene.reservation(stream_of(FEDERATION, 2))
    assert again.claims == FOREIGN
    assert "t" not in {issue.tweak for issue in again.issues}, "a tweak was promised before"
    scene.finish(stream_of(FEDERATION, 2))
    assert isinstance(scene.state(REISSUE), Reissued)
    assert scene.audit().is_sound


def test_the_same_ecash_again_joins() -> None:
    scene = taken()
    rows = list(scene.rows)
    scene.deliver(REISSUE, REQUEST)
    assert scene.rows == rows
    scene.finish(TX)
    rows = list(scene.rows)
    scene.deliver(REISSUE, REQUEST)
    assert scene.rows == rows


def test_no_event_of_a_reissue_has_room_for_a_key() -> None:
    """Public nonces and denominations are all that is written of a foreign note."""
    assert ForeignNote.__struct_fields__ == ("denomination", "nonce")
    assert ReissueFacts.__struct_fields__ == ("id", "federation_id", "notes")
    events = {*MACHINES.of(REISSUE).events, *MACHINES.of(TX).events}
    fields = {field for event in events for field in event.__struct_fields__}
    assert fields == {
        *("facts", "received_msat", "error"),
        *("reservation", "txid", "encoded", "ground", "lost_msat"),
    }
    assert "key" not in " ".join(Reservation.__struct_fields__)
