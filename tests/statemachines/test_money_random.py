"""Random walks of a whole gateway: whatever happens in whatever order, no promise about money is broken."""

from collections import Counter
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statemachines import ALL_MACHINES, completion, receive, send
from statemachines.items import FundedContract
from statemachines.transaction import TxReserved, wallet_of
from statemachines.wallet import Wallet
from tests.statemachines.scene import Scene
from tests.statemachines.world import FEDERATIONS, OPEN_STATES, World

RUNS, STEPS = 300, 60
WITHOUT_PREIMAGE = (receive.FundingFailed, receive.Refunded, receive.RefundLost)


def _walk(world: World) -> Scene:
    """Requests and results in any order, then everything comes to its end."""
    for _ in range(STEPS):
        world.choose.choice([world.ask, world.work, world.work, world.a_late_result_comes])()
    world.everything_under_way_ends()
    world.everything_comes_again()
    return world.scene


def _check(scene: Scene) -> None:
    _books_are_sound_after_every_append(scene)
    _nothing_is_left_open(scene)
    _every_hash_is_funded_once(scene)
    _funding_and_completion_are_born_together(scene)
    _htlcs_are_answered_as_the_receive_ended(scene)
    _swaps_end_as_the_receive_ended(scene)
    _notes_are_in_one_place(scene)


def _books_are_sound_after_every_append(scene: Scene) -> None:
    report = scene.audit()
    assert report.problems == ()
    assert sum(report.balances.values()) == 0
    held = ("ecash/", "transit/", "contracts/", "incoming/", "htlcs/", "deposits/")
    for account, amount_msat in report.balances.items():
        assert amount_msat > 0 or not account.startswith(held)


def _nothing_is_left_open(scene: Scene) -> None:
    stuck = {stream: state for stream, state in scene.states.items() if _is_open(state)}
    assert stuck == {}


def _is_open(state: object) -> bool:
    return isinstance(state, OPEN_STATES)


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
    """Settled with the preimage that an HTLC of this receive bought, failed back for every other end."""
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


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False))
def test_no_walk_breaks_a_promise(choose: Random) -> None:
    _check(_walk(World(choose)))


def test_walks_meet_every_event_that_there_is() -> None:
    """Or they would prove nothing of it."""
    met: set[str] = set()
    for run in range(RUNS):
        scene = _walk(World(Random(f"walk {run}")))
        _check(scene)
        met |= {event.kind for _, event in scene.events}
    every = {event.kind for machine in ALL_MACHINES for event in machine.events}
    assert every - met == {"wallet.tweaks_added"}, "which test_wallet_random.py plays with"
