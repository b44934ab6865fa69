"""The simulated LND: our LND backend over it does everything that a backend must do."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.lowlevel
import pytest

from backends.conformance import paying
from backends.conformance.paying import AMOUNT_MSAT, end_of
from backends.lightning import (
    CompletionRejectedError,
    HeldPayment,
    NodeRefusedError,
    NodeUnansweredError,
    Succeeded,
)
from backends.lnd.connection import LndSettings
from backends.lnd.credentials import Credential
from backends.lnd.node import LndNode
from backends.operations import ChannelOrder, InvoiceRecord, NodeTransaction, OnchainOrder
from devnet.lnd_server.server import LndServer, serving_lnd
from errors import NotFoundError
from fedimint.codec import bolt11
from fedimint.codec.bolt11 import Bolt11Invoice
from tests.backends.simulated.world import CHANNEL_MSAT, NOW_S, SimulatedWorld

pytestmark = pytest.mark.anyio

PREIMAGE = bytes(range(32))
HASH = hashlib.sha256(PREIMAGE).digest()
PEER_HOST = "127.0.0.1:9735"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """grpc.aio knows asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keep one loop for the module: gRPC hands late events of one loop to the next, which fails."""
    yield
    await anyio.lowlevel.checkpoint()


class ServedWorld:
    """The simulated world, with alice reached over gRPC."""

    def __init__(self, simulated: SimulatedWorld, server: LndServer) -> None:
        self.simulated = simulated
        self.server = server
        self.node = node_of(server)

    async def invoice(self, *, is_held: bool = False) -> Bolt11Invoice:
        return await self.simulated.invoice(is_held=is_held)

    async def expired_invoice(self) -> Bolt11Invoice:
        return await self.simulated.expired_invoice()

    async def own_invoice(self) -> Bolt11Invoice:
        return await self.simulated.own_invoice()

    async def lonely_invoice(self) -> Bolt11Invoice:
        return await self.simulated.lonely_invoice()

    async def far_invoice(self) -> Bolt11Invoice:
        return await self.simulated.far_invoice()

    async def accepted(self, payment_hash: bytes) -> None:
        await self.simulated.accepted(payment_hash)

    async def settle(self, payment_hash: bytes) -> None:
        await self.simulated.settle(payment_hash)

    async def cancel(self, payment_hash: bytes) -> None:
        await self.simulated.cancel(payment_hash)

    async def reconnect(self) -> None:
        await self.server.stop()
        await self.server.start()


def node_of(server: LndServer) -> LndNode:
    return LndNode(
        LndSettings(
            server.rpc_address,
            Credential(path=server.tls_cert_path),
            Credential(path=server.macaroon_path),
        )
    )


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[ServedWorld]:
    simulated = SimulatedWorld()
    async with serving_lnd(simulated.node, folder) as server:
        world = ServedWorld(simulated, server)
        try:
            yield world
        finally:
            await world.node.aclose()


@pytest.mark.parametrize("check", paying.CHECKS, ids=lambda check: check.__name__)
async def test_conformance(tmp_path: Path, check: paying.Check) -> None:
    async with served(tmp_path) as world:
        await check(world)
        world.simulated.network.audit()


async def test_another_macaroon_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        world.server.macaroon_path.write_bytes(b"another")
        with pytest.raises(NodeRefusedError, match="macaroon"):
            await world.node.info()


async def test_a_node_that_is_down_is_unanswered(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        world.simulated.node.is_down = True
        with pytest.raises(NodeUnansweredError):
            await world.node.info()


async def held_invoice(world: ServedWorld, amount_msat: int = AMOUNT_MSAT) -> Bolt11Invoice:
    text = await world.node.create_invoice(
        payment_hash=HASH, amount_msat=amount_msat, expiry_s=600, description="coffee"
    )
    return bolt11.decode(text)


async def pay_held(world: ServedWorld, invoice: Bolt11Invoice) -> None:
    async with world.simulated.bob.pay(
        invoice.text, payment_hash=HASH, max_fee_msat=0, max_delay_blocks=500
    ) as statuses:
        await anext(statuses)


async def test_a_held_invoice_is_reported_and_settled(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        first = await held_invoice(world)
        async with world.node.held_payments() as held:
            await pay_held(world, first)
            payment = await anext(held)
        blocks_left = payment.deadline_height - world.simulated.chain.height
        assert payment == HeldPayment(HASH, AMOUNT_MSAT, payment.deadline_height)
        assert 100 < blocks_left < first.min_final_cltv_delta_blocks
        async with world.node.held_payments() as again:
            assert await anext(again) == payment
        await world.node.settle(HASH, PREIMAGE)
        await world.node.settle(HASH, PREIMAGE)
        with pytest.raises(CompletionRejectedError):
            await world.node.cancel(HASH)
        paid = await end_of(world.simulated.bob.track(HASH))
        assert isinstance(paid, Succeeded)
        assert await world.node.invoice(HASH) == InvoiceRecord(
            HASH, PREIMAGE, AMOUNT_MSAT, NOW_S, "Succeeded"
        )


async def test_an_invoice_made_during_the_watch_is_reported(tmp_path: Path) -> None:
    async with served(tmp_path) as world, world.node.held_payments() as held:
        await pay_held(world, await held_invoice(world))
        assert (await anext(held)).payment_hash == HASH
        await world.node.cancel(HASH)
        await world.node.cancel(HASH)
        with pytest.raises(CompletionRejectedError):
            await world.node.settle(HASH, PREIMAGE)


async def test_a_hash_has_one_held_invoice_whoever_asks_for_another(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        await held_invoice(world)
        for amount_msat in (AMOUNT_MSAT, AMOUNT_MSAT + 1):
            with pytest.raises(NodeRefusedError, match="ALREADY_EXISTS"):
                await held_invoice(world, amount_msat)
        with pytest.raises(NodeUnansweredError):
            await world.node.settle(HASH, PREIMAGE)


async def test_unknown_invoices(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        assert await world.node.invoice(HASH) is None
        with pytest.raises(CompletionRejectedError):
            await world.node.settle(HASH, PREIMAGE)
        with pytest.raises(CompletionRejectedError):
            await world.node.cancel(HASH)


async def test_a_node_that_goes_down_ends_the_watch(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        first = await held_invoice(world)
        async with world.node.held_payments() as held:
            await pay_held(world, first)
            await anext(held)
            world.simulated.node.is_down = True
            with pytest.raises(NodeUnansweredError):
                await anext(held)


async def test_books_list_what_was_paid_and_received(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        out = await world.invoice()
        paid = await end_of(paying.pay(world, out))
        assert isinstance(paid, Succeeded)
        text = await world.node.create_invoice(
            payment_hash=None, amount_msat=AMOUNT_MSAT, expiry_s=600, description=bytes(32)
        )
        ours = bolt11.decode(text)
        assert ours.description_hash == bytes(32)
        async with world.simulated.bob.pay(
            text, payment_hash=ours.payment_hash, max_fee_msat=0, max_delay_blocks=500
        ) as statuses:
            assert isinstance([status async for status in statuses][-1], Succeeded)
        preimage = world.simulated.node.invoices[ours.payment_hash].preimage
        received = NodeTransaction(
            ours.payment_hash, preimage, "Bolt11", AMOUNT_MSAT, "Inbound", "Succeeded", NOW_S
        )
        sent = NodeTransaction(
            out.payment_hash, paid.preimage, "Bolt11", AMOUNT_MSAT, "Outbound", "Succeeded", NOW_S
        )
        assert set(await world.node.transactions(NOW_S, NOW_S)) == {received, sent}
        assert await world.node.transactions(NOW_S + 1, NOW_S + 2) == ()
        assert await world.node.transactions(0, 2**63) == await world.node.transactions(
            NOW_S, NOW_S
        )


async def test_coins_are_received_and_sent(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        world.simulated.node.onchain_sat = 100_000
        address = await world.simulated.bob.onchain_address()
        order = OnchainOrder(address, 10_000, 2, "label of one order")
        assert await world.node.sent_onchain(order.label) is None
        txid = await world.node.send_onchain(order)
        assert await world.node.sent_onchain(order.label) == txid
        assert await world.node.sent_onchain("another") is None
        world.simulated.chain.mine()
        assert world.simulated.bob.onchain_sat == 10_000
        with pytest.raises(NodeRefusedError, match="insufficient"):
            await world.node.send_onchain(OnchainOrder(address, 100_000, 2, "too much"))
        back = OnchainOrder(await world.node.onchain_address(), None, 2, "all of it")
        await world.simulated.bob.send_onchain(back)
        before_sat = (await world.node.balances()).onchain_sat
        world.simulated.chain.mine()
        assert (await world.node.balances()).onchain_sat > before_sat


async def test_channels_are_opened_changed_and_closed(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        simulated, node = world.simulated, world.node
        simulated.node.onchain_sat = 1_000_000
        dave = simulated.dave.public_key.hex()
        order = ChannelOrder(dave, PEER_HOST, 500_000, 100_000, None, 7, 9)
        assert await node.opened_channel(order) is None
        txid = await node.open_channel(order)
        assert await node.opened_channel(order) == txid
        simulated.chain.mine(6)
        assert await node.opened_channel(order) == txid
        opened = (await node.channels())[-1]
        assert opened == (await simulated.node.channels())[-1]
        assert (opened.remote_alias, opened.remote_address) == ("dave", PEER_HOST)
        assert opened.funding_out_point == f"{txid}:0"
        assert (opened.outbound_sat, opened.inbound_sat) == (400_000, 100_000)
        assert (opened.base_fee_msat, opened.parts_per_million) == (7, 9)
        await node.set_channel_fees(f"{txid}:0", base_fee_msat=8, parts_per_million=10)
        changed = (await node.channels())[-1]
        assert (changed.base_fee_msat, changed.parts_per_million) == (8, 10)
        with pytest.raises(NotFoundError):
            await node.set_channel_fees(f"{txid}:1", base_fee_msat=8, parts_per_million=10)
        assert await node.close_channels(dave, force=False, sat_per_vbyte=1) == 1
        assert await node.close_channels(dave, force=False, sat_per_vbyte=1) == 0
        assert [channel.remote_alias for channel in await node.channels()] == ["bob"]


async def test_peers_that_cannot_be_reached(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        await world.node.connect_peer(world.simulated.bob.public_key.hex(), PEER_HOST)
        with pytest.raises(NodeRefusedError):
            await world.node.connect_peer("02" * 33, PEER_HOST)
        assert (await world.node.balances()).lightning_msat == CHANNEL_MSAT
