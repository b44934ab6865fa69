"""The LND backend against a running LND: the conformance checks, and what docs/lnd.md says."""

from collections.abc import AsyncIterator

import pytest

from backends.conformance import paying
from backends.conformance.paying import AMOUNT_MSAT, end_of, pay
from backends.lightning import Failed, NodeRefusedError, NotFound
from backends.lnd.node import LndNode
from devnet.real.world import RealWorld
from fedimint.codec import bolt11
from tests.interop.bobs_invoices import BobsInvoices
from tests.interop.lnd_access import PAYING, bake, connect

pytestmark = pytest.mark.anyio

DEADLINE_S = 30


class LndWorld(BobsInvoices):
    """Alice pays."""

    def __init__(self, world: RealWorld) -> None:
        super().__init__(world.bob, DEADLINE_S)
        self.world = world
        self.macaroon_path = bake(world.alice, world.folder / "paying.macaroon", *PAYING)
        self.node = self.connect()

    def connect(self) -> LndNode:
        return connect(self.world.alice, self.macaroon_path)

    async def own_invoice(self) -> bolt11.Bolt11Invoice:
        new = await self.world.alice.add_invoice(AMOUNT_MSAT)
        return bolt11.decode(new.payment_request)

    async def reconnect(self) -> None:
        await self.node.aclose()
        self.node = self.connect()


@pytest.fixture
async def lnd(world: RealWorld) -> AsyncIterator[LndWorld]:
    started = LndWorld(world)
    yield started
    await started.node.aclose()


@pytest.mark.parametrize("check", paying.CHECKS, ids=lambda check: check.__name__)
async def test_conformance(lnd: LndWorld, check: paying.Check) -> None:
    await check(lnd)


async def test_a_failed_hash_may_be_paid_anew(lnd: LndWorld) -> None:
    invoice = await lnd.far_invoice()
    for _ in range(2):
        assert isinstance(await end_of(pay(lnd, invoice, max_fee_msat=0)), Failed)


async def test_a_macaroon_that_is_not_enough_decides_nothing(lnd: LndWorld) -> None:
    alice = lnd.world.alice
    node = connect(alice, bake(alice, lnd.world.folder / "info.macaroon", PAYING[0]))
    invoice = await lnd.invoice()
    assert (await node.info()).alias == "alice"
    with pytest.raises(NodeRefusedError, match="permission denied"):
        await node.lookup(invoice.payment_hash)
    await node.aclose()
    assert await lnd.node.lookup(invoice.payment_hash) == NotFound()
