"""A federation given up: others' payments end, ours rest, and the books name the cost."""

import pytest

from engine.machine import Input
from errors import ConflictError
from fuzz.machines.scene import BITCOIN_FEES, FEDERATION, OTHER, PREIMAGE, Scene, note, txid_of
from statemachines import completion, deposits, federation, identity, receive, send, transaction
from statemachines.exposure import held_msat
from statemachines.federation import GiveUpFederation, Left
from statemachines.identity import JoinFederation
from statemachines.receive import GiveUpReceive
from statemachines.receive_rules import GIVEN_UP
from statemachines.transaction import (
    Abandoned,
    GivenUp,
    GiveUpTransaction,
    SubmissionAccepted,
)
from statemachines.wallet import Wallet
from tests.statemachines import test_swaps as swaps
from tests.statemachines.test_gateway import joined, of

STREAM, LIST = federation.stream_of(OTHER), deposits.stream_of(OTHER)
NOTES_MSAT = 3 << 20


def swapping() -> Scene:
    """A send of one federation whose receiver, in the other one, is being funded."""
    scene = joined()
    scene.deliver(identity.STREAM, JoinFederation(facts=of(OTHER, BITCOIN_FEES)))
    for federation_id in (FEDERATION, OTHER):
        notes = [note(f"{federation_id[:2]} {number}") for number in range(3)]
        scene.hold(*notes, federation_id=federation_id)
    swaps.asked(swaps.invoiced(scene=scene))
    scene.deliver(swaps.SEND, swaps.MEASURED)
    return scene


def give_up(scene: Scene) -> int:
    """As the gateway asks for it; what is written off."""
    open_now = dict(scene.states)
    bought = {
        stream: state
        for stream, state in open_now.items()
        if isinstance(state, receive.Funding | receive.Decrypting)
    }
    held = sum(held_msat(state, OTHER) for state in open_now.values())
    written_off_msat = held - sum(held_msat(state, OTHER) for state in bought.values())
    scene.deliver(
        STREAM,
        GiveUpFederation(
            receives=tuple(bought),
            transactions=(swaps.FUNDING,),
            written_off_msat=written_off_msat,
        ),
    )
    return written_off_msat


def test_a_swap_that_hangs_on_it_is_given_back_in_the_append_that_gives_it_up() -> None:
    scene = swapping()
    assert give_up(scene) == NOTES_MSAT
    assert scene.last_append() == [
        *("federation.given_up", "deposits.paused"),
        *("receive.funding_failed", "send.cancelling"),
        *("tx.abandoned", "wallet.restored"),
    ]
    assert scene.state(STREAM) == Left(
        facts=of(OTHER, BITCOIN_FEES), index=2, written_off_msat=NOTES_MSAT
    )
    assert isinstance(scene.state(LIST), deposits.Paused)
    assert scene.send() == send.Cancelling(facts=swaps.SENT, reason="Failure", detail=GIVEN_UP)
    assert scene.receive() == receive.FundingFailed(
        facts=swaps.RECEIVED, payer=swaps.SEND, error=GIVEN_UP
    )
    assert scene.state(swaps.FUNDING) == Abandoned()
    assert scene.wants(STREAM) == scene.wants(swaps.FUNDING) == {}
    report = scene.audit()
    assert report.is_sound
    assert report.balances["lost"] == NOTES_MSAT
    assert report.balances[f"given_up/{OTHER}"] == -NOTES_MSAT


def test_a_funding_that_was_signed_is_never_sent_again() -> None:
    """Its notes are free; guardians may nevertheless have accepted it."""
    scene = swapping()
    scene.build(swaps.FUNDING)
    assert give_up(scene) == NOTES_MSAT
    assert scene.last_append()[-2:] == ["tx.given_up", "wallet.restored"]
    assert scene.state(swaps.FUNDING) == GivenUp(txid=txid_of(swaps.FUNDING))
    assert isinstance(scene.send(), send.Cancelling)
    wallet = scene.state(f"wallet/{OTHER}")
    assert isinstance(wallet, Wallet)
    assert (wallet.balance_msat, wallet.spending) == (NOTES_MSAT, {})
    rows = list(scene.rows)
    for late in (SubmissionAccepted(), GiveUpTransaction()):
        scene.deliver(swaps.FUNDING, late)
    scene.deliver(swaps.RECEIVE, GiveUpReceive())
    assert scene.rows == rows
    assert scene.audit().is_sound


def test_a_contract_that_was_funded_is_lost_and_its_change_is_not() -> None:
    scene = swapping()
    scene.accept(swaps.FUNDING)
    change_msat = give_up(scene)
    assert scene.last_append() == [
        *("federation.given_up", "deposits.paused"),
        *("receive.refund_lost", "send.cancelling"),
    ]
    assert isinstance(scene.state(swaps.FUNDING), transaction.Accepted), "it rests"
    balances = scene.audit().balances
    contract_msat = swaps.RECEIVED.contract_msat
    assert balances["lost"] == contract_msat + change_msat
    # Joined again: what was booked as lost is there, but for the contract.
    scene.deliver(identity.STREAM, JoinFederation(facts=of(OTHER, BITCOIN_FEES)))
    scene.collect(swaps.FUNDING)
    report = scene.audit()
    assert report.is_sound
    assert report.balances["lost"] == contract_msat
    assert f"given_up/{OTHER}" not in report.balances


def test_the_payer_of_an_invoice_has_his_money_back() -> None:
    scene = joined()
    scene.deliver(identity.STREAM, JoinFederation(facts=of(OTHER, BITCOIN_FEES)))
    scene.hold(*(note(f"n {n}") for n in range(3)), federation_id=OTHER)
    swaps.invoiced(scene=scene)
    scene.deliver(swaps.RECEIVE, swaps.HTLC)
    scene.accept(swaps.FUNDING)
    give_up(scene)
    assert isinstance(scene.state(swaps.HTLCS), completion.Cancelling)
    assert scene.audit().is_sound


def test_a_preimage_that_is_known_stays_bought() -> None:
    """Its sender is in another federation: only what is in this one is given up."""
    scene = swapping()
    scene.accept(swaps.FUNDING)
    scene.deliver(swaps.RECEIVE, receive.Decrypted(preimage=PREIMAGE))
    scene.deliver(STREAM, GiveUpFederation())
    assert isinstance(scene.send(), send.Paid)
    rows = list(scene.rows)
    late: tuple[tuple[str, Input], ...] = (
        (swaps.RECEIVE, GiveUpReceive()),
        (swaps.FUNDING, GiveUpTransaction()),
    )
    for stream, input_ in late:
        scene.deliver(stream, input_)
    assert scene.rows == rows


def test_only_what_is_served_is_given_up() -> None:
    scene = joined()
    with pytest.raises(ConflictError, match="does not serve"):
        scene.deliver(STREAM, GiveUpFederation())
    with pytest.raises(ConflictError, match="no such invoice"):
        scene.deliver(swaps.RECEIVE, GiveUpReceive())
    scene.deliver(swaps.FUNDING, GiveUpTransaction())
    assert scene.state(swaps.FUNDING) == transaction.Unborn()
