"""The simulated node: the conformance checks, the scripted faults, and the ledger."""

import hashlib
import random

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import conformance
from backends.conformance import AMOUNT_MSAT, FAR_DELAY_BLOCKS, FAR_FEE_MSAT, end_of, hold, pay
from backends.lightning import (
    Failed,
    InFlight,
    NodeRefusedError,
    NodeUnansweredError,
    NotFound,
    PaymentStatus,
    Succeeded,
)
from backends.simulated import Fault, SimulatedNode
from backends.simulated_chain import SimulatedChain
from backends.simulated_network import (
    InvoiceState,
    Order,
    Outcome,
    PayeeInvoice,
    Policy,
    Returned,
    Settled,
    SimulatedNetwork,
)
from errors import ConflictError, InputError
from fedimint.bolt11 import Bolt11Invoice

pytestmark = pytest.mark.anyio

NOW_S = 1_700_000_000
CHANNEL_MSAT = 1_000_000


class SimulatedWorld:
    """alice — bob — carol, and dave whom nobody knows."""

    def __init__(self) -> None:
        self.now_s = NOW_S
        self.chain = SimulatedChain()
        self.network = SimulatedNetwork(self.chain)
        self.node, self.bob, self.carol, self.dave = (
            SimulatedNode(self.network, name, lambda: self.now_s)
            for name in ("alice", "bob", "carol", "dave")
        )
        policy = Policy(FAR_FEE_MSAT, 0, FAR_DELAY_BLOCKS)
        for first, second in (("alice", "bob"), ("bob", "carol")):
            self.network.open_channel(
                first,
                second,
                first_msat=CHANNEL_MSAT,
                second_msat=CHANNEL_MSAT,
                first_policy=policy,
            )

    async def invoice(self, *, is_held: bool = False) -> Bolt11Invoice:
        return self.bob.make_invoice(AMOUNT_MSAT, is_held=is_held)

    async def expired_invoice(self) -> Bolt11Invoice:
        invoice = self.bob.make_invoice(AMOUNT_MSAT, expiry_s=10)
        self.now_s += 11
        return invoice

    async def own_invoice(self) -> Bolt11Invoice:
        return self.node.make_invoice(AMOUNT_MSAT)

    async def lonely_invoice(self) -> Bolt11Invoice:
        return self.dave.make_invoice(AMOUNT_MSAT)

    async def far_invoice(self) -> Bolt11Invoice:
        return self.carol.make_invoice(AMOUNT_MSAT)

    async def accepted(self, payment_hash: bytes) -> None:
        assert self.bob.invoice_state(payment_hash) is InvoiceState.ACCEPTED

    async def settle(self, payment_hash: bytes) -> None:
        self.bob.settle_held(payment_hash)

    async def cancel(self, payment_hash: bytes) -> None:
        self.bob.cancel_held(payment_hash)

    async def reconnect(self) -> None:
        self.node.is_down = True
        await checkpoint()
        self.node.is_down = False


@pytest.fixture
def world() -> SimulatedWorld:
    return SimulatedWorld()


async def unanswered(world: SimulatedWorld, invoice: Bolt11Invoice) -> None:
    with pytest.raises(NodeUnansweredError):
        await end_of(pay(world, invoice))


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
async def test_conformance(world: SimulatedWorld, check: conformance.Check) -> None:
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


async def test_a_held_payment_ends_with_its_timelock(world: SimulatedWorld) -> None:
    invoice = await hold(world)
    world.chain.mine(invoice.min_final_cltv_delta_blocks)
    assert await world.node.lookup(invoice.payment_hash) == InFlight()
    world.chain.mine(3)
    assert isinstance(await world.node.lookup(invoice.payment_hash), Failed)
    with pytest.raises(ConflictError):
        world.bob.settle_held(invoice.payment_hash)
    world.network.audit()


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


def test_the_cheapest_of_several_routes_is_taken() -> None:
    network = SimulatedNetwork(SimulatedChain())
    for middle, fee_msat in (("dear", 900), ("cheap", 10)):
        policy = Policy(base_fee_msat=fee_msat, proportional_millionths=0)
        network.open_channel("payer", middle, first_msat=10_000, second_msat=0)
        network.open_channel(middle, "payee", first_msat=10_000, second_msat=0, first_policy=policy)
    network.invoices[bytes(32)] = PayeeInvoice("payee", 5_000, bytes(32), is_held=False)
    ends: list[Outcome] = []
    order = Order("payer", "payee", bytes(32), 5_000, 18, 1_000, 100)
    network.send(order, ends.append)
    assert ends == [Settled(bytes(32), 10)]
    network.audit()


payments = st.tuples(
    st.sampled_from(["alice", "bob", "carol"]),
    st.sampled_from(["alice", "bob", "carol", "dave"]),
    st.integers(1, 1_500_000),
    st.booleans(),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(payments, max_size=12), st.randoms(use_true_random=False))
def test_no_payment_makes_or_loses_money(
    history: list[tuple[str, str, int, bool]], choices: random.Random
) -> None:
    network = SimulatedWorld().network
    total_msat = sum(network.ledger_msat().values())
    ends: list[Outcome] = []
    for number, (payer, payee, amount_msat, is_held) in enumerate(history):
        payment_hash = number.to_bytes(32, "big")
        network.invoices[payment_hash] = PayeeInvoice(payee, amount_msat, bytes(32), is_held)
        if payer != payee:
            network.send(
                Order(payer, payee, payment_hash, amount_msat, 18, 10_000, 500), ends.append
            )
        held = [h for h, i in network.invoices.items() if i.state is InvoiceState.ACCEPTED]
        if held and choices.random() < 0.5:
            if choices.random() < 0.5:
                network.settle(choices.choice(held), bytes(32))
            else:
                network.cancel(choices.choice(held))
        network.audit()
        assert sum(network.ledger_msat().values()) + network.locked_msat() == total_msat
    assert all(isinstance(end, Settled | Returned) for end in ends)
