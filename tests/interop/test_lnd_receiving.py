"""Held invoices on a running LND: alice receives, bob pays."""

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from backends.lightning import (
    HELD_FINAL_DELTA_BLOCKS,
    CompletionRejectedError,
    HeldPayment,
    NodeRefusedError,
    NodeUnansweredError,
)
from backends.lnd import LndNode
from devnet.lnd_node import InvoiceState
from devnet.processes import ProcessError
from devnet.real_world import RealWorld
from errors import PeerError
from fedimint import bolt11
from tests.interop.lnd_access import PAYING, RECEIVING, bake, connect

pytestmark = pytest.mark.anyio

AMOUNT_MSAT = 123_000
EXPIRY_S = 600


@pytest.fixture(scope="module")
def macaroon_path(world: RealWorld) -> Path:
    return bake(world.alice, world.folder / "receiving.macaroon", *PAYING, *RECEIVING)


@pytest.fixture
async def node(world: RealWorld, macaroon_path: Path) -> AsyncIterator[LndNode]:
    connected = connect(world.alice, macaroon_path)
    yield connected
    await connected.aclose()


class Receipt:
    """A preimage and the held invoice of its hash."""

    def __init__(self) -> None:
        self.preimage = os.urandom(32)
        self.payment_hash = hashlib.sha256(self.preimage).digest()
        self.text = ""

    async def create(self, node: LndNode, *, amount_msat: int = AMOUNT_MSAT) -> str:
        self.text = await node.create_invoice(
            payment_hash=self.payment_hash,
            amount_msat=amount_msat,
            expiry_s=EXPIRY_S,
            description="held",
        )
        return self.text


async def new_receipt(node: LndNode) -> Receipt:
    receipt = Receipt()
    await receipt.create(node)
    return receipt


@asynccontextmanager
async def paid_by_bob(world: RealWorld, receipt: Receipt) -> AsyncIterator[list[str]]:
    """Bob pays while the block lasts, which is left once his payment has ended: preimages he got."""
    preimages: list[str] = []

    async def pay() -> None:
        try:
            preimages.append((await world.bob.pay(receipt.text)).preimage)
        except (ProcessError, PeerError):
            preimages.append("")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pay)
        yield preimages


async def find(payments: AsyncIterator[HeldPayment], receipt: Receipt) -> HeldPayment:
    async for payment in payments:
        if payment.payment_hash == receipt.payment_hash:
            return payment
    raise AssertionError("a watch never ends by itself")


async def seen_held(node: LndNode, receipt: Receipt) -> HeldPayment:
    async with node.held_payments() as payments:
        return await find(payments, receipt)


async def watch(node: LndNode, then: Callable[[], Awaitable[None]]) -> None:
    """Watch until something ends it."""
    async with node.held_payments() as payments:
        await then()
        async for _ in payments:
            pass


async def state_of(world: RealWorld, receipt: Receipt) -> InvoiceState:
    return (await world.alice.lookup(receipt.payment_hash.hex())).state


async def test_a_held_invoice_is_as_ordered(node: LndNode) -> None:
    receipt = await new_receipt(node)
    fields = bolt11.decode(receipt.text)
    assert fields.payment_hash == receipt.payment_hash
    assert fields.amount_msat == AMOUNT_MSAT
    assert fields.expiry_s == EXPIRY_S
    assert fields.min_final_cltv_delta_blocks == HELD_FINAL_DELTA_BLOCKS
    assert await receipt.create(node) == fields.text


async def test_a_hash_has_one_invoice(node: LndNode, world: RealWorld) -> None:
    receipt = await new_receipt(node)
    with pytest.raises(NodeRefusedError) as refusal:
        await receipt.create(node, amount_msat=AMOUNT_MSAT + 1)
    assert refusal.value.code == "ALREADY_EXISTS"
    ordinary = await world.alice.add_invoice(AMOUNT_MSAT)
    receipt.payment_hash = bytes.fromhex(ordinary.payment_hash)
    with pytest.raises(NodeRefusedError) as refusal:
        await receipt.create(node)
    assert refusal.value.code == "ALREADY_EXISTS"


async def test_a_payment_is_held_then_settled(node: LndNode, world: RealWorld) -> None:
    receipt = await new_receipt(node)
    height = (await node.info()).block_height
    async with paid_by_bob(world, receipt) as preimages:
        payment = await seen_held(node, receipt)
        assert await state_of(world, receipt) is InvoiceState.ACCEPTED
        # What is held is told again to every new watch.
        assert await seen_held(node, receipt) == payment
        await node.settle(receipt.payment_hash, receipt.preimage)
    assert payment.amount_msat == AMOUNT_MSAT
    # LND as a payer adds 3 blocks of its own to the final delta.
    assert payment.deadline_height == height + HELD_FINAL_DELTA_BLOCKS + 3 - 36
    assert preimages == [receipt.preimage.hex()]
    assert await state_of(world, receipt) is InvoiceState.SETTLED
    await node.settle(receipt.payment_hash, receipt.preimage)
    with pytest.raises(CompletionRejectedError):
        await node.cancel(receipt.payment_hash)


async def test_a_payment_is_held_then_given_back(node: LndNode, world: RealWorld) -> None:
    receipt = await new_receipt(node)
    async with paid_by_bob(world, receipt) as preimages:
        await seen_held(node, receipt)
        await node.cancel(receipt.payment_hash)
    assert preimages == [""]
    assert await state_of(world, receipt) is InvoiceState.CANCELED
    await node.cancel(receipt.payment_hash)
    with pytest.raises(CompletionRejectedError):
        await node.settle(receipt.payment_hash, receipt.preimage)


async def test_an_invoice_made_while_watching_is_watched(node: LndNode, world: RealWorld) -> None:
    """By the gateway, and by somebody else on the same node."""
    ours, theirs = Receipt(), Receipt()
    async with node.held_payments() as payments:
        await ours.create(node)
        async with paid_by_bob(world, ours):
            await find(payments, ours)
            await node.cancel(ours.payment_hash)
        made = await world.alice.add_hold_invoice(theirs.payment_hash.hex(), AMOUNT_MSAT)
        theirs.text = made.payment_request
        async with paid_by_bob(world, theirs):
            await find(payments, theirs)
            await node.cancel(theirs.payment_hash)


async def test_what_cannot_be_settled_yet_or_ever(node: LndNode, world: RealWorld) -> None:
    receipt = await new_receipt(node)
    with pytest.raises(NodeUnansweredError):
        await node.settle(receipt.payment_hash, receipt.preimage)
    await node.cancel(receipt.payment_hash)
    assert await state_of(world, receipt) is InvoiceState.CANCELED
    never = Receipt()
    with pytest.raises(CompletionRejectedError):
        await node.settle(never.payment_hash, never.preimage)
    with pytest.raises(CompletionRejectedError):
        await node.cancel(never.payment_hash)


async def test_a_watch_ends_with_its_connection(node: LndNode) -> None:
    await new_receipt(node)
    with pytest.raises(NodeUnansweredError):
        await watch(node, node.aclose)
