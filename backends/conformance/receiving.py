"""What every Lightning backend must do with held invoices, as checks to run against a payee in some world.

Each check is an async function that raises AssertionError. The worlds, simulated or real, are in
the tests.
"""

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from backends.conformance.paying import ROOMY_DELAY_BLOCKS, ROOMY_FEE_MSAT, end_of
from backends.lightning import (
    DESCRIPTION_BYTES_MAX,
    HELD_FINAL_DELTA_BLOCKS,
    INVOICE_MSAT_MAX,
    CompletionRejectedError,
    Failed,
    HeldPayment,
    InFlight,
    LightningNode,
    NodeRefusedError,
    NodeUnansweredError,
    PaymentStatus,
    Succeeded,
)
from backends.operations import Node
from errors import InputError
from fedimint.codec import bolt11

AMOUNT_MSAT = 123_000
EXPIRY_S = 600

_CLAIM_MARGIN_BLOCKS = 36
_MOST_PADDING_BLOCKS = 3


class ReceivingWorld(Protocol):
    """A payee, the node under test, with a channel in which a payer has money."""

    @property
    def node(self) -> Node:
        """The payee."""
        ...

    @property
    def payer(self) -> LightningNode:
        """A node that pays the payee; it need not be of the kind under test."""
        ...

    async def reconnect(self) -> None:
        """Break the payee's connection and put a working one in its place."""
        ...


Check = Callable[[ReceivingWorld], Awaitable[None]]


@dataclass(frozen=True)
class Receipt:
    """A held invoice of the payee, and the preimage that is not the payee's yet."""

    invoice: bolt11.Bolt11Invoice
    preimage: bytes

    @property
    def payment_hash(self) -> bytes:
        """The invoice's."""
        return self.invoice.payment_hash


async def hold(world: ReceivingWorld, *, description: str | bytes = "held") -> Receipt:
    """Make a held invoice."""
    preimage = os.urandom(32)
    text = await world.node.create_invoice(
        payment_hash=hashlib.sha256(preimage).digest(),
        amount_msat=AMOUNT_MSAT,
        expiry_s=EXPIRY_S,
        description=description,
    )
    return Receipt(bolt11.decode(text), preimage)


async def begin(payer: LightningNode, invoice: bolt11.Bolt11Invoice) -> None:
    """Let a payer bring a payment in flight, which goes on without us."""
    call = payer.pay(
        invoice.text,
        payment_hash=invoice.payment_hash,
        max_fee_msat=ROOMY_FEE_MSAT,
        max_delay_blocks=ROOMY_DELAY_BLOCKS,
    )
    async with call as statuses:
        assert await anext(statuses) == InFlight()


async def end(world: ReceivingWorld, receipt: Receipt) -> PaymentStatus:
    """Wait for how the payment ends for the payer."""
    return await end_of(world.payer.track(receipt.payment_hash))


async def find(held: AsyncIterator[HeldPayment], receipt: Receipt) -> HeldPayment:
    """Read on until a payment is told of; the node may hold others."""
    async for payment in held:
        if payment.payment_hash == receipt.payment_hash:
            return payment
    raise AssertionError("a watch never ends by itself")


async def seen(world: ReceivingWorld, receipt: Receipt) -> HeldPayment:
    """Watch anew until a payment is told of."""
    async with world.node.held_payments() as held:
        return await find(held, receipt)


async def accept(world: ReceivingWorld) -> Receipt:
    """Bring a payment to the node that is held there."""
    receipt = await hold(world)
    await begin(world.payer, receipt.invoice)
    await seen(world, receipt)
    return receipt


async def is_rejected(completion: Awaitable[None]) -> bool:
    """Whether a completion is said to be impossible; any other error goes on."""
    try:
        await completion
    except CompletionRejectedError:
        return True
    return False


async def makes_a_held_invoice_as_ordered(world: ReceivingWorld) -> None:
    """Hash, amount, expiry, description and final delta are those ordered; the node knows no preimage."""
    receipt = await hold(world, description="coffee")
    fields = receipt.invoice
    assert fields.payment_hash == hashlib.sha256(receipt.preimage).digest()
    assert (fields.amount_msat, fields.expiry_s) == (AMOUNT_MSAT, EXPIRY_S)
    longer = fields.min_final_cltv_delta_blocks - HELD_FINAL_DELTA_BLOCKS
    assert 0 <= longer <= _MOST_PADDING_BLOCKS
    assert fields.description == "coffee"
    digest = hashlib.sha256(b"tea").digest()
    assert (await hold(world, description=digest)).invoice.description_hash == digest
    record = await world.node.invoice(receipt.payment_hash)
    assert record is not None
    assert (record.status, record.preimage, record.amount_msat) == ("Pending", None, AMOUNT_MSAT)


async def makes_one_held_invoice_per_hash(world: ReceivingWorld) -> None:
    """The same order again is refused, as one for another amount is: whose invoice it is nobody knows."""
    receipt = await hold(world)
    for amount_msat in (AMOUNT_MSAT, AMOUNT_MSAT + 1_000):
        code = ""
        try:
            await world.node.create_invoice(
                payment_hash=receipt.payment_hash,
                amount_msat=amount_msat,
                expiry_s=EXPIRY_S,
                description="held",
            )
        except NodeRefusedError as refusal:
            code = refusal.code
        assert code == "ALREADY_EXISTS", "a hash has one invoice, and one maker"


async def says_as_much_as_an_invoice_can(world: ReceivingWorld) -> None:
    """The longest description and the highest amount are taken; what is beyond is refused before it is sent."""
    longest, most_msat = "a" * DESCRIPTION_BYTES_MAX, INVOICE_MSAT_MAX
    for description, amount_msat in (
        (longest, most_msat),
        (longest + "a", AMOUNT_MSAT),
        ("much", most_msat + 1),
    ):
        try:
            text = await world.node.create_invoice(
                payment_hash=hashlib.sha256(os.urandom(32)).digest(),
                amount_msat=amount_msat,
                expiry_s=EXPIRY_S,
                description=description,
            )
        except InputError:
            assert (description, amount_msat) != (longest, most_msat)
        else:
            fields = bolt11.decode(text)
            assert (fields.description, fields.amount_msat) == (longest, most_msat)


async def tells_what_comes(world: ReceivingWorld) -> None:
    """An open watch tells of a payment with what is locked and the height to have settled by."""
    height = (await world.node.info()).block_height
    async with world.node.held_payments() as held:
        receipt = await hold(world)
        await begin(world.payer, receipt.invoice)
        payment = await find(held, receipt)
    assert payment.amount_msat == AMOUNT_MSAT
    least_height = height + HELD_FINAL_DELTA_BLOCKS - _CLAIM_MARGIN_BLOCKS
    # A node and its payer may each add some.
    assert least_height <= payment.deadline_height <= least_height + 2 * _MOST_PADDING_BLOCKS
    await world.node.cancel(receipt.payment_hash)


async def tells_what_is_held_again(world: ReceivingWorld) -> None:
    """Every new watch, also on a new connection, first tells of what is held."""
    receipt = await accept(world)
    payment = await seen(world, receipt)
    assert await seen(world, receipt) == payment
    await world.reconnect()
    assert await seen(world, receipt) == payment
    await world.node.cancel(receipt.payment_hash)


async def ends_a_watch_with_its_connection(world: ReceivingWorld) -> None:
    """A broken connection ends the watch unanswered; it never ends quietly."""
    receipt = await accept(world)
    try:
        async with world.node.held_payments() as held:
            await find(held, receipt)
            await world.reconnect()
            async for _ in held:
                pass
    except NodeUnansweredError:
        pass
    else:
        raise AssertionError("a broken connection must end the watch unanswered")
    await world.node.cancel(receipt.payment_hash)


async def settles_and_keeps_to_it(world: ReceivingWorld) -> None:
    """Settling is final: again is fine, cancelling is contradicted."""
    receipt = await accept(world)
    await world.node.settle(receipt.payment_hash, receipt.preimage)
    paid = await end(world, receipt)
    assert isinstance(paid, Succeeded)
    assert paid.preimage == receipt.preimage
    await world.node.settle(receipt.payment_hash, receipt.preimage)
    assert await is_rejected(world.node.cancel(receipt.payment_hash))
    record = await world.node.invoice(receipt.payment_hash)
    assert record is not None
    assert (record.status, record.preimage) == ("Succeeded", receipt.preimage)


async def gives_back_and_keeps_to_it(world: ReceivingWorld) -> None:
    """Cancelling is final: again is fine, settling is contradicted."""
    receipt = await accept(world)
    await world.node.cancel(receipt.payment_hash)
    assert isinstance(await end(world, receipt), Failed)
    await world.node.cancel(receipt.payment_hash)
    assert await is_rejected(world.node.settle(receipt.payment_hash, receipt.preimage))
    record = await world.node.invoice(receipt.payment_hash)
    assert record is not None
    assert (record.status, record.preimage) == ("Failed", None)


async def settles_with_the_preimage_alone(world: ReceivingWorld) -> None:
    """Another preimage is refused here, and the payment stays held."""
    receipt = await accept(world)
    try:
        await world.node.settle(receipt.payment_hash, bytes(32))
    except InputError:
        await seen(world, receipt)
    else:
        raise AssertionError("another preimage must be refused")
    await world.node.settle(receipt.payment_hash, receipt.preimage)
    assert isinstance(await end(world, receipt), Succeeded)


async def settles_only_what_has_come(world: ReceivingWorld) -> None:
    """An open invoice cannot be settled yet, which is no contradiction."""
    receipt = await hold(world)
    try:
        rejected = await is_rejected(world.node.settle(receipt.payment_hash, receipt.preimage))
    except (NodeUnansweredError, NodeRefusedError):
        pass
    else:
        raise AssertionError("rejected for good" if rejected else "settled without a payment")
    await begin(world.payer, receipt.invoice)
    await seen(world, receipt)
    await world.node.settle(receipt.payment_hash, receipt.preimage)
    assert isinstance(await end(world, receipt), Succeeded)


async def closes_an_invoice_that_is_cancelled(world: ReceivingWorld) -> None:
    """An open invoice can be cancelled, and is not paid after."""
    receipt = await hold(world)
    await world.node.cancel(receipt.payment_hash)
    await begin(world.payer, receipt.invoice)
    assert isinstance(await end(world, receipt), Failed)
    assert await is_rejected(world.node.settle(receipt.payment_hash, receipt.preimage))


async def knows_what_it_never_heard_of(world: ReceivingWorld) -> None:
    """What has no invoice can be neither settled nor cancelled."""
    preimage = os.urandom(32)
    payment_hash = hashlib.sha256(preimage).digest()
    assert await world.node.invoice(payment_hash) is None
    assert await is_rejected(world.node.settle(payment_hash, preimage))
    assert await is_rejected(world.node.cancel(payment_hash))


CHECKS: tuple[Check, ...] = (
    makes_a_held_invoice_as_ordered,
    makes_one_held_invoice_per_hash,
    says_as_much_as_an_invoice_can,
    tells_what_comes,
    tells_what_is_held_again,
    ends_a_watch_with_its_connection,
    settles_and_keeps_to_it,
    gives_back_and_keeps_to_it,
    settles_with_the_preimage_alone,
    settles_only_what_has_come,
    closes_an_invoice_that_is_cancelled,
    knows_what_it_never_heard_of,
)
