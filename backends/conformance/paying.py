"""What every Lightning backend must do, as checks to run against a payer in some world.

Each check is an async function that raises AssertionError. The worlds, simulated or real, are in
the tests.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from backends.lightning import (
    Failed,
    InFlight,
    LightningNode,
    NodeRefusedError,
    NodeUnansweredError,
    NotFound,
    PaymentStatus,
    PaymentStatuses,
    Succeeded,
)
from errors import InputError
from fedimint.codec.bolt11 import Bolt11Invoice

AMOUNT_MSAT = 100_000
FAR_FEE_MSAT = 5_000
FAR_DELAY_BLOCKS = 100
ROOMY_FEE_MSAT = 50_000
ROOMY_DELAY_BLOCKS = 1_000


class World(Protocol):
    """A payer, the node under test, with a channel to a payee that charges the payer nothing."""

    @property
    def node(self) -> LightningNode:
        """The payer."""
        ...

    async def invoice(self, *, is_held: bool = False) -> Bolt11Invoice:
        """Make a new invoice of the payee for AMOUNT_MSAT."""
        ...

    async def expired_invoice(self) -> Bolt11Invoice:
        """Make an invoice that expired before now."""
        ...

    async def own_invoice(self) -> Bolt11Invoice:
        """Make an invoice of the payer itself."""
        ...

    async def lonely_invoice(self) -> Bolt11Invoice:
        """Make an invoice of a node that no channel reaches."""
        ...

    async def far_invoice(self) -> Bolt11Invoice:
        """Make one of a node behind the payee, FAR_FEE_MSAT and FAR_DELAY_BLOCKS further on."""
        ...

    async def accepted(self, payment_hash: bytes) -> None:
        """Wait until the payee holds the payment of a held invoice."""
        ...

    async def settle(self, payment_hash: bytes) -> None:
        """Let the payee claim a held payment."""
        ...

    async def cancel(self, payment_hash: bytes) -> None:
        """Let the payee give a held payment back."""
        ...

    async def reconnect(self) -> None:
        """Break the payer's connection and put a working one in its place."""
        ...


Check = Callable[[World], Awaitable[None]]


def pay(
    world: World,
    invoice: Bolt11Invoice,
    *,
    max_fee_msat: int = ROOMY_FEE_MSAT,
    max_delay_blocks: int = ROOMY_DELAY_BLOCKS,
) -> PaymentStatuses:
    """Pay with roomy budgets unless told otherwise."""
    return world.node.pay(
        invoice.text,
        payment_hash=invoice.payment_hash,
        max_fee_msat=max_fee_msat,
        max_delay_blocks=max_delay_blocks,
    )


async def end_of(call: PaymentStatuses) -> PaymentStatus:
    """Follow a call to its last status; all before it must be InFlight."""
    last: PaymentStatus = InFlight()
    async with call as statuses:
        async for status in statuses:
            assert isinstance(last, InFlight), "no status may follow a final one"
            last = status
    assert not isinstance(last, InFlight), "the statuses may not end in flight"
    return last


async def refusal_of(call: PaymentStatuses) -> NodeRefusedError:
    """Expect that the node refuses a call."""
    try:
        status = await end_of(call)
    except NodeRefusedError as refusal:
        return refusal
    raise AssertionError(f"not refused, but {status}")


async def hold(world: World) -> Bolt11Invoice:
    """Bring a payment in flight and leave the call."""
    invoice = await world.invoice(is_held=True)
    async with pay(world, invoice) as statuses:
        assert await anext(statuses) == InFlight()
    await world.accepted(invoice.payment_hash)
    assert await world.node.lookup(invoice.payment_hash) == InFlight()
    return invoice


async def tells_who_it_is(world: World) -> None:
    """Identity and chain view can be read."""
    info = await world.node.info()
    assert len(bytes.fromhex(info.public_key)) == 33
    assert info.network == "regtest"
    assert info.block_height > 0
    assert info.synced_to_chain


async def pays_and_remembers(world: World) -> None:
    """A success has the preimage, costs exactly amount and fee, and stays on record."""
    before = await world.node.balances()
    invoice = await world.invoice()
    assert await world.node.lookup(invoice.payment_hash) == NotFound()
    paid = await end_of(pay(world, invoice))
    assert isinstance(paid, Succeeded)
    assert paid.fee_msat == 0
    assert await end_of(world.node.track(invoice.payment_hash)) == paid
    assert await world.node.lookup(invoice.payment_hash) == paid
    after = await world.node.balances()
    assert before.lightning_msat - after.lightning_msat == AMOUNT_MSAT


async def refuses_what_is_paid(world: World) -> None:
    """A paid hash is refused, and its record stays."""
    invoice = await world.invoice()
    paid = await end_of(pay(world, invoice))
    assert (await refusal_of(pay(world, invoice))).code == "ALREADY_EXISTS"
    assert await world.node.lookup(invoice.payment_hash) == paid


async def refuses_what_is_in_flight(world: World) -> None:
    """A hash in flight is refused, and the first payment goes on to its end."""
    invoice = await hold(world)
    assert (await refusal_of(pay(world, invoice))).code == "ALREADY_EXISTS"
    await world.settle(invoice.payment_hash)
    assert isinstance(await end_of(world.node.track(invoice.payment_hash)), Succeeded)


async def follows_a_held_payment_to_its_failure(world: World) -> None:
    """A payment given back by the payee has FAILED, and nothing is spent."""
    before = await world.node.balances()
    invoice = await hold(world)
    async with world.node.track(invoice.payment_hash) as statuses:
        assert await anext(statuses) == InFlight()
        await world.cancel(invoice.payment_hash)
        last = [status async for status in statuses][-1]
    assert isinstance(last, Failed)
    assert (await world.node.balances()).lightning_msat == before.lightning_msat


async def finds_a_payment_again(world: World) -> None:
    """A call that dies is no answer; the payment is found and followed on a new connection."""
    invoice = await hold(world)
    try:
        async with world.node.track(invoice.payment_hash) as statuses:
            assert await anext(statuses) == InFlight()
            await world.reconnect()
            await anext(statuses)
    except NodeUnansweredError:
        pass
    else:
        raise AssertionError("a broken connection must end the stream unanswered")
    async with world.node.track(invoice.payment_hash) as statuses:
        assert await anext(statuses) == InFlight()
        await world.settle(invoice.payment_hash)
        last = [status async for status in statuses][-1]
    assert isinstance(last, Succeeded)


async def fails_without_a_route(world: World) -> None:
    """No route is the node's own FAILED."""
    invoice = await world.lonely_invoice()
    assert isinstance(await end_of(pay(world, invoice)), Failed)
    assert isinstance(await world.node.lookup(invoice.payment_hash), Failed)


async def keeps_to_the_fee_budget(world: World) -> None:
    """A route above the fee budget is not taken; 0 means free routes."""
    invoice = await world.far_invoice()
    for max_fee_msat in (0, FAR_FEE_MSAT - 1):
        assert isinstance(await end_of(pay(world, invoice, max_fee_msat=max_fee_msat)), Failed)
    near = await world.invoice()
    assert isinstance(await end_of(pay(world, near, max_fee_msat=0)), Succeeded)


async def keeps_to_the_delay_budget(world: World) -> None:
    """A route above the delay budget is not taken; a budget below the last hop's is refused."""
    invoice = await world.far_invoice()
    too_few = invoice.min_final_cltv_delta_blocks + FAR_DELAY_BLOCKS
    assert isinstance(await end_of(pay(world, invoice, max_delay_blocks=too_few)), Failed)
    near = await world.invoice()
    too_few = near.min_final_cltv_delta_blocks
    await refusal_of(pay(world, near, max_delay_blocks=too_few))
    assert await world.node.lookup(near.payment_hash) == NotFound()


async def never_sends_zero_blocks(world: World) -> None:
    """A delay of 0 is refused here, on entering, and the node hears nothing."""
    invoice = await world.invoice()
    try:
        await end_of(pay(world, invoice, max_delay_blocks=0))
    except InputError:
        assert await world.node.lookup(invoice.payment_hash) == NotFound()
    else:
        raise AssertionError("a delay of 0 blocks must be refused")


async def lowers_a_delay_above_the_cap(world: World) -> None:
    """More blocks than the node takes are lowered to what it takes."""
    invoice = await world.invoice()
    assert isinstance(await end_of(pay(world, invoice, max_delay_blocks=100_000)), Succeeded)


async def refuses_what_has_expired(world: World) -> None:
    """The node refuses an expired invoice and begins nothing."""
    invoice = await world.expired_invoice()
    await refusal_of(pay(world, invoice))
    assert await world.node.lookup(invoice.payment_hash) == NotFound()


async def refuses_to_pay_itself(world: World) -> None:
    """The node refuses its own invoice and begins nothing."""
    invoice = await world.own_invoice()
    await refusal_of(pay(world, invoice))
    assert await world.node.lookup(invoice.payment_hash) == NotFound()


CHECKS: tuple[Check, ...] = (
    tells_who_it_is,
    pays_and_remembers,
    refuses_what_is_paid,
    refuses_what_is_in_flight,
    follows_a_held_payment_to_its_failure,
    finds_a_payment_again,
    fails_without_a_route,
    keeps_to_the_fee_budget,
    keeps_to_the_delay_budget,
    never_sends_zero_blocks,
    lowers_a_delay_above_the_cap,
    refuses_what_has_expired,
    refuses_to_pay_itself,
)
