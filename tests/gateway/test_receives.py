"""Invoices of receivers, from the request to the ecash, and when nothing is funded."""

from pathlib import Path

import anyio
import pytest

from backends.lightning import Failed, Succeeded
from devnet.guardians.dealer import LNV2_ID
from devnet.users.receiving import IncomingOrder
from fedimint.client.transport import module_method
from fedimint.lnv2.gateway_api import Forfeited
from gateway import funding_turns
from gateway.receivers import ALIVE_TRIES
from statemachines import receive, send
from tests.gateway import calling
from tests.gateway.receiving import (
    RECEIVED_MSAT,
    give_ecash,
    hash_of,
    ordered,
    paying,
    stream_of,
    until,
)
from tests.gateway.scene import Hold, Scene, ask, kinds

pytestmark = pytest.mark.anyio


ONE_NOTE_MSAT = 1 << 24


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_a_contract_of_lnurl_writes_its_fee_where_others_write_their_expiration(
    scene: Scene,
) -> None:
    """2^64-1 less the fee, as recurringd makes them: a number that fits into no signed integer."""
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        fee_msat, expiry_s = 17_000, 3_600
        order = IncomingOrder(RECEIVED_MSAT, (1 << 64) - 1 - fee_msat - expiry_s, expiry_s)
        user, payment, invoice = await ordered(scene, gateway, routing, order=order)
        async with paying(scene, invoice) as heard:
            await until(gateway, invoice, receive.Received)
        assert isinstance(heard[-1], Succeeded)
        assert heard[-1].preimage == payment.preimage
        out_point = await user.await_funded(payment)
        assert out_point is not None
        await user.claim(payment, out_point)
        assert user.balance_msat() > RECEIVED_MSAT * 9 // 10


# --- what is held is answered ---


async def test_a_payment_of_a_federation_that_stands_still_is_failed_back(scene: Scene) -> None:
    """Its ecash is in a transaction that does not end: the payer would wait for its change for a day."""
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway, ONE_NOTE_MSAT)
        _, _, first = await ordered(scene, gateway, routing)
        _, _, second = await ordered(scene, gateway, routing)
        scene.federation.consensus.acceptance_delay = anyio.sleep_forever
        async with paying(scene, first):
            await until(gateway, first, receive.Funding)
            scene.federation.faults(0).is_down = True
            async with paying(scene, second) as heard:
                await scene.while_time_passes(lambda: until(gateway, second, receive.Declined))
            assert isinstance(heard[-1], Failed)
            scene.federation.consensus.acceptance_delay = None
            scene.federation.faults(0).is_down = False
            await scene.while_time_passes(lambda: until(gateway, first, receive.Received))


async def test_change_that_does_not_come_is_not_waited_for_for_ever(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(funding_turns, "CHANGE_LIMIT_S", 0.0)
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway, ONE_NOTE_MSAT)
        _, _, first = await ordered(scene, gateway, routing)
        _, _, second = await ordered(scene, gateway, routing)
        arrived = anyio.Event()
        scene.federation.consensus.acceptance_delay = arrived.wait
        async with paying(scene, first):
            await until(gateway, first, receive.Funding)
            async with paying(scene, second) as heard:
                await until(gateway, second, receive.FundingFailed)
            assert isinstance(heard[-1], Failed)
            arrived.set()
            await until(gateway, first, receive.Received)


async def test_what_the_node_gave_back_meanwhile_is_not_funded(scene: Scene) -> None:
    """Reports of what is held may be old when they are looked at, as after a time behind the chain."""
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, invoice = await ordered(scene, gateway, routing)
        node = scene.world.gateway_node
        node.is_synced = False
        async with paying(scene, invoice) as heard:
            await scene.drive(lambda: node.invoice_state(hash_of(invoice)) == "ACCEPTED")
            await scene.drive(lambda: bool(heard))
            node.cancel_held(hash_of(invoice))
        assert isinstance(heard[-1], Failed)
        node.is_synced = True
        ended = await scene.while_time_passes(
            lambda: until(gateway, invoice, receive.Declined, receive.Received)
        )
        assert isinstance(ended, receive.Declined)
    assert "wallet.reserved" not in kinds(scene.directory)


async def test_a_payment_that_waited_until_its_invoice_was_forgotten_is_failed_back(
    scene: Scene,
) -> None:
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, invoice = await ordered(scene, gateway, routing)
        node = scene.world.gateway_node
        async with paying(scene, invoice) as heard:
            scene.federation.faults(0).pause = hold = Hold()
            await hold.reached.wait()
            await gateway.engine.submit(stream_of(invoice), receive.InvoiceForgotten())
            hold.release()
        assert isinstance(heard[-1], Failed)
        assert node.invoice_state(hash_of(invoice)) == "CANCELED"


@pytest.mark.parametrize(("lost", "end"), [(ALIVE_TRIES - 1, Succeeded), (ALIVE_TRIES, Failed)])
async def test_guardians_are_asked_for_seconds_whether_they_are_alive(
    scene: Scene, lost: int, end: type[Succeeded | Failed]
) -> None:
    """A connection may have been lost just before the HTLC came, and is opened anew."""
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, invoice = await ordered(scene, gateway, routing)
        answers = iter([True] * lost)
        scene.federation.faults(0).loses_answer = lambda method: (
            method == module_method(LNV2_ID, "consensus_block_count") and next(answers, False)
        )
        async with paying(scene, invoice) as heard:
            await scene.drive(lambda: bool(heard) and isinstance(heard[-1], Succeeded | Failed))
        assert isinstance(heard[-1], end)
        assert next(answers, None) is None


# --- direct swaps ---


async def test_a_swap_to_a_federation_that_stands_still_is_given_back(scene: Scene) -> None:
    """Funded later, when the sender's contract is over and taken back, it would be paid out of our own pocket."""
    other = scene.add_federation("other")
    async with scene.joined() as (gateway, routing):
        await gateway.federations.connect_federation(other.invite_code().to_text(), recover=False)
        await give_ecash(scene, gateway, federation=other)
        other_routing = await calling.routing_of(gateway, other.federation_id.hex())
        receiver, order, invoice = await ordered(scene, gateway, other_routing, federation=other)
        sender, payment = await scene.funded(routing, invoice)
        other.faults(0).is_down = True
        answer = await scene.while_time_passes(lambda: ask(gateway, sender.body(payment)))
        assert isinstance(answer, Forfeited)
        cancelled = await gateway.engine.read(send.stream_of(payment.contract.contract_id().hex()))
        assert isinstance(cancelled.state, send.Cancelled)
        assert cancelled.state.reason == "RegistrationError"
        assert "does not answer" in cancelled.state.detail
        await sender.settle(payment, answer)
        # The receiver has lost nothing: somebody else may pay the invoice.
        other.faults(0).is_down = False
        async with paying(scene, invoice) as heard:
            await until(gateway, invoice, receive.Received)
        assert isinstance(heard[-1], Succeeded)
        assert await receiver.await_funded(order) is not None
