"""The LND backend against a running LND: the conformance checks, and what docs/lnd.md says."""

import hashlib
import os
import time
from collections.abc import AsyncIterator
from functools import partial

import pytest

from backends.conformance import paying
from backends.conformance.paying import AMOUNT_MSAT, FAR_DELAY_BLOCKS, FAR_FEE_MSAT, end_of, pay
from backends.lightning import Failed, NodeRefusedError, NotFound
from backends.lnd.node import LndNode
from devnet.processes import until
from devnet.real.lnd_node import InvoiceState
from devnet.real.world import RealWorld
from fedimint.codec import bolt11
from tests.interop.lnd_access import PAYING, bake, connect

pytestmark = pytest.mark.anyio

STRANGER_SECRET = bytes(31) + b"\x05"
DEADLINE_S = 30


class LndWorld:
    """Alice pays, bob is paid; strangers sign their invoices here."""

    def __init__(self, world: RealWorld) -> None:
        self.world = world
        self.macaroon_path = bake(world.alice, world.folder / "paying.macaroon", *PAYING)
        self.node = self.connect()
        self.preimages: dict[bytes, bytes] = {}

    def connect(self) -> LndNode:
        return connect(self.world.alice, self.macaroon_path)

    async def invoice(self, *, is_held: bool = False) -> bolt11.Bolt11Invoice:
        if not is_held:
            new = await self.world.bob.add_invoice(AMOUNT_MSAT)
            return bolt11.decode(new.payment_request)
        preimage = os.urandom(32)
        payment_hash = hashlib.sha256(preimage).digest()
        self.preimages[payment_hash] = preimage
        new = await self.world.bob.add_hold_invoice(payment_hash.hex(), AMOUNT_MSAT)
        return bolt11.decode(new.payment_request)

    async def expired_invoice(self) -> bolt11.Bolt11Invoice:
        return self.strangers_invoice(age_s=100, expiry_s=10)

    async def own_invoice(self) -> bolt11.Bolt11Invoice:
        new = await self.world.alice.add_invoice(AMOUNT_MSAT)
        return bolt11.decode(new.payment_request)

    async def lonely_invoice(self) -> bolt11.Bolt11Invoice:
        return self.strangers_invoice()

    async def far_invoice(self) -> bolt11.Bolt11Invoice:
        bob = bytes.fromhex(await self.world.bob.pubkey())
        hint = bolt11.RouteHop(bob, 1 << 40, FAR_FEE_MSAT, 0, FAR_DELAY_BLOCKS)
        return self.strangers_invoice(hint)

    def strangers_invoice(
        self, *hints: bolt11.RouteHop, age_s: int = 0, expiry_s: int = 3_600
    ) -> bolt11.Bolt11Invoice:
        fields = bolt11.InvoiceFields(
            network="regtest",
            amount_msat=AMOUNT_MSAT,
            timestamp_unix_s=int(time.time()) - age_s,
            payment_hash=os.urandom(32),
            payment_secret=os.urandom(32),
            description="a stranger's",
            expiry_s=expiry_s,
            route_hints=(hints,) if hints else (),
        )
        return bolt11.sign(fields, STRANGER_SECRET)

    async def accepted(self, payment_hash: bytes) -> None:
        await until(
            "bob holds the payment", partial(self.is_accepted, payment_hash), deadline_s=DEADLINE_S
        )

    async def is_accepted(self, payment_hash: bytes) -> bool:
        status = await self.world.bob.lookup(payment_hash.hex())
        return status.state is InvoiceState.ACCEPTED

    async def settle(self, payment_hash: bytes) -> None:
        await self.world.bob.settle_invoice(self.preimages[payment_hash].hex())

    async def cancel(self, payment_hash: bytes) -> None:
        await self.world.bob.cancel_invoice(payment_hash.hex())

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
