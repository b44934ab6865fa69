"""What an operator does, on a running LND: alice's node, and carol's, which is new."""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from backends.lightning import NodeRefusedError
from backends.lnd import LndNode
from backends.operations import Channel, ChannelOrder, NodeTransaction, OnchainOrder
from devnet import lnd_node, peers
from devnet.processes import until
from devnet.real_world import RealWorld
from errors import NotFoundError
from tests.interop.lnd_access import OPERATING, PAYING, RECEIVING, bake, connect

pytestmark = pytest.mark.anyio

AMOUNT_MSAT = 77_000
CAPACITY_SAT = 300_000
CONFIRMATIONS = 6
DEADLINE_S = 60

_Found = TypeVar("_Found")


@pytest.fixture(scope="module")
async def carol(world: RealWorld) -> AsyncIterator[lnd_node.LndNode]:
    lnd, lncli = peers.find("lnd"), peers.find("lncli")
    assert lnd is not None
    assert lncli is not None
    node = lnd_node.LndNode(
        "carol",
        lnd_path=lnd,
        lncli_path=lncli,
        bitcoind=world.bitcoind,
        folder=world.folder / "carol",
    )
    try:
        await node.start()
        yield node
    finally:
        await node.program.stop()


@pytest.fixture(scope="module")
def macaroon_path(world: RealWorld) -> Path:
    return bake(world.alice, world.folder / "operating.macaroon", *PAYING, *RECEIVING, *OPERATING)


@pytest.fixture
async def node(world: RealWorld, macaroon_path: Path) -> AsyncIterator[LndNode]:
    connected = connect(world.alice, macaroon_path)
    yield connected
    await connected.aclose()


async def eventually(what: str, ask: Callable[[], Awaitable[_Found | None]]) -> _Found:
    return await until(what, ask, deadline_s=DEADLINE_S)


async def order_of(
    carol: lnd_node.LndNode,
    *,
    base_fee_msat: int | None = None,
    parts_per_million: int | None = None,
) -> ChannelOrder:
    return ChannelOrder(
        public_key=await carol.pubkey(),
        host=f"127.0.0.1:{carol.peer_port}",
        capacity_sat=CAPACITY_SAT,
        push_sat=100_000,
        sat_per_vbyte=2,
        base_fee_msat=base_fee_msat,
        parts_per_million=parts_per_million,
    )


async def channel_with(node: LndNode, public_key: str) -> Channel | None:
    """The active channel with a peer, once our side has a policy."""
    found = [one for one in await node.channels() if one.remote_public_key == public_key]
    is_ready = found and found[0].is_active and found[0].base_fee_msat is not None
    return found[0] if is_ready else None


async def policy_with(node: LndNode, public_key: str) -> Any:
    """All of our side's policy, as LND tells it."""
    (channel,) = await node._list(public_key)
    policy = await node._policy(channel)
    assert policy is not None
    return policy


async def open_with_carol(
    world: RealWorld, node: LndNode, carol: lnd_node.LndNode, order: ChannelOrder
) -> tuple[str, Channel]:
    """The funding txid, and the channel once it is open."""
    txid = await node.open_channel(order)
    assert await node.opened_channel(order) == txid
    await world.mine(CONFIRMATIONS)
    carols = partial(channel_with, node, order.public_key)
    return txid, await eventually("the channel is open", carols)


async def test_a_node_that_never_made_an_invoice(world: RealWorld, carol: lnd_node.LndNode) -> None:
    new = connect(carol, carol.macaroon_path)
    try:
        assert await new.invoice(os.urandom(32)) is None
        assert await new.transactions(0, int(time.time()) + 1) == ()
        assert await new.channels() == ()
        async with new.held_payments():
            pass
    finally:
        await new.aclose()


async def test_invoices_are_looked_up(world: RealWorld, node: LndNode) -> None:
    text = await node.create_invoice(
        payment_hash=None, amount_msat=AMOUNT_MSAT, expiry_s=600, description="operator's"
    )
    assert text.startswith("lnbcrt")
    made = await world.alice.add_invoice(AMOUNT_MSAT)
    payment_hash = bytes.fromhex(made.payment_hash)
    found = await node.invoice(payment_hash)
    assert found is not None
    assert (found.status, found.preimage, found.amount_msat) == ("Pending", None, AMOUNT_MSAT)
    assert abs(found.created_unix_s - time.time()) < DEADLINE_S
    paid = await world.bob.pay(made.payment_request)
    found = await node.invoice(payment_hash)
    assert found is not None
    assert (found.status, found.preimage) == ("Succeeded", bytes.fromhex(paid.preimage))
    assert await node.invoice(os.urandom(32)) is None


async def test_transactions_of_both_directions(world: RealWorld, node: LndNode) -> None:
    start = int(time.time())
    got = await world.alice.add_invoice(AMOUNT_MSAT)
    await world.bob.pay(got.payment_request)
    sent = await world.bob.add_invoice(AMOUNT_MSAT + 1)
    paid = await world.alice.pay(sent.payment_request)
    failed = await world.alice.add_invoice(AMOUNT_MSAT)
    await world.alice.cancel_invoice(failed.payment_hash)
    everything = await node.transactions(start, 2**64 - 1)
    by_hash = {one.payment_hash: one for one in everything}
    inbound = by_hash[bytes.fromhex(got.payment_hash)]
    outbound = by_hash[bytes.fromhex(sent.payment_hash)]
    assert outbound == NodeTransaction(
        payment_hash=bytes.fromhex(sent.payment_hash),
        preimage=bytes.fromhex(paid.preimage),
        kind="Bolt11",
        amount_msat=AMOUNT_MSAT + 1,
        direction="Outbound",
        status="Succeeded",
        unix_s=outbound.unix_s,
    )
    assert (inbound.amount_msat, inbound.direction) == (AMOUNT_MSAT, "Inbound")
    assert start <= inbound.unix_s <= outbound.unix_s
    assert [one.unix_s for one in everything] == sorted(one.unix_s for one in everything)
    assert bytes.fromhex(failed.payment_hash) not in by_hash
    # Both ends of the time asked for belong to it.
    assert outbound in await node.transactions(outbound.unix_s, outbound.unix_s)
    assert inbound in await node.transactions(inbound.unix_s, inbound.unix_s)
    # LND notes no time for a cancelled one.
    all_time = {one.payment_hash: one for one in await node.transactions(0, 2**64 - 1)}
    cancelled = all_time[bytes.fromhex(failed.payment_hash)]
    assert (cancelled.status, cancelled.unix_s) == ("Failed", 0)


async def test_coins_are_sent_once_and_found_by_their_label(
    world: RealWorld, node: LndNode
) -> None:
    assert (await node.onchain_address()).startswith("bcrt1p")
    label = f"order-{os.urandom(4).hex()}"
    address = await world.bitcoind.new_address()
    order = OnchainOrder(address=address, amount_sat=50_000, sat_per_vbyte=2, label=label)
    assert await node.sent_onchain(label) is None
    txid = await node.send_onchain(order)
    assert await node.sent_onchain(label) == txid
    assert await node.sent_onchain(label[:-1]) is None
    await world.mine(1)
    assert await world.bitcoind.received_sat(address) == 50_000
    assert await node.sent_onchain(label) == txid
    with pytest.raises(NodeRefusedError):
        await node.send_onchain(
            OnchainOrder(address="nowhere", amount_sat=1, sat_per_vbyte=1, label="x")
        )


async def test_all_coins_are_sent(world: RealWorld, carol: lnd_node.LndNode) -> None:
    new = connect(carol, carol.macaroon_path)
    try:
        await world.bitcoind.send(await new.onchain_address(), 200_000)
        await world.mine(1)
        await eventually("carol sees her coins", carol.confirmed_balance_sat)
        address = await world.bitcoind.new_address()
        order = OnchainOrder(address=address, amount_sat=None, sat_per_vbyte=2, label="everything")
        txid = await new.send_onchain(order)
        assert await new.sent_onchain("everything") == txid
        await world.mine(1)
        assert 190_000 < await world.bitcoind.received_sat(address) < 200_000
    finally:
        await new.aclose()


async def test_a_channel_from_opening_to_closing(
    world: RealWorld, node: LndNode, carol: lnd_node.LndNode
) -> None:
    order = await order_of(carol, base_fee_msat=0, parts_per_million=77)
    await node.connect_peer(order.public_key, order.host)
    await node.connect_peer(order.public_key, order.host)
    assert await node.opened_channel(order) is None
    txid, channel = await open_with_carol(world, node, carol, order)
    assert await node.opened_channel(order) == txid
    assert channel.funding_out_point is not None
    assert channel.funding_out_point.startswith(f"{txid}:")
    assert channel.capacity_sat == CAPACITY_SAT
    assert channel.inbound_sat == 100_000
    assert 0 < channel.outbound_sat < 200_000
    assert channel.remote_alias in {"carol", None}
    assert (channel.base_fee_msat, channel.parts_per_million) == (0, 77)
    before = await policy_with(node, order.public_key)
    await node.set_channel_fees(channel.funding_out_point, base_fee_msat=5, parts_per_million=6)
    before.fee_base_msat, before.fee_rate_milli_msat = 5, 6
    after = await policy_with(node, order.public_key)
    before.last_update = after.last_update
    assert after == before
    with pytest.raises(NotFoundError):
        await node.set_channel_fees(f"{'00' * 32}:0", base_fee_msat=5, parts_per_million=6)
    assert await node.close_channels(order.public_key, force=False, sat_per_vbyte=3) == 1
    assert await node.close_channels(order.public_key, force=False, sat_per_vbyte=3) == 0
    await world.mine(CONFIRMATIONS)
    assert await node.opened_channel(order) is None


async def test_a_channel_is_closed_by_force(
    world: RealWorld, node: LndNode, carol: lnd_node.LndNode
) -> None:
    order = await order_of(carol)
    await open_with_carol(world, node, carol, order)
    assert await node.close_channels(order.public_key, force=True, sat_per_vbyte=9) == 1
    assert await node.opened_channel(order) is None
    await world.mine(CONFIRMATIONS)
