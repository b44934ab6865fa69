"""Payments that succeed: repeated requests, a silent node, bad guardians."""

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from backends.simulated.node import Fault
from devnet.guardians.faults import garbage, wrong_errors, wrong_shares
from errors import ConfigError, UnavailableError
from fedimint.client.transport import GuardianTimeout
from fedimint.lnv2.gateway_api import Forfeited, Paid
from gateway import federation_lifetimes
from gateway.node_watch import WATCH_PAUSE_S
from gateway.send_effects import LOOK_UP_PAUSE_S
from statemachines import send
from statemachines.wallet import TWEAK_POOL_SIZE
from tests.gateway.scene import (
    INVOICE_MSAT,
    Scene,
    ask,
    asking,
    kinds,
    stream_of,
    until,
    wallet,
)
from tests.gateway.slow_node import with_slow_node

pytestmark = pytest.mark.anyio
#: More than any round of retries takes, less than an invoice lives.
HALF_AN_HOUR_S = 1_800.0


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


# --- one payment, however often it is asked for ---


async def test_ten_at_once_and_one_later_get_the_same_answer_for_one_payment(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        async with asking(gateway, *[user.body(payment)] * 10) as answers:
            pass
        claimed = await until(gateway, payment, send.Claimed)
        assert isinstance(claimed, send.Claimed)
        spent_msat = scene.spent_msat()
        answers.append(await ask(gateway, user.body(payment)))
        assert len(answers) == 11
        assert all(answer == answers[0] for answer in answers)
        assert isinstance(answers[0], Paid)
        assert scene.spent_msat() == spent_msat == INVOICE_MSAT + claimed.routing_fee_msat
    before = kinds(scene.directory)
    assert before.count("send.accepted") == before.count("send.dispatching") == 1
    async with scene.serving() as gateway:
        assert await ask(gateway, user.body(payment)) == answers[0]
        assert kinds(scene.directory) == before
        assert scene.spent_msat() == spent_msat


async def test_a_caller_that_leaves_ends_nothing(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        held = scene.world.payee.make_invoice(INVOICE_MSAT, is_held=True)
        user, payment = await scene.funded(routing, held.text)
        async with anyio.create_task_group() as caller:
            caller.start_soon(ask, gateway, user.body(payment))
            await until(gateway, payment, send.InFlight)
            caller.cancel_scope.cancel()
        scene.world.payee.settle_held(held.payment_hash)
        await until(gateway, payment, send.Claimed)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)


# --- the node ---


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.TAKEN, Fault.CUT, Fault.DELAYED])
async def test_no_answer_of_the_node_is_no_reason_to_give_back(scene: Scene, fault: Fault) -> None:
    """While the invoice lives the payee may still be paid; so it is paid, and only once."""
    async with scene.joined() as (gateway, routing):
        held = scene.world.payee.make_invoice(INVOICE_MSAT, is_held=True)
        user, payment = await scene.funded(routing, held.text)
        scene.world.gateway_node.script(fault)
        async with asking(gateway, user.body(payment)) as answers:
            await scene.drive(lambda: isinstance(_state(gateway, payment), send.InFlight))
            scene.world.gateway_node.deliver_delayed()
            begin_s = scene.clock.now_s
            await scene.drive(lambda: scene.clock.now_s >= begin_s + 600)
            assert not answers
            scene.world.payee.settle_held(held.payment_hash)
        claimed = await until(gateway, payment, send.Claimed)
        assert isinstance(claimed, send.Claimed)
        assert isinstance(answers[0], Paid)
        assert scene.spent_msat() == INVOICE_MSAT + claimed.routing_fee_msat


def _state(gateway: object, payment: object) -> object:
    return gateway.engine.peek(stream_of(payment))  # type: ignore[attr-defined,arg-type]  # a shorthand


async def test_a_node_that_stays_silent_never_forfeits_before_expiry_and_then_does(
    scene: Scene,
) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        scene.world.gateway_node.script(*[Fault.LOST] * 20)
        async with asking(gateway, user.body(payment)) as answers:
            await until(gateway, payment, send.Dispatching)
            begin_s = scene.clock.now_s
            await scene.drive(lambda: scene.clock.now_s >= begin_s + 3_500, step_s=20)
            assert not answers
            assert isinstance(_state(gateway, payment), send.Unanswered)
            await scene.drive(lambda: bool(answers), step_s=20)
        assert isinstance(answers[0], Forfeited)
        assert scene.clock.now_s >= begin_s + 3_600
        await user.settle(payment, answers[0])
    assert scene.spent_msat() == 0
    assert kinds(scene.directory).count("send.dispatching") == send.ATTEMPTS_MAX


async def test_a_record_is_as_old_as_the_question_for_it(scene: Scene) -> None:
    """A call may reach the node after its answer left, and the answer be read once the invoice is over."""
    node = with_slow_node(scene)
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        scene.world.gateway_node.script(*[Fault.DELAYED] * send.ATTEMPTS_MAX)
        async with asking(gateway, user.body(payment)) as answers:
            await until(gateway, payment, send.Dispatching)
            begin_s = scene.clock.now_s
            await scene.drive(lambda: scene.clock.now_s >= begin_s + 3_500, step_s=20)
            node.slow("lookup")
            scene.clock.advance(LOOK_UP_PAUSE_S)
            async with node.while_it_answers():
                scene.world.gateway_node.deliver_delayed()
                scene.clock.advance(200)  # the invoice's end, and the margin for what is in transit
            await scene.drive(lambda: bool(answers))
        assert isinstance(answers[0], Paid)
        await until(gateway, payment, send.Claimed)


async def test_a_node_that_goes_down_with_a_payment_in_flight_and_comes_back(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        held = scene.world.payee.make_invoice(INVOICE_MSAT, is_held=True)
        user, payment = await scene.funded(routing, held.text)
        async with asking(gateway, user.body(payment)) as answers:
            await until(gateway, payment, send.InFlight)
            scene.world.gateway_node.is_down = True
            begin_s = scene.clock.now_s
            await scene.drive(lambda: scene.clock.now_s > begin_s + HALF_AN_HOUR_S, step_s=20)
            assert not answers
            assert (await gateway.info()).state == "Disconnected"
            scene.world.gateway_node.is_down = False
            scene.world.payee.settle_held(held.payment_hash)
            await scene.drive(lambda: bool(answers))
        assert isinstance(answers[0], Paid)


async def test_a_record_that_vanished_gives_nothing_back_and_calls_the_operator(
    scene: Scene,
) -> None:
    async with scene.joined() as (gateway, routing):
        held = scene.world.payee.make_invoice(INVOICE_MSAT, is_held=True, expiry_s=600)
        user, payment = await scene.funded(routing, held.text)
        node = scene.world.gateway_node
        async with anyio.create_task_group() as caller:
            caller.start_soon(ask, gateway, user.body(payment))
            await until(gateway, payment, send.InFlight)
            node.is_down = True
            node.forget(held.payment_hash)
            await scene.drive(lambda: bool(gateway.engine.jobs()))
            node.is_down = False
            await scene.drive(lambda: isinstance(_state(gateway, payment), send.Vanished))
            begin_s = scene.clock.now_s
            await scene.drive(lambda: scene.clock.now_s > begin_s + 7_200, step_s=20)
            assert isinstance(_state(gateway, payment), send.Vanished)
            (shown,) = (await gateway.info()).open_payments
            assert shown.state == "Vanished"
            assert shown.last_error is not None
            assert "no record of a payment that it showed in flight" in shown.last_error
            assert shown.age_s >= 7_200
            caller.cancel_scope.cancel()
    assert "send.cancelling" not in kinds(scene.directory)


async def test_a_node_that_is_down_at_the_start_refuses_sends_and_writes_nothing(
    scene: Scene,
) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
    before = kinds(scene.directory)
    scene.world.gateway_node.is_down = True
    async with scene.serving() as gateway:
        info = await gateway.info()
        assert (info.state, info.lightning) == ("Disconnected", None)
        assert len(info.federations) == 1
        for call in (
            lambda: ask(gateway, user.body(payment)),
            lambda: gateway.payments.routing_info(scene.federation_id),
            gateway.treasury.balances,
        ):
            with pytest.raises(UnavailableError, match="no connection to its Lightning node"):
                await call()
        assert kinds(scene.directory) == before
        scene.world.gateway_node.is_down = False
        scene.clock.advance(WATCH_PAUSE_S)
        await scene.drive(lambda: gateway._context.watch.info is not None)
        # The node is asked once more whether the log is the newest, after a pause.
        answer = await scene.while_time_passes(lambda: ask(gateway, user.body(payment)))
        assert isinstance(answer, Paid)


async def test_a_node_on_another_network_ends_the_gateway(scene: Scene) -> None:
    scene.network = "signet"
    with pytest.raises(ExceptionGroup) as ended:
        async with scene.serving():
            pytest.fail("it serves")
    assert ended.group_contains(ConfigError, match="the Lightning node is on regtest, this gateway")
    assert kinds(scene.directory) == []


# --- the federation ---


async def _pay_with(scene: Scene, peer: int, spoil: str) -> None:
    """Pay and claim while one guardian of four is bad; then the books must be right to the msat."""
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        faults = scene.federation.faults(peer)
        if spoil == "down":
            scene.federation.guardians[peer].stop()
        elif spoil == "silent":
            faults.loses_answer = lambda _method: True
        else:
            faults.lie = {
                "wrong_shares": wrong_shares,
                "wrong_errors": wrong_errors,
                "garbage": garbage,
            }[spoil]
        answer = await scene.while_time_passes(lambda: ask(gateway, user.body(payment)))
        assert isinstance(answer, Paid)
        claimed = await scene.while_time_passes(lambda: until(gateway, payment, send.Claimed))
        assert isinstance(claimed, send.Claimed)
        held = await wallet(gateway, scene.federation_id)
        assert held.balance_msat == claimed.received_msat > INVOICE_MSAT
        user_msat = user.balance_msat()
        assert scene.federation.audit().notes_msat == held.balance_msat + user_msat
    assert scene.federation.audit().is_balanced()
    assert not scene.federation.audit().contracts_msat


@pytest.mark.parametrize("peer", [0, 3])
@pytest.mark.parametrize("spoil", ["down", "silent", "wrong_shares", "wrong_errors", "garbage"])
async def test_one_bad_guardian_of_four_costs_nothing(
    tmp_path: Path, peer: int, spoil: str
) -> None:
    await _pay_with(Scene(tmp_path, guardians=4), peer, spoil)


async def test_a_federation_without_a_threshold_is_waited_for(tmp_path: Path) -> None:
    """The preimage is out and the claim durable; the guardians come back half an hour later."""
    scene = Scene(tmp_path, guardians=4)
    async with scene.joined() as (gateway, routing):
        held = scene.world.payee.make_invoice(INVOICE_MSAT, is_held=True)
        user, payment = await scene.funded(routing, held.text)
        async with asking(gateway, user.body(payment)) as answers:
            await until(gateway, payment, send.InFlight)
            for guardian in scene.federation.guardians[:2]:
                guardian.stop()
            scene.world.payee.settle_held(held.payment_hash)
        assert isinstance(answers[0], Paid)
        begin_s = scene.clock.now_s
        await scene.drive(lambda: scene.clock.now_s > begin_s + HALF_AN_HOUR_S, step_s=10)
        assert isinstance(_state(gateway, payment), send.Claiming)
        shown = (await gateway.info()).open_payments
        assert {payment.kind for payment in shown} == {"send", "tx"}
        for guardian in scene.federation.guardians[:2]:
            guardian.start()
        await scene.while_time_passes(lambda: until(gateway, payment, send.Claimed))
    assert scene.federation.audit().is_balanced()


async def test_a_claim_that_is_rejected_for_good_harms_no_wallet(scene: Scene) -> None:
    """The contract expires while the payment is held, and its sender takes the money back first."""
    async with scene.joined() as (gateway, routing):
        first, honest = await scene.funded(routing)
        await ask(gateway, first.body(honest))
        await until(gateway, honest, send.Claimed)
        before = await wallet(gateway, scene.federation_id)

        user, payment = await scene.funded(routing)
        came_first = anyio.Event()

        async def late(method: str) -> None:
            if method == "submit_transaction":
                await came_first.wait()

        scene.federation.faults(0).pause = late
        async with asking(gateway, user.body(payment)) as answers:
            await until(gateway, payment, send.Claiming)
            scene.federation.faults(0).pause = None
            scene.world.chain.mine(payment.contract.expiration_block_height)
            await user.refund(payment)
            came_first.set()
        assert isinstance(answers[0], Paid)
        lost = await scene.while_time_passes(lambda: until(gateway, payment, send.ClaimRejected))
        assert isinstance(lost, send.ClaimRejected)
        assert lost.error
        after = await wallet(gateway, scene.federation_id)
        assert after.notes == before.notes
        assert not after.spending
        assert await ask(gateway, user.body(payment)) == answers[0]
        await gateway.federations.trust_again(scene.federation_id)
        again, sound = await scene.funded(routing)
        assert isinstance(await ask(gateway, again.body(sound)), Paid)
        await until(gateway, sound, send.Claimed)
        grown = await wallet(gateway, scene.federation_id)
        assert grown.balance_msat > before.balance_msat
    assert scene.federation.audit().is_balanced()


async def test_guardians_that_cut_long_polls_are_asked_again(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        tries = 0

        async def cut(method: str) -> None:
            nonlocal tries
            tries += 1
            if "submit" in method or ("shares" in method and tries < 6):
                await anyio.lowlevel.checkpoint()
                if tries < 6:
                    raise GuardianTimeout("cut")

        scene.federation.faults(0).pause = cut
        await scene.while_time_passes(lambda: ask(gateway, user.body(payment)))
        await scene.while_time_passes(lambda: until(gateway, payment, send.Claimed))
        assert tries >= 6


async def test_many_claims_are_tidied_up_and_the_balance_stays_right(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        received_msat = 0
        while "wallet.credited" not in kinds(scene.directory) or not _tidied(scene):
            user, payment = await scene.funded(routing)
            await ask(gateway, user.body(payment))
            claimed = await until(gateway, payment, send.Claimed)
            assert isinstance(claimed, send.Claimed)
            received_msat += claimed.received_msat
        await gateway.engine.wait(
            f"wallet/{scene.federation_id}", lambda state: not getattr(state, "spending", None)
        )
        held = await wallet(gateway, scene.federation_id)
        assert received_msat * 99 // 100 < held.balance_msat < received_msat
        books = scene.federation.audit()
        assert books.is_balanced()


def _tidied(scene: Scene) -> bool:
    """Whether a transaction was reserved besides the claims."""
    seen = kinds(scene.directory)
    return seen.count("wallet.reserved") > seen.count("send.paid")


# --- the treasury ---


async def test_the_pool_is_filled_and_refilled(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        full = await wallet(gateway, scene.federation_id)
        assert len(full.tweaks) == TWEAK_POOL_SIZE == len(set(full.tweaks))
        user, payment = await scene.funded(routing)
        await ask(gateway, user.body(payment))
        await until(gateway, payment, send.Claimed)
        waiting = await wallet(gateway, scene.federation_id)
        assert not set(waiting.tweaks) - set(full.tweaks), (
            "grinding left the processor to the payment"
        )
        scene.clock.advance(federation_lifetimes.BUSY_PAUSE_S)
        for _ in range(200):
            await anyio.lowlevel.checkpoint()
        refilled = await wallet(gateway, scene.federation_id)
        assert len(refilled.tweaks) > TWEAK_POOL_SIZE - federation_lifetimes.TWEAKS_PER_EVENT
        assert len(refilled.tweaks) <= TWEAK_POOL_SIZE
        assert set(refilled.tweaks) - set(full.tweaks)


async def test_a_low_pool_is_refilled_beside_payments(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(federation_lifetimes, "ENOUGH_TWEAKS", TWEAK_POOL_SIZE)
    async with scene.joined() as (gateway, routing):
        full = await wallet(gateway, scene.federation_id)
        user, payment = await scene.funded(routing)
        await ask(gateway, user.body(payment))
        await until(gateway, payment, send.Claimed)
        for _ in range(200):
            await anyio.lowlevel.checkpoint()
        assert set((await wallet(gateway, scene.federation_id)).tweaks) - set(full.tweaks)


async def test_joining_waits_for_the_tweaks_of_the_first_payment(scene: Scene) -> None:
    sound, ground = scene.grind, list[bytes]()

    async def first_ones(tweak_filter: bytes) -> bytes:
        if len(ground) == federation_lifetimes.FIRST_TWEAKS:
            await anyio.sleep_forever()
        ground.append(await sound(tweak_filter))
        return ground[-1]

    scene.grind = first_ones
    async with scene.serving() as gateway:
        await gateway.federations.connect_federation(scene.invite(), recover=False)
        held = await wallet(gateway, scene.federation_id)
        assert held.tweaks == tuple(tweak.hex() for tweak in ground)
        assert len(ground) == federation_lifetimes.FIRST_TWEAKS


async def test_a_grinder_in_trouble_is_asked_again_later_and_disturbs_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(federation_lifetimes, "FIRST_TWEAKS_LIMIT_S", 0.0)
    sound, troubles = scene.grind, 3

    async def in_trouble(tweak_filter: bytes) -> bytes:
        nonlocal troubles
        if troubles:
            troubles -= 1
            raise UnavailableError("the grinder died")
        return await sound(tweak_filter)

    scene.grind = in_trouble
    async with scene.serving() as gateway:
        await gateway.federations.connect_federation(scene.invite(), recover=False)
        await scene.drive(lambda: troubles == 0)
        await scene.while_time_passes(
            lambda: gateway.engine.wait(
                f"wallet/{scene.federation_id}",
                lambda state: len(getattr(state, "tweaks", ())) == TWEAK_POOL_SIZE,
            )
        )
        full = await wallet(gateway, scene.federation_id)
    assert troubles == 0
    assert len(full.tweaks) == TWEAK_POOL_SIZE
