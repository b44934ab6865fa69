"""The answer to HTLCs at our node in every case, and what `/verify` says meanwhile."""

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from backends.lightning import Failed, Succeeded
from backends.simulated.node import Fault
from devnet.users.receiving import Flaw, IncomingOrder
from errors import ConflictError, NotFoundError, NotReadyError
from gateway.application import Gateway
from gateway.held_payments import PAUSE_FIRST_S, PAUSE_LONGEST_S, UNDECIDED_LIMIT_S
from gateway.node_watch import BEHIND_LIMIT_S, WATCH_PAUSE_S
from gateway.restoring import restore
from gateway.views import Verification
from statemachines import completion, receive
from tests.gateway.receiving import (
    RECEIVED_MSAT,
    give_ecash,
    hash_of,
    ordered,
    paying,
    stream_of,
    until,
)
from tests.gateway.scene import Scene, kinds, wallet
from tests.gateway.slow_node import with_slow_node

pytestmark = pytest.mark.anyio
UNPAID = Verification(preimage=None, failure=None)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def verified(gateway: Gateway, invoice: str) -> Verification:
    return await gateway.payments.verify(hash_of(invoice).hex(), wait=False)


async def failed_back(scene: Scene, gateway: Gateway, invoice: str) -> receive.Declined:
    """The payer is refunded, and none of our money moved."""
    async with paying(scene, invoice) as heard:
        declined = await until(gateway, invoice, receive.Declined)
    assert isinstance(declined, receive.Declined)
    assert isinstance(heard[-1], Failed)
    assert scene.world.network.locked_msat() == 0
    assert "wallet.reserved" not in kinds(scene.directory)
    assert (await verified(gateway, invoice)).failure == "Payment has been rejected"
    return declined


async def test_the_preimage_is_told_only_once_it_is_bought(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, payment, invoice = await ordered(scene, gateway, routing)
        assert await verified(gateway, invoice) == UNPAID
        async with paying(scene, invoice) as heard:
            await until(gateway, invoice, receive.Received)
        assert isinstance(heard[-1], Succeeded)
        assert await verified(gateway, invoice) == Verification(payment.preimage, None)
        with pytest.raises(NotFoundError, match="Unknown payment hash"):
            await gateway.payments.verify("ab" * 32, wait=True)


async def test_a_payment_that_the_node_reports_again_is_funded_once(scene: Scene) -> None:
    """While it is funded, when it is settled, and after a restart."""
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, invoice = await ordered(scene, gateway, routing)
        async with paying(scene, invoice) as heard:
            await until(gateway, invoice, receive.Funding)
            scene.world.gateway_node.repeat_held()
            await until(gateway, invoice, receive.Received)
            scene.world.gateway_node.repeat_held()
        assert isinstance(heard[-1], Succeeded)
    async with scene.serving() as gateway:
        scene.world.gateway_node.repeat_held()
        settled = await gateway.engine.wait(
            completion.stream_of(hash_of(invoice).hex()),
            lambda state: isinstance(state, completion.Settled),
        )
        assert isinstance(settled.state, completion.Settled)
    assert kinds(scene.directory).count("receive.funding") == 1
    assert kinds(scene.directory).count("completion.begun") == 1


async def test_receiving_was_switched_off_meanwhile(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, invoice = await ordered(scene, gateway, routing)
        await gateway.federations.set_payment_policy(scene.federation_id, receive_enabled=False)
        declined = await failed_back(scene, gateway, invoice)
        assert declined.reason == "receiving is switched off for the receiver's federation"


async def test_the_federation_was_left_meanwhile(scene: Scene) -> None:
    """An open invoice is no reason to stay: its payer is refunded."""
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, invoice = await ordered(scene, gateway, routing)
        await gateway.federations.leave_federation(scene.federation_id)
        declined = await failed_back(scene, gateway, invoice)
        assert "no longer serves the receiver's federation" in declined.reason


async def test_the_receivers_contract_has_expired(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        order = IncomingOrder(RECEIVED_MSAT, int(scene.clock.now_s) - 3_000, 3_600)
        _, _, invoice = await ordered(scene, gateway, routing, order=order)
        scene.clock.advance(600)
        declined = await failed_back(scene, gateway, invoice)
        assert declined.reason.startswith("the receiver waits for this payment for 0 seconds more")


async def test_too_few_blocks_are_left_for_the_federation_to_decrypt(scene: Scene) -> None:
    """The HTLC waited for a node behind the chain, nearly until the node gives it back by itself."""
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, invoice = await ordered(scene, gateway, routing)
        node = scene.world.gateway_node
        node.is_synced = False
        async with paying(scene, invoice) as heard:
            await scene.drive(lambda: node.invoice_state(hash_of(invoice)) == "ACCEPTED")
            # 144 and LND's padding of 3, of which the last 36 are none of ours, and one is left.
            scene.world.chain.mine(147 - 36 - 1)
            node.is_synced = True
            declined = await scene.while_time_passes(
                lambda: until(gateway, invoice, receive.Declined)
            )
        assert isinstance(declined, receive.Declined)
        assert declined.reason == "only 1 blocks are left until the HTLC's deadline"
        assert isinstance(heard[-1], Failed)


async def test_while_the_node_is_behind_the_chain_no_invoice_is_given_out(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        scene.world.gateway_node.is_synced = False
        told = (await gateway.info()).problems
        assert [one for one in told if "no invoices are given out" in one] == list(told)
        with pytest.raises(NotReadyError, match="behind the chain"):
            await ordered(scene, gateway, routing)
        assert "receive.registered" not in kinds(scene.directory)


async def test_what_is_held_by_a_node_behind_the_chain_is_failed_back_after_a_minute(
    scene: Scene,
) -> None:
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, invoice = await ordered(scene, gateway, routing)
        scene.world.gateway_node.is_synced = False
        begun_s = scene.clock.now_s
        async with paying(scene, invoice) as heard:
            declined = await scene.while_time_passes(
                lambda: until(gateway, invoice, receive.Declined)
            )
        assert isinstance(declined, receive.Declined)
        assert declined.reason == "the Lightning node is behind the chain"
        assert isinstance(heard[-1], Failed)
        latest_s = BEHIND_LIMIT_S + PAUSE_LONGEST_S + WATCH_PAUSE_S
        assert BEHIND_LIMIT_S <= scene.clock.now_s - begun_s <= latest_s


async def test_a_watch_that_is_lost_is_a_problem_until_it_is_back(scene: Scene) -> None:
    async with scene.joined() as (gateway, _):
        node = scene.world.gateway_node
        node.script(Fault.LOST, Fault.LOST, call="held_payments")
        node.cut_streams()
        told: list[str] = []
        while not told:
            await anyio.lowlevel.checkpoint()
            told = [
                one
                for one in (await gateway.info()).problems
                if "does not report the payments" in one
            ]
        while told:
            scene.clock.advance(PAUSE_FIRST_S)
            await anyio.lowlevel.checkpoint()
            told = [
                one
                for one in (await gateway.info()).problems
                if "does not report the payments" in one
            ]
        assert (await gateway.info()).problems == ()


async def test_a_contract_without_preimage_is_taken_back_and_its_payer_has_his_money(
    scene: Scene,
) -> None:
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        before_msat = (await wallet(gateway, scene.federation_id)).balance_msat
        order = IncomingOrder(RECEIVED_MSAT, int(scene.clock.now_s))
        _, _, invoice = await ordered(
            scene, gateway, routing, order=order, flaw=Flaw.WRONG_PREIMAGE
        )
        async with paying(scene, invoice) as heard:
            await until(gateway, invoice, receive.Refunded)
        assert isinstance(heard[-1], Failed)
        assert (await verified(gateway, invoice)).failure == "Payment has been refunded"
        held = await gateway.engine.wait(
            f"wallet/{scene.federation_id}", lambda state: not getattr(state, "spending", True)
        )
        assert before_msat - held.state.balance_msat < 20_000  # type: ignore[attr-defined]  # a wallet
        assert not scene.federation.audit().contracts_msat


async def test_a_node_that_knew_no_invoice_and_then_holds_its_payment_is_told_to_settle(
    scene: Scene,
) -> None:
    """Its database came back from a backup: the loss on record is none if it is answered in time."""
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, payment, invoice = await ordered(scene, gateway, routing)
        node, funded = scene.world.gateway_node, anyio.Event()
        scene.federation.consensus.acceptance_delay = funded.wait
        async with paying(scene, invoice) as heard:
            await until(gateway, invoice, receive.Funding)
            lost = node.invoices.pop(hash_of(invoice))
            funded.set()
            await gateway.engine.wait(
                completion.stream_of(hash_of(invoice).hex()),
                lambda state: isinstance(state, completion.SettleRejected),
            )
            node.invoices[hash_of(invoice)] = lost
            node.repeat_held()
        assert isinstance(heard[-1], Succeeded)
        assert heard[-1].preimage == payment.preimage


# --- nothing is held without an end, or unseen ---


async def undecided(scene: Scene, gateway: Gateway, invoice: str) -> receive.Held:
    held = await scene.while_time_passes(lambda: until(gateway, invoice, receive.Held))
    assert isinstance(held, receive.Held)
    return held


async def test_what_cannot_be_decided_is_shown_and_decided_once_it_can(scene: Scene) -> None:
    node = with_slow_node(scene)
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, invoice = await ordered(scene, gateway, routing)
        node.mute_call = "invoice"
        async with paying(scene, invoice) as heard:
            held = await undecided(scene, gateway, invoice)
            assert held.reason == "the node says nothing"
            (shown,) = [
                one for one in (await gateway.info()).open_payments if one.kind == "receive"
            ]
            assert (shown.state, shown.stream) == ("Held", stream_of(invoice))
            with pytest.raises(ConflictError, match="under way"):
                await gateway.federations.leave_federation(scene.federation_id)
            node.mute_call = ""
            await scene.while_time_passes(lambda: until(gateway, invoice, receive.Received))
        assert isinstance(heard[-1], Succeeded)
    assert kinds(scene.directory).count("receive.htlc_waits") == 1


async def test_what_cannot_be_decided_for_ten_minutes_is_failed_back(scene: Scene) -> None:
    node = with_slow_node(scene)
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, invoice = await ordered(scene, gateway, routing)
        node.mute_call = "invoice"
        began_s = scene.clock.now_s
        async with paying(scene, invoice) as heard:
            await undecided(scene, gateway, invoice)
            declined = await scene.while_time_passes(
                lambda: until(gateway, invoice, receive.Declined)
            )
        waited_s = scene.clock.now_s - began_s
        assert UNDECIDED_LIMIT_S <= waited_s <= UNDECIDED_LIMIT_S + 2 * PAUSE_LONGEST_S
        assert isinstance(declined, receive.Declined)
        assert declined.reason.startswith("nothing could be decided for 6")
        assert isinstance(heard[-1], Failed)
    assert "wallet.reserved" not in kinds(scene.directory)


async def test_a_restored_log_gives_nothing_back_before_its_federation_has_told(
    scene: Scene,
) -> None:
    """The lost events may have funded it: then the payer owes us what the HTLC holds."""
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, invoice = await ordered(scene, gateway, routing)
    backup, scene.directory = scene.directory, scene.directory.with_name("restored")
    restore(backup, scene.directory, scene.clock)
    scene.federation.faults(0).is_down = True
    async with scene.serving() as gateway, paying(scene, invoice) as heard:
        held = await undecided(scene, gateway, invoice)
        assert "restored from a backup" in held.reason
        began_s = scene.clock.now_s
        await scene.drive(lambda: scene.clock.now_s > began_s + 2 * UNDECIDED_LIMIT_S, step_s=30)
        assert isinstance(gateway.engine.peek(stream_of(invoice)), receive.Held)
        assert not any(isinstance(status, Failed) for status in heard)
        await scene.world.gateway_node.cancel(hash_of(invoice))
