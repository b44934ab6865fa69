"""Changes while node or guardians answer count: decisions rest on what is true now."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from backends.lightning import Failed, Succeeded
from devnet.users.receiving import IncomingOrder
from engine.machine import Input
from errors import InputError, OutdatedError, UnavailableError
from fedimint.lnv2.gateway_api import Forfeited
from fuzz.machines.scene import facts as send_facts
from fuzz.machines.scene import receive_facts
from gateway.application import Gateway
from gateway.conditions import MEASURED_LIMIT_S
from statemachines import (
    gift,
    node_order,
    operator_payment,
    receive,
    reissue,
    send,
    transaction,
    withdrawal,
)
from statemachines.federation import Leave
from statemachines.federation import stream_of as federation_stream
from tests.gateway import calling
from tests.gateway.receiving import (
    RECEIVED_MSAT,
    give_ecash,
    ordered,
    paying,
    stream_of,
    until,
)
from tests.gateway.scene import Scene, asking, kinds
from tests.gateway.scene import until as sent_until
from tests.gateway.slow_node import SlowNode, with_slow_node

pytestmark = pytest.mark.anyio


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture
def node(scene: Scene) -> SlowNode:
    return with_slow_node(scene)


async def leave(scene: Scene, gateway: Gateway) -> str:
    await gateway.federations.leave_federation(scene.federation_id)
    return "the gateway no longer serves the receiver's federation"


async def switch_off(scene: Scene, gateway: Gateway) -> str:
    await gateway.federations.set_payment_policy(scene.federation_id, receive_enabled=False)
    return "receiving is switched off for the receiver's federation"


async def let_the_contract_expire(scene: Scene, _gateway: Gateway) -> str:
    scene.clock.advance(MEASURED_LIMIT_S)
    return "the receiver waits for this payment for 0 seconds more, too few to fund it"


@pytest.mark.parametrize("happens", [leave, switch_off, let_the_contract_expire])
@pytest.mark.parametrize("call", ["info", "invoice"])
async def test_an_htlc_is_funded_by_what_holds_in_the_moment_of_deciding(
    scene: Scene, node: SlowNode, call: str, happens: Callable[[Scene, Gateway], Awaitable[str]]
) -> None:
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        order = IncomingOrder(RECEIVED_MSAT, int(scene.clock.now_s) - 3_600 + MEASURED_LIMIT_S)
        _, _, invoice = await ordered(scene, gateway, routing, order=order)
        node.slow(call)
        async with paying(scene, invoice) as heard:
            async with node.while_it_answers():
                reason = await happens(scene, gateway)
            declined = await until(gateway, invoice, receive.Declined, receive.Funding)
        assert isinstance(declined, receive.Declined)
        assert declined.reason == reason
        assert isinstance(heard[-1], Failed)
    assert "wallet.reserved" not in kinds(scene.directory)


async def test_what_was_measured_long_ago_is_measured_again(scene: Scene, node: SlowNode) -> None:
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, invoice = await ordered(scene, gateway, routing)
        node.slow("invoice")
        async with paying(scene, invoice) as heard:
            async with node.while_it_answers():
                scene.clock.advance(MEASURED_LIMIT_S + 1)
            await scene.while_time_passes(lambda: until(gateway, invoice, receive.Received))
        assert isinstance(heard[-1], Succeeded)
        assert node.answers == 2


@pytest.mark.parametrize("happens", ["left", "switched off", "forgotten"])
async def test_a_swap_is_begun_by_what_holds_in_the_moment_of_deciding(
    scene: Scene, node: SlowNode, happens: str
) -> None:
    other = scene.add_federation("other")
    other_id = other.federation_id.hex()
    async with scene.joined() as (gateway, routing):
        await gateway.federations.connect_federation(other.invite_code().to_text(), recover=False)
        await give_ecash(scene, gateway, federation=other)
        other_routing = await calling.routing_of(gateway, other_id)
        _, _, invoice = await ordered(scene, gateway, other_routing, federation=other)
        user, payment = await scene.funded(routing, invoice)
        node.slow("info")
        async with asking(gateway, user.body(payment)) as answers, node.while_it_answers():
            if happens == "left":
                await gateway.federations.leave_federation(other_id)
            elif happens == "switched off":
                await gateway.federations.set_payment_policy(other_id, receive_enabled=False)
            else:
                scene.clock.advance(MEASURED_LIMIT_S)
                await gateway.engine.submit(stream_of(invoice), receive.InvoiceForgotten())
        assert isinstance(answers[0], Forfeited)
        cancelled = await sent_until(gateway, payment, send.Cancelled)
        assert isinstance(cancelled, send.Cancelled)
        assert cancelled.reason == "RegistrationError"
    assert "receive.funding" not in kinds(scene.directory)


async def test_a_payment_is_called_for_by_the_time_of_deciding(
    scene: Scene, node: SlowNode
) -> None:
    """The invoice expires while the node tells its height: no call leaves any more."""
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing, scene.invoice(expiry_s=MEASURED_LIMIT_S))
        node.slow("info")
        async with asking(gateway, user.body(payment)), node.while_it_answers():
            scene.clock.advance(MEASURED_LIMIT_S)
        cancelled = await sent_until(gateway, payment, send.Cancelled)
        assert isinstance(cancelled, send.Cancelled)
        assert cancelled.reason == "InvoiceExpired"
    assert "send.dispatching" not in kinds(scene.directory)


def requests(scene: Scene) -> list[tuple[str, Input]]:
    """New work of every kind that needs the federation, as it would be accepted."""
    federation_id, now_unix_s = scene.federation_id, int(scene.clock.now_s)
    gift_facts = gift.GiftFacts("g1", federation_id, 512)
    reissued = reissue.ReissueFacts("e1", federation_id, ())
    out = withdrawal.WithdrawalFacts(federation_id, "bcrt1q", "00", 1_000, 10)
    received = msgspec.structs.replace(receive_facts(), federation_id=federation_id)
    sent = msgspec.structs.replace(send_facts(), federation_id=federation_id)
    return [
        (gift.stream_of("g1"), gift.RequestGift(facts=gift_facts)),
        (reissue.stream_of("e1"), reissue.RequestReissue(facts=reissued)),
        (
            withdrawal.stream_of("w1"),
            withdrawal.RequestWithdrawal(id="w1", facts=out, now_unix_s=now_unix_s),
        ),
        (
            receive.stream_of(received.payment_hash),
            receive.RequestReceive(facts=received),
        ),
        (send.stream_of(sent.contract_id), send.RequestSend(facts=sent, other_network=False)),
    ]


async def test_no_work_is_taken_for_a_federation_that_was_left(scene: Scene) -> None:
    """Whatever code hands it in, and whatever it had found out before."""
    async with scene.joined() as (gateway, _):
        await gateway.engine.submit(federation_stream(scene.federation_id), Leave())
        for stream, request in requests(scene):
            with pytest.raises(InputError, match="No federation available"):
                await gateway.engine.submit(stream, request)


async def test_no_work_is_taken_by_a_gateway_that_stops(scene: Scene) -> None:
    async with scene.joined() as (gateway, _):
        await gateway.halt()
        order = node_order.SendCoins("bcrt1q", 1_000, 1)
        paid = operator_payment.OperatorPaymentFacts("aa" * 32, scene.invoice(), 1, 1, 1)
        others: list[tuple[str, Input]] = [
            (node_order.stream_of("o1"), node_order.RequestOrder(id="o1", order=order)),
            (
                operator_payment.stream_of("aa" * 32),
                operator_payment.RequestOperatorPayment(facts=paid),
            ),
        ]
        for stream, request in [*requests(scene), *others]:
            with pytest.raises(UnavailableError, match="stopping"):
                await gateway.engine.submit(stream, request)


async def test_receiving_is_asked_about_when_a_hash_is_taken(scene: Scene) -> None:
    async with scene.joined() as (gateway, _):
        await switch_off(scene, gateway)
        ((stream, request),) = [
            one for one in requests(scene) if isinstance(one[1], receive.RequestReceive)
        ]
        with pytest.raises(InputError, match="receiving is switched off"):
            await gateway.engine.submit(stream, request)


@pytest.mark.parametrize("age_s", [-1, MEASURED_LIMIT_S + 1])
async def test_a_fee_that_was_quoted_long_ago_pays_for_no_withdrawal(
    scene: Scene, age_s: int
) -> None:
    async with scene.joined() as (gateway, _):
        ((stream, request),) = [
            (stream, msgspec.structs.replace(one, now_unix_s=one.now_unix_s - age_s))
            for stream, one in requests(scene)
            if isinstance(one, withdrawal.RequestWithdrawal)
        ]
        with pytest.raises(OutdatedError, match="are asked again"):
            await gateway.engine.submit(stream, request)


async def test_a_withdrawal_has_its_time_to_be_signed_from_its_decision_on(scene: Scene) -> None:
    """Not from the quote of its fee, which may be a minute old."""
    async with scene.joined() as (gateway, _):
        await give_ecash(scene, gateway)
        ((stream, request),) = [
            one for one in requests(scene) if isinstance(one[1], withdrawal.RequestWithdrawal)
        ]
        scene.clock.advance(MEASURED_LIMIT_S)
        await gateway.engine.submit(stream, request)
        reservations = [
            state.reservation
            for state in gateway.engine.open_streams().values()
            if isinstance(state, transaction.Reserved)
        ]
    (ours,) = [reservation for reservation in reservations if reservation.parent == stream]
    assert ours.sign_by_unix_s == scene.clock.now_s + transaction.SIGN_WITHIN_S


async def test_an_expired_invoice_of_the_operators_is_not_paid(scene: Scene) -> None:
    async with scene.serving() as gateway:
        paid = operator_payment.OperatorPaymentFacts("aa" * 32, scene.invoice(expiry_s=1), 1, 1, 1)
        scene.clock.advance(1)
        with pytest.raises(InputError, match="has expired"):
            await gateway.engine.submit(
                operator_payment.stream_of("aa" * 32),
                operator_payment.RequestOperatorPayment(facts=paid),
            )
