"""Ecash that leaves as bitcoin."""

import pytest

from engine.events import Event
from errors import ConflictError
from fuzz.machines.scene import BITCOIN_FEES, FEDERATION, Scene, note, opened, txid_of
from statemachines import withdrawal
from statemachines.items import PegOut
from statemachines.transaction import SIGN_WITHIN_S, BuildAbandoned, stream_of
from statemachines.withdrawal import (
    Accepted,
    AskBitcoinTxid,
    BitcoinTxidKnown,
    Funding,
    RequestWithdrawal,
    Submitted,
    WithdrawalFacts,
    WithdrawalRefused,
    WithdrawalRejected,
    Withdrawn,
)

STREAM = withdrawal.stream_of("w1")
TX = stream_of(FEDERATION, 1)
FACTS = WithdrawalFacts(FEDERATION, "bcrt1…", "0014ab", value_sat=20_000, fee_sat=500)
REQUEST = RequestWithdrawal(id="w1", facts=FACTS, now_unix_s=5_000)
HELD = tuple(note(name, 24) for name in "ab")
KNOWN = BitcoinTxidKnown(bitcoin_txid="b7" * 32)


def requested() -> Scene:
    """33,554,432 msat are held, 20,600,000 are needed."""
    scene = opened(BITCOIN_FEES)
    scene.hold(*HELD)
    scene.deliver(STREAM, REQUEST)
    return scene


def test_a_withdrawal_and_its_notes_are_reserved_in_one_append() -> None:
    scene = requested()
    assert scene.last_append() == ["withdrawal.requested", "wallet.reserved", "tx.reserved"]
    assert scene.state(STREAM) == Funding(facts=FACTS)
    made = scene.reservation(TX)
    assert (made.outputs, made.spends) == (
        (PegOut("0014ab", 20_000, 500),),
        tuple(note.denomination for note in HELD),
    )
    assert made.parent == STREAM


def test_bitcoin_of_an_accepted_withdrawal_is_asked_for_until_it_is_known() -> None:
    scene = requested()
    scene.build(TX)
    assert scene.state(STREAM) == Submitted(facts=FACTS, txid=txid_of(TX))
    scene.deliver(STREAM, KNOWN)
    assert scene.state(STREAM) == Submitted(facts=FACTS, txid=txid_of(TX)), "nobody asked"
    scene = requested()
    scene.accept(TX)
    assert scene.state(STREAM) == Accepted(facts=FACTS, txid=txid_of(TX))
    ask = AskBitcoinTxid(federation_id=FEDERATION, txid=txid_of(TX))
    assert scene.wants(STREAM) == {"txid": ask}
    scene.deliver(STREAM, KNOWN)
    scene.collect(TX)
    done = Withdrawn(facts=FACTS, txid=txid_of(TX), bitcoin_txid="b7" * 32)
    assert scene.state(STREAM) == done
    report = scene.audit()
    assert report.is_sound
    assert report.balances["withdrawn"] == 20_000_000
    assert report.balances["chain_fees"] == 500_000


def test_what_the_notes_do_not_pay_for_is_refused_and_reserves_nothing() -> None:
    scene = opened(BITCOIN_FEES)
    scene.hold(HELD[0])
    scene.deliver(STREAM, REQUEST)
    available_msat = HELD[0].amount_msat - 100
    assert scene.state(STREAM) == WithdrawalRefused(facts=FACTS, available_msat=available_msat)
    assert scene.wallet.notes == HELD[:1]
    assert scene.wallet.transactions == 0


def test_notes_of_a_rejected_withdrawal_are_ours_again() -> None:
    scene = requested()
    scene.reject(TX)
    assert scene.state(STREAM) == WithdrawalRejected(facts=FACTS, error="no")
    scene.finish(stream_of(FEDERATION, 2))
    report = scene.audit()
    assert report.is_sound
    held_msat = sum(each.amount_msat for each in HELD)
    fees_msat = report.balances["federation_fees"] + report.balances.get("dust", 0)
    assert scene.wallet.balance_msat == held_msat - fees_msat
    assert "withdrawn" not in report.balances


def test_a_withdrawal_is_asked_for_once() -> None:
    scene = requested()
    with pytest.raises(ConflictError, match="asked for before"):
        scene.deliver(STREAM, REQUEST)
    with pytest.raises(ConflictError, match="no such withdrawal"):
        scene.deliver(withdrawal.stream_of("other"), KNOWN)


def test_every_event_of_a_withdrawal_can_be_stored() -> None:
    done, rejected, refused = requested(), requested(), opened(BITCOIN_FEES)
    done.finish(TX)
    done.deliver(STREAM, KNOWN)
    rejected.reject(TX)
    refused.deliver(STREAM, REQUEST)
    stored: set[type[Event]] = set()
    for scene in (done, rejected, refused):
        stored |= {type(event) for stream, event in scene.events if stream == STREAM}
    assert stored == set(withdrawal.MACHINE.events)


def test_a_withdrawal_that_was_not_signed_in_time_never_leaves() -> None:
    """The caller may have asked again, or sent the bitcoin from elsewhere."""
    scene = requested()
    before = scene.wallet
    assert scene.reservation(TX).sign_by_unix_s == 5_000 + SIGN_WITHIN_S
    scene.deliver(TX, BuildAbandoned())
    state = scene.state(STREAM)
    assert isinstance(state, WithdrawalRejected)
    assert "nothing of it left" in state.error
    assert set(scene.wallet.notes) == {*before.notes, *before.spending[TX]}
    assert scene.audit().is_sound
