"""A simulated node is paid: conformance checks, scripted faults, timelocks, balances."""

import hashlib

import anyio
import pytest

from backends.conformance import receiving
from backends.conformance.paying import end_of
from backends.conformance.receiving import (
    AMOUNT_MSAT,
    EXPIRY_S,
    Receipt,
    accept,
    begin,
    end,
    find,
    hold,
    is_rejected,
    seen,
)
from backends.lightning import Failed, HeldPayment, NodeRefusedError, NodeUnansweredError, Succeeded
from backends.operations import InvoiceRecord
from backends.simulated.network import Outcome, Returned, Settled
from backends.simulated.node import Fault, InvoiceState
from backends.simulated.part import Call
from backends.simulated.routes import Order
from errors import ConflictError, InputError
from fedimint.codec import bolt11
from tests.backends.simulated.world import CHANNEL_MSAT, NOW_S, SimulatedWorld

pytestmark = pytest.mark.anyio


@pytest.fixture
def world() -> SimulatedWorld:
    return SimulatedWorld()


def moved_msat(world: SimulatedWorld) -> int:
    """What alice has got, in whole."""
    world.network.audit()
    assert world.network.locked_msat() == 0
    return world.network.holdings_msat("alice") - CHANNEL_MSAT


def deliver(world: SimulatedWorld, receipt: Receipt, *, amount_msat: int, blocks: int) -> Outcome:
    """Let bob send what no honest payer sends; the outcome is Returned unless it is held."""
    ends: list[Outcome] = []
    order = Order("bob", "alice", receipt.payment_hash, amount_msat, blocks, 0, 500)
    world.network.send(order, ends.append)
    return ends[0] if ends else Returned("held")


@pytest.mark.parametrize("check", receiving.CHECKS, ids=lambda check: check.__name__)
async def test_conformance(world: SimulatedWorld, check: receiving.Check) -> None:
    await check(world)
    world.network.audit()


async def test_settling_moves_the_money(world: SimulatedWorld) -> None:
    receipt = await accept(world)
    assert world.network.locked_msat() == AMOUNT_MSAT
    await world.node.settle(receipt.payment_hash, receipt.preimage)
    assert moved_msat(world) == AMOUNT_MSAT


async def test_cancelling_gives_it_back(world: SimulatedWorld) -> None:
    receipt = await accept(world)
    await world.node.cancel(receipt.payment_hash)
    assert moved_msat(world) == 0


async def test_the_deadline_leaves_36_blocks(world: SimulatedWorld) -> None:
    receipt = await hold(world)
    await begin(world.bob, receipt.invoice)
    expiry_height = world.chain.height + 144 + 3
    assert await seen(world, receipt) == HeldPayment(
        receipt.payment_hash, AMOUNT_MSAT, expiry_height - 36
    )


@pytest.mark.parametrize(
    ("amount_msat", "expiry_s", "description"),
    [(0, EXPIRY_S, ""), (-1, EXPIRY_S, ""), (1, 0, ""), (1, EXPIRY_S, b"short")],
)
async def test_an_invoice_that_cannot_be_made(
    world: SimulatedWorld, amount_msat: int, expiry_s: int, description: str | bytes
) -> None:
    with pytest.raises(InputError):
        await world.node.create_invoice(
            payment_hash=bytes(32),
            amount_msat=amount_msat,
            expiry_s=expiry_s,
            description=description,
        )


async def test_a_hash_of_an_ordinary_invoice_cannot_be_held(world: SimulatedWorld) -> None:
    ordinary = world.node.make_invoice(AMOUNT_MSAT)
    with pytest.raises(NodeRefusedError) as refusal:
        await world.node.create_invoice(
            payment_hash=ordinary.payment_hash,
            amount_msat=AMOUNT_MSAT,
            expiry_s=EXPIRY_S,
            description="",
        )
    assert refusal.value.code == "ALREADY_EXISTS"


@pytest.mark.parametrize(
    ("amount_msat", "blocks", "is_held"),
    [
        (AMOUNT_MSAT, 144, True),
        (AMOUNT_MSAT - 1, 144, False),
        (AMOUNT_MSAT + 1, 144, True),
        (AMOUNT_MSAT, 140, False),
    ],
)
async def test_what_arrives_must_be_enough_in_money_and_time(
    world: SimulatedWorld, amount_msat: int, blocks: int, *, is_held: bool
) -> None:
    receipt = await hold(world)
    outcome = deliver(world, receipt, amount_msat=amount_msat, blocks=blocks)
    assert (outcome == Returned("held")) is is_held
    if is_held:
        assert (await seen(world, receipt)).amount_msat == amount_msat
    world.network.audit()


async def test_a_held_invoice_takes_one_payment(world: SimulatedWorld) -> None:
    receipt = await accept(world)
    again = deliver(world, receipt, amount_msat=AMOUNT_MSAT, blocks=144)
    assert again == Returned("the payee refused it")
    await world.node.settle(receipt.payment_hash, receipt.preimage)
    assert moved_msat(world) == AMOUNT_MSAT


async def test_an_invoice_that_expired_unpaid_is_cancelled(world: SimulatedWorld) -> None:
    receipt = await hold(world)
    world.now_s += EXPIRY_S + 1
    assert await is_rejected(world.node.settle(receipt.payment_hash, receipt.preimage))
    late = deliver(world, receipt, amount_msat=AMOUNT_MSAT, blocks=144)
    assert late == Returned("the payee refused it")


async def test_a_held_payment_outlives_its_invoice(world: SimulatedWorld) -> None:
    receipt = await accept(world)
    world.now_s += EXPIRY_S + 1
    await world.node.settle(receipt.payment_hash, receipt.preimage)
    assert moved_msat(world) == AMOUNT_MSAT
    assert await world.node.invoice(receipt.payment_hash) == InvoiceRecord(
        receipt.payment_hash, receipt.preimage, AMOUNT_MSAT, NOW_S, "Succeeded"
    )


async def test_the_node_fails_back_before_the_timelock(world: SimulatedWorld) -> None:
    receipt = await accept(world)
    world.chain.mine(144 + 3 - 18 - 1)
    await seen(world, receipt)
    world.chain.mine()
    assert isinstance(await end(world, receipt), Failed)
    assert await is_rejected(world.node.settle(receipt.payment_hash, receipt.preimage))
    assert moved_msat(world) == 0


async def test_a_node_that_is_down_fails_back_when_it_is_up(world: SimulatedWorld) -> None:
    receipt = await accept(world)
    world.node.is_down = True
    world.chain.mine(144 + 3 - 18)
    assert world.network.locked_msat() == AMOUNT_MSAT
    world.node.is_down = False
    assert isinstance(await end(world, receipt), Failed)
    assert world.node.invoice_state(receipt.payment_hash) is InvoiceState.CANCELED


async def test_a_node_that_is_down_too_long_loses_to_the_timelock(world: SimulatedWorld) -> None:
    receipt = await accept(world)
    world.node.is_down = True
    world.chain.mine(144 + 3)
    assert await end(world, receipt) == Failed("its timelock ran out")
    with pytest.raises(ConflictError):
        world.node.settle_held(receipt.payment_hash, receipt.preimage)
    world.node.is_down = False
    assert await is_rejected(world.node.settle(receipt.payment_hash, receipt.preimage))
    assert moved_msat(world) == 0


async def test_nobody_pays_a_payee_that_is_down(world: SimulatedWorld) -> None:
    receipt = await hold(world)
    world.node.is_down = True
    await begin(world.bob, receipt.invoice)
    assert await end(world, receipt) == Failed("no route was found")


async def test_what_is_held_is_told_many_times(world: SimulatedWorld) -> None:
    receipts = [await accept(world) for _ in range(2)]
    async with world.node.held_payments() as held:
        told = [await anext(held) for _ in receipts]
        world.node.repeat_held()
        world.node.repeat_held()
        assert [await anext(held) for _ in range(4)] == told * 2
    assert [payment.payment_hash for payment in told] == [one.payment_hash for one in receipts]


async def test_what_is_over_is_not_told(world: SimulatedWorld) -> None:
    first, second = [await accept(world) for _ in range(2)]
    async with world.node.held_payments() as held:
        await find(held, second)
        world.node.repeat_held()
        await world.node.cancel(first.payment_hash)
        assert (await anext(held)).payment_hash == second.payment_hash


async def test_every_watch_is_told(world: SimulatedWorld) -> None:
    receipt = await hold(world)
    told: list[bytes] = []

    async def watch() -> None:
        told.append((await seen(world, receipt)).payment_hash)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(watch)
        await anyio.wait_all_tasks_blocked()
        assert told == []
        await begin(world.bob, receipt.invoice)
    assert told == [receipt.payment_hash] * 3


async def test_a_watch_is_cut_after_its_first_payment(world: SimulatedWorld) -> None:
    first, second = [await accept(world) for _ in range(2)]
    world.node.script(Fault.CUT, call="held_payments")
    async with world.node.held_payments() as held:
        assert (await anext(held)).payment_hash == first.payment_hash
        with pytest.raises(NodeUnansweredError):
            await anext(held)
    await seen(world, second)


@pytest.mark.parametrize(
    ("fault", "error"), [(Fault.LOST, NodeUnansweredError), (Fault.REFUSED, NodeRefusedError)]
)
async def test_a_watch_that_does_not_open(
    world: SimulatedWorld, fault: Fault, error: type[Exception]
) -> None:
    receipt = await accept(world)
    world.node.script(fault, call="held_payments")
    with pytest.raises(error):
        await seen(world, receipt)
    await seen(world, receipt)


async def test_a_cut_breaks_streams_and_not_the_node(world: SimulatedWorld) -> None:
    receipt = await accept(world)
    async with world.node.held_payments() as held:
        await find(held, receipt)
        world.node.cut_streams()
        with pytest.raises(NodeUnansweredError):
            await anext(held)
    await seen(world, receipt)


async def test_one_answer_cannot_be_cut(world: SimulatedWorld) -> None:
    with pytest.raises(InputError, match="settle"):
        world.node.script(Fault.CUT, call="settle")


async def call(world: SimulatedWorld, name: Call, receipt: Receipt) -> None:
    if name == "settle":
        await world.node.settle(receipt.payment_hash, receipt.preimage)
    else:
        await world.node.cancel(receipt.payment_hash)


@pytest.mark.parametrize(
    ("name", "ended"), [("settle", InvoiceState.SETTLED), ("cancel", InvoiceState.CANCELED)]
)
@pytest.mark.parametrize(
    ("fault", "is_taken"),
    [(Fault.LOST, False), (Fault.REFUSED, False), (Fault.TAKEN, True), (Fault.DELAYED, False)],
)
async def test_a_completion_without_an_answer_is_asked_again(
    world: SimulatedWorld, name: Call, ended: InvoiceState, fault: Fault, *, is_taken: bool
) -> None:
    receipt = await accept(world)
    world.node.script(fault, call=name)
    with pytest.raises((NodeUnansweredError, NodeRefusedError)):
        await call(world, name, receipt)
    assert world.node.invoice_state(receipt.payment_hash) is (
        ended if is_taken else InvoiceState.ACCEPTED
    )
    await call(world, name, receipt)
    world.node.deliver_delayed()
    assert world.node.invoice_state(receipt.payment_hash) is ended
    paid = await end(world, receipt)
    assert isinstance(paid, Succeeded if name == "settle" else Failed)
    assert moved_msat(world) == (AMOUNT_MSAT if name == "settle" else 0)


async def test_a_delayed_completion_comes_too_late(world: SimulatedWorld) -> None:
    receipt = await accept(world)
    world.node.script(Fault.DELAYED, call="cancel")
    with pytest.raises(NodeUnansweredError):
        await world.node.cancel(receipt.payment_hash)
    await world.node.settle(receipt.payment_hash, receipt.preimage)
    world.node.deliver_delayed()
    assert moved_msat(world) == AMOUNT_MSAT


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.TAKEN, Fault.DELAYED])
async def test_a_hash_is_taken_once_whatever_became_of_the_answer(
    world: SimulatedWorld, fault: Fault
) -> None:
    payment_hash = hashlib.sha256(bytes(32)).digest()

    async def create() -> str:
        return await world.node.create_invoice(
            payment_hash=payment_hash,
            amount_msat=AMOUNT_MSAT,
            expiry_s=EXPIRY_S,
            description="held",
        )

    world.node.script(fault, call="create_invoice")
    with pytest.raises(NodeUnansweredError):
        await create()
    if fault is not Fault.TAKEN:
        assert bolt11.decode(await create()).payment_hash == payment_hash
    made = world.node.invoices[payment_hash]
    world.node.deliver_delayed()
    with pytest.raises(NodeRefusedError, match="somebody else's"):
        await create()
    assert world.node.invoices[payment_hash] is made


async def test_a_node_that_is_down_answers_no_payee(world: SimulatedWorld) -> None:
    receipt = await accept(world)
    world.node.is_down = True
    for name in ("settle", "cancel"):
        with pytest.raises(NodeUnansweredError):
            await call(world, name, receipt)
    for ask in (world.node.invoice(bytes(32)), seen(world, receipt), hold(world)):
        with pytest.raises(NodeUnansweredError):
            await ask
    world.node.is_down = False
    await call(world, "settle", receipt)
    assert moved_msat(world) == AMOUNT_MSAT


async def test_a_watch_ends_when_the_node_goes_down(world: SimulatedWorld) -> None:
    ends: list[str] = []

    async def watch() -> None:
        try:
            async with world.node.held_payments() as held:
                await anext(held)
        except NodeUnansweredError as error:
            ends.append(str(error))

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await anyio.wait_all_tasks_blocked()
        world.node.is_down = True
    assert len(ends) == 1


async def test_a_test_settles_with_a_preimage_of_its_own(world: SimulatedWorld) -> None:
    receipt = await accept(world)
    world.node.settle_held(receipt.payment_hash, receipt.preimage)
    assert isinstance(await end(world, receipt), Succeeded)
    with pytest.raises(ConflictError):
        world.node.cancel_held(receipt.payment_hash)


async def test_nothing_shows_a_preimage(world: SimulatedWorld) -> None:
    receipt = await accept(world)
    await world.node.settle(receipt.payment_hash, receipt.preimage)
    record = await world.node.invoice(receipt.payment_hash)
    listed = await world.node.transactions(0, NOW_S)
    shown = repr(
        (world.node.invoices, record, listed, await end_of(world.bob.track(receipt.payment_hash)))
    )
    assert repr(receipt.preimage)[2:-1] not in shown
    assert receipt.preimage.hex() not in shown


def part(
    world: SimulatedWorld, receipt: Receipt, ends: list[Outcome], *, of_msat: int, blocks: int
) -> None:
    """Let bob send a half of the invoice's amount, as one part of a payment of so many msat."""
    order = Order(
        "bob", "alice", receipt.payment_hash, AMOUNT_MSAT // 2, blocks, 0, 500, total_msat=of_msat
    )
    world.network.send(order, ends.append)


async def test_a_payment_in_parts_is_told_once_it_is_whole_with_its_first_timelock(
    world: SimulatedWorld,
) -> None:
    receipt = await hold(world)
    ends: list[Outcome] = []
    part(world, receipt, ends, of_msat=AMOUNT_MSAT, blocks=200)
    assert world.node.held() == ()
    part(world, receipt, ends, of_msat=AMOUNT_MSAT, blocks=150)
    assert world.node.held() == (receipt.payment_hash,)
    invoice = world.node.invoices[receipt.payment_hash]
    assert invoice.paid_msat == AMOUNT_MSAT
    assert invoice.expiry_height == min(one.expiry_height for one in invoice.parts)
    part(world, receipt, ends, of_msat=AMOUNT_MSAT, blocks=150)
    assert ends == [Returned("the payee refused it")]
    world.node.give_up_parts(receipt.payment_hash)  # it is whole
    await world.node.settle(receipt.payment_hash, receipt.preimage)
    assert [type(one) for one in ends] == [Returned, Settled, Settled]
    assert moved_msat(world) == AMOUNT_MSAT


async def test_parts_that_are_not_whole_or_name_another_whole_go_back(
    world: SimulatedWorld,
) -> None:
    receipt = await hold(world)
    ends: list[Outcome] = []
    part(world, receipt, ends, of_msat=AMOUNT_MSAT, blocks=150)
    part(world, receipt, ends, of_msat=AMOUNT_MSAT + 1, blocks=150)
    assert ends == [Returned("the payee refused it")]
    world.node.give_up_parts(receipt.payment_hash)
    assert ends[1:] == [Returned("the other parts did not come")]
    assert moved_msat(world) == 0
    part(world, receipt, ends, of_msat=AMOUNT_MSAT // 2, blocks=150)
    assert ends[2:] == [Returned("the payee refused it")]
