"""The promises that a walk of the machines must keep, formulated a second time."""

from collections import Counter

from fuzz.machines.scene import Scene
from fuzz.machines.world import FEDERATIONS
from statemachines import completion, receive, send
from statemachines.items import FundedContract
from statemachines.outlook import OpenState
from statemachines.transaction import TxReserved, wallet_of
from statemachines.wallet import Wallet

WITHOUT_PREIMAGE = (receive.FundingFailed, receive.Refunded, receive.RefundLost)


def check_at_the_end(scene: Scene) -> None:
    """Everything, of a walk whose faults are over. Raises AssertionError."""
    check_on_the_way(scene)
    assert {s: state for s, state in scene.states.items() if isinstance(state, OpenState)} == {}
    _htlcs_are_answered_as_the_receive_ended(scene)
    _swaps_end_as_the_receive_ended(scene)
    _notes_are_in_one_place(scene)


def check_on_the_way(scene: Scene) -> None:
    """What holds after every step. Raises AssertionError."""
    _books_are_sound_after_every_append(scene)
    _every_hash_is_funded_once(scene)
    _funding_and_completion_are_born_together(scene)


def _books_are_sound_after_every_append(scene: Scene) -> None:
    report = scene.audit()
    assert report.problems == ()
    assert sum(report.balances.values()) == 0
    held = ("ecash/", "transit/", "contracts/", "incoming/", "htlcs/", "deposits/")
    for account, amount_msat in report.balances.items():
        assert amount_msat > 0 or not account.startswith(held)


def _every_hash_is_funded_once(scene: Scene) -> None:
    decided = Counter(s for s, event in scene.events if isinstance(event, receive.ReceiveFunding))
    reserved = Counter(
        event.reservation.parent
        for _, event in scene.events
        if isinstance(event, TxReserved)
        and any(isinstance(output, FundedContract) for output in event.reservation.outputs)
    )
    assert all(count == 1 for count in decided.values())
    assert all(count == 1 and stream in decided for stream, count in reserved.items())


def _funding_and_completion_are_born_together(scene: Scene) -> None:
    appends: dict[int, list[str]] = {}
    for row in scene.rows:
        appends.setdefault(row.append, []).append(row.kind)
    for kinds in appends.values():
        if "receive.funding" in kinds:
            assert "completion.begun" in kinds
            assert {"tx.reserved", "receive.funding_failed"} & set(kinds)


def _htlcs_are_answered_as_the_receive_ended(scene: Scene) -> None:
    """Settled with the preimage that an HTLC of this receive bought, cancelled for every other end."""
    for stream, state in scene.states.items():
        if not stream.startswith("completion/"):
            continue
        received = scene.state(stream.replace("completion/", "receive/"))
        bought = isinstance(received, receive.Received) and not received.payer
        settled = isinstance(state, completion.Settled | completion.SettleRejected)
        assert settled == bought, (state, received)


def _swaps_end_as_the_receive_ended(scene: Scene) -> None:
    for stream in {s for s, event in scene.events if isinstance(event, send.SendSwapping)}:
        state = scene.states[stream]
        assert isinstance(state, send.Claimed | send.ClaimRejected | send.Cancelled)
        received = scene.state(receive.stream_of(state.facts.payment_hash))
        if isinstance(state, send.Cancelled):
            assert isinstance(received, WITHOUT_PREIMAGE)
        else:
            assert isinstance(received, receive.Received)
        assert isinstance(received, (*WITHOUT_PREIMAGE, receive.Received))
        assert received.payer == stream


def _notes_are_in_one_place(scene: Scene) -> None:
    for federation_id in FEDERATIONS:
        wallet = scene.state(wallet_of(federation_id))
        assert isinstance(wallet, Wallet)
        assert not wallet.spending
        nonces = [note.nonce for note in wallet.notes]
        assert len(nonces) == len(set(nonces))
