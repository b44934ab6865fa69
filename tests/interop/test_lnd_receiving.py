"""Held invoices on a running LND, alice's; bob pays them."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.conformance import receiving
from backends.conformance.receiving import AMOUNT_MSAT, EXPIRY_S, accept, begin, find, hold, seen
from backends.lightning import HELD_FINAL_DELTA_BLOCKS, NodeRefusedError
from devnet.real.lnd_node import InvoiceState
from devnet.real.world import RealWorld
from fedimint.codec import bolt11
from tests.interop.lnd_access import PAYING, RECEIVING, bake, connect

pytestmark = pytest.mark.anyio


class LndPayee:
    """Alice with the permissions of receiving, and bob."""

    def __init__(self, world: RealWorld, macaroon_path: Path) -> None:
        self.world = world
        self.macaroon_path = macaroon_path
        self.node = connect(world.alice, macaroon_path)
        self.payer = connect(world.bob, world.bob.macaroon_path)

    async def reconnect(self) -> None:
        await self.node.aclose()
        self.node = connect(self.world.alice, self.macaroon_path)

    async def aclose(self) -> None:
        await self.node.aclose()
        await self.payer.aclose()


@pytest.fixture(scope="module")
def macaroon_path(world: RealWorld) -> Path:
    return bake(world.alice, world.folder / "receiving.macaroon", *PAYING, *RECEIVING)


@pytest.fixture
async def payee(world: RealWorld, macaroon_path: Path) -> AsyncIterator[LndPayee]:
    started = LndPayee(world, macaroon_path)
    yield started
    await started.aclose()


@pytest.mark.parametrize("check", receiving.CHECKS, ids=lambda check: check.__name__)
async def test_conformance(payee: LndPayee, check: receiving.Check) -> None:
    await check(payee)


async def test_a_hash_of_another_invoice_is_refused(payee: LndPayee) -> None:
    async def create(payment_hash: bytes, amount_msat: int) -> str:
        return await payee.node.create_invoice(
            payment_hash=payment_hash,
            amount_msat=amount_msat,
            expiry_s=EXPIRY_S,
            description="held",
        )

    alice = payee.world.alice
    held = await hold(payee)
    ordinary = await alice.add_invoice(AMOUNT_MSAT)
    # With LND's own final delta, which is shorter.
    strange = await alice.add_hold_invoice(os.urandom(32).hex(), AMOUNT_MSAT)
    for payment_hash, amount_msat in (
        (held.payment_hash, AMOUNT_MSAT + 1),
        (bytes.fromhex(ordinary.payment_hash), AMOUNT_MSAT),
        (bytes.fromhex(strange.payment_hash), AMOUNT_MSAT),
    ):
        with pytest.raises(NodeRefusedError) as refusal:
            await create(payment_hash, amount_msat)
        assert refusal.value.code == "ALREADY_EXISTS"


async def test_the_deadline_is_that_of_the_htlc(payee: LndPayee) -> None:
    height = (await payee.node.info()).block_height
    receipt = await accept(payee)
    assert (await alice_sees(payee, receipt.payment_hash)) is InvoiceState.ACCEPTED
    # LND as a payer adds 3 blocks of its own to the final delta.
    payment = await seen(payee, receipt)
    assert payment.deadline_height == height + HELD_FINAL_DELTA_BLOCKS + 3 - 36
    await payee.node.cancel(receipt.payment_hash)
    assert (await alice_sees(payee, receipt.payment_hash)) is InvoiceState.CANCELED


async def alice_sees(payee: LndPayee, payment_hash: bytes) -> InvoiceState:
    return (await payee.world.alice.lookup(payment_hash.hex())).state


async def test_an_invoice_made_by_somebody_else_is_watched(payee: LndPayee) -> None:
    theirs = os.urandom(32)
    async with payee.node.held_payments() as held:
        # By then the watch has read which invoices were there, and learns of more from its stream.
        ours = await accept(payee)
        await find(held, ours)
        made = await payee.world.alice.add_hold_invoice(theirs.hex(), AMOUNT_MSAT)
        await begin(payee.payer, bolt11.decode(made.payment_request))
        async for payment in held:
            if payment.payment_hash == theirs:
                break
    for payment_hash in (ours.payment_hash, theirs):
        await payee.node.cancel(payment_hash)
