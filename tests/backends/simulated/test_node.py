"""The simulated node pays: the conformance checks and the scripted faults."""

import hashlib

import anyio
import pytest

from backends.conformance import paying
from backends.conformance.paying import AMOUNT_MSAT, FAR_FEE_MSAT, end_of, hold, pay
from backends.lightning import (
    Failed,
    InFlight,
    NodeRefusedError,
    NodeUnansweredError,
    NotFound,
    PaymentStatus,
    Succeeded,
)
from backends.simulated.node import Fault
from errors import ConflictError, InputError
from fedimint.codec.bolt11 import Bolt11Invoice
from tests.backends.simulated.world import CHANNEL_MSAT, SimulatedWorld

pytestmark = pytest.mark.anyio


@pytest.fixture
def world() -> SimulatedWorld:
    return SimulatedWorld()


async def unanswered(world: SimulatedWorld, invoice: Bolt11Invoice) -> None:
    with pytest.raises(NodeUnansweredError):
        await end_of(pay(world, invoice))


@pytest.mark.parametrize("check", paying.CHECKS, ids=lambda check: check.__name__)
async def test_conformance(world: SimulatedWorld, check: paying.Check) -> None:
    await check(world)
    world.network.audit()


async def test_a_far_payment_pays_everybody_on_the_way(world: SimulatedWorld) -> None:
    paid = await end_of(pay(world, world.carol.make_invoice(AMOUNT_MSAT)))
    assert isinstance(paid, Succeeded)
    assert paid.fee_msat == FAR_FEE_MSAT
    assert world.network.holdings_msat("alice") == CHANNEL_MSAT - AMOUNT_MSAT - FAR_FEE_MSAT
    assert world.network.holdings_msat("bob") == 2 * CHANNEL_MSAT + FAR_FEE_MSAT
    assert world.network.holdings_msat("carol") == CHANNEL_MSAT + AMOUNT_MSAT
    world.network.audit()


async def test_too_little_in_the_channel(world: SimulatedWorld) -> None:
    invoice = world.bob.make_invoice(CHANNEL_MSAT + 1)
    assert await end_of(pay(world, invoice)) == Failed("the channels hold too little")


async def test_what_the_payee_does_not_want(world: SimulatedWorld) -> None:
    invoice = world.bob.make_invoice(AMOUNT_MSAT)
    world.bob.cancel_held(invoice.payment_hash)
    assert await end_of(pay(world, invoice)) == Failed("the payee refused it")
    world.network.audit()


async def test_a_failed_hash_may_be_paid_anew(world: SimulatedWorld) -> None:
    invoice = world.carol.make_invoice(AMOUNT_MSAT)
    assert isinstance(await end_of(pay(world, invoice, max_fee_msat=0)), Failed)
    assert isinstance(await end_of(pay(world, invoice)), Succeeded)


async def test_a_lost_call_never_pays(world: SimulatedWorld) -> None:
    world.node.script(Fault.LOST)
    invoice = world.bob.make_invoice(AMOUNT_MSAT)
    await unanswered(world, invoice)
    world.node.deliver_delayed()
    assert await world.node.lookup(invoice.payment_hash) == NotFound()
    assert isinstance(await end_of(pay(world, invoice)), Succeeded)


async def test_a_delayed_call_pays_after_not_found(world: SimulatedWorld) -> None:
    world.node.script(Fault.DELAYED)
    invoice = world.bob.make_invoice(AMOUNT_MSAT)
    await unanswered(world, invoice)
    assert await world.node.lookup(invoice.payment_hash) == NotFound()
    world.node.deliver_delayed()
    assert isinstance(await world.node.lookup(invoice.payment_hash), Succeeded)


async def test_a_delayed_call_comes_too_late(world: SimulatedWorld) -> None:
    world.node.script(Fault.DELAYED)
    invoice = world.bob.make_invoice(AMOUNT_MSAT, expiry_s=60)
    await unanswered(world, invoice)
    world.now_s += 61
    world.node.deliver_delayed()
    assert await world.node.lookup(invoice.payment_hash) == NotFound()


@pytest.mark.parametrize("fault", [Fault.TAKEN, Fault.CUT])
async def test_a_call_that_dies_after_the_node_took_it(world: SimulatedWorld, fault: Fault) -> None:
    world.node.script(fault)
    invoice = world.bob.make_invoice(AMOUNT_MSAT)
    await unanswered(world, invoice)
    assert isinstance(await end_of(world.node.track(invoice.payment_hash)), Succeeded)


async def test_a_scripted_refusal(world: SimulatedWorld) -> None:
    world.node.script(Fault.NONE, Fault.REFUSED)
    assert isinstance(await end_of(pay(world, world.bob.make_invoice(AMOUNT_MSAT))), Succeeded)
    invoice = world.bob.make_invoice(AMOUNT_MSAT)
    with pytest.raises(NodeRefusedError):
        await end_of(pay(world, invoice))
    assert await world.node.lookup(invoice.payment_hash) == NotFound()


async def test_a_node_that_is_down_answers_nothing(world: SimulatedWorld) -> None:
    invoice = await hold(world)
    world.node.is_down = True
    for call in (world.node.info, world.node.balances):
        with pytest.raises(NodeUnansweredError):
            await call()
    with pytest.raises(NodeUnansweredError):
        await world.node.lookup(invoice.payment_hash)
    await unanswered(world, world.bob.make_invoice(AMOUNT_MSAT))
    world.bob.settle_held(invoice.payment_hash)
    world.node.is_down = False
    assert isinstance(await world.node.lookup(invoice.payment_hash), Succeeded)


async def test_nothing_is_forwarded_by_a_node_that_is_down(world: SimulatedWorld) -> None:
    world.bob.is_down = True
    assert await end_of(pay(world, world.carol.make_invoice(AMOUNT_MSAT))) == Failed(
        "no route was found"
    )


async def test_a_forgotten_payment_still_moves_money(world: SimulatedWorld) -> None:
    invoice = await hold(world)
    world.node.forget(invoice.payment_hash)
    assert await world.node.lookup(invoice.payment_hash) == NotFound()
    assert world.network.locked_msat() == AMOUNT_MSAT
    world.bob.settle_held(invoice.payment_hash)
    assert world.network.holdings_msat("alice") == CHANNEL_MSAT - AMOUNT_MSAT
    world.network.audit()


async def test_a_payment_by_hand_is_in_the_nodes_record(world: SimulatedWorld) -> None:
    invoice = world.bob.make_invoice(AMOUNT_MSAT)
    world.node.is_down = True
    with pytest.raises(NodeUnansweredError):
        world.node.pay_by_hand(invoice.text, max_fee_msat=0, max_delay_blocks=100)
    world.node.is_down = False
    world.node.script(Fault.LOST)
    world.node.pay_by_hand(invoice.text, max_fee_msat=0, max_delay_blocks=100)
    assert isinstance(await world.node.lookup(invoice.payment_hash), Succeeded)
    with pytest.raises(NodeRefusedError):
        world.node.pay_by_hand(invoice.text, max_fee_msat=0, max_delay_blocks=100)


async def test_a_forgotten_invoice_cannot_be_paid(world: SimulatedWorld) -> None:
    forgotten, held = world.bob.make_invoice(AMOUNT_MSAT), await hold(world)
    assert world.bob.held() == (held.payment_hash,)
    world.bob.forget_invoice(forgotten.payment_hash)
    async with pay(world, forgotten) as statuses:
        assert isinstance([status async for status in statuses][-1], Failed)
    with pytest.raises(ConflictError):
        world.bob.forget_invoice(held.payment_hash)


async def test_an_invoice_with_a_hash_of_somebody_else(world: SimulatedWorld) -> None:
    preimage = bytes(range(32))
    invoice = world.bob.make_invoice(AMOUNT_MSAT, payment_hash=hashlib.sha256(preimage).digest())
    async with pay(world, invoice) as statuses:
        assert await anext(statuses) == InFlight()
    with pytest.raises(InputError):
        world.bob.settle_held(invoice.payment_hash)
    world.bob.settle_held(invoice.payment_hash, preimage)
    assert await world.node.lookup(invoice.payment_hash) == Succeeded(preimage, 0)
    with pytest.raises(ConflictError):
        world.bob.cancel_held(invoice.payment_hash)


async def test_the_invoice_must_be_the_payments(world: SimulatedWorld) -> None:
    invoice = world.bob.make_invoice(AMOUNT_MSAT)
    call = world.node.pay(
        invoice.text, payment_hash=bytes(32), max_fee_msat=0, max_delay_blocks=100
    )
    with pytest.raises(InputError, match="hash"):
        await end_of(call)


async def test_many_may_follow_one_payment(world: SimulatedWorld) -> None:
    invoice = await hold(world)
    ends: list[PaymentStatus] = []

    async def follow() -> None:
        ends.append(await end_of(world.node.track(invoice.payment_hash)))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        assert ends == []
        world.bob.settle_held(invoice.payment_hash)
    assert len(ends) == 3
    assert all(isinstance(end, Succeeded) for end in ends)


async def test_a_follower_can_be_cancelled(world: SimulatedWorld) -> None:
    invoice = await hold(world)
    async with anyio.create_task_group() as group:
        group.start_soon(end_of, world.node.track(invoice.payment_hash))
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    world.bob.settle_held(invoice.payment_hash)
    assert isinstance(await world.node.lookup(invoice.payment_hash), Succeeded)


def test_two_runs_are_alike() -> None:
    first, second = SimulatedWorld(), SimulatedWorld()
    assert first.node.public_key == second.node.public_key
    assert first.bob.make_invoice(1_000).text == second.bob.make_invoice(1_000).text
    assert first.bob.make_invoice(1_000).text != first.carol.make_invoice(1_000).text
