"""What every Lightning backend must do for its operator, as checks to run against a node in some world.

Each check is an async function that raises AssertionError. The worlds, simulated or real, are in
the tests.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Protocol

from backends.conformance.paying import end_of
from backends.conformance.receiving import AMOUNT_MSAT, EXPIRY_S, begin
from backends.lightning import LightningNode, NodeRefusedError, Succeeded
from backends.operations import Channel, ChannelOrder, Node, OnchainOrder
from errors import NotFoundError
from fedimint.codec import bolt11
from fedimint.codec.addresses import parse_address

COINS_SAT = 5_000_000
SENT_SAT = 50_000
CAPACITY_SAT = 300_000
PUSHED_SAT = 100_000
CONFIRMATIONS = 6


class OperatingWorld(Protocol):
    """The node under test, a payer with a channel to it, and a stranger without any."""

    @property
    def node(self) -> Node:
        """The node under test."""
        ...

    @property
    def payer(self) -> LightningNode:
        """A node with a channel in which it has money."""
        ...

    @property
    def stranger(self) -> Node:
        """A node that the first one can connect to and has no channel with."""
        ...

    @property
    def stranger_host(self) -> str:
        """Where the stranger listens for peers, "name:port"."""
        ...

    async def give_coins(self, address: str, amount_sat: int) -> None:
        """Send coins to an address from outside."""
        ...

    async def mine(self, blocks: int) -> None:
        """Find blocks."""
        ...

    async def until(self, what: str, question: Callable[[], Awaitable[bool]]) -> None:
        """Wait until something is true that the nodes need time for; AssertionError or the like if never."""
        ...


Check = Callable[[OperatingWorld], Awaitable[None]]


async def fund(world: OperatingWorld) -> None:
    """See that the node has coins to spend."""

    async def has_coins() -> bool:
        return (await world.node.balances()).onchain_sat >= COINS_SAT

    if not await has_coins():
        await world.give_coins(await world.node.onchain_address(), 2 * COINS_SAT)
        await world.mine(CONFIRMATIONS)
        await world.until("the node has coins", has_coins)


async def order_of(world: OperatingWorld) -> ChannelOrder:
    """A channel with the stranger."""
    return ChannelOrder(
        public_key=(await world.stranger.info()).public_key,
        host=world.stranger_host,
        capacity_sat=CAPACITY_SAT,
        push_sat=PUSHED_SAT,
        sat_per_vbyte=2,
        base_fee_msat=0,
        parts_per_million=77,
    )


async def channel_of(world: OperatingWorld, funding_txid: str) -> Channel | None:
    """The usable channel that a transaction has funded, None before."""
    for channel in await world.node.channels():
        if (channel.funding_out_point or "").startswith(f"{funding_txid}:"):
            return channel if channel.is_active and channel.base_fee_msat is not None else None
    return None


async def takes_fees_while_pending(
    world: OperatingWorld, order: ChannelOrder, funding_txid: str
) -> bool:
    """Whether the node sets the fees of the order once more, on whichever of two outputs the channel is."""
    for index in range(2):
        try:
            await world.node.set_channel_fees(
                f"{funding_txid}:{index}",
                base_fee_msat=order.base_fee_msat or 0,
                parts_per_million=order.parts_per_million or 0,
            )
        except NotFoundError:
            continue
        return True
    return False


async def opened(world: OperatingWorld, order: ChannelOrder) -> Channel:
    """Open a channel and wait until it is usable."""
    await fund(world)
    txid = await world.node.open_channel(order)
    assert await world.node.opened_channel(order) == txid, "known while it is pending"
    takes_fees = await takes_fees_while_pending(world, order, txid)
    assert takes_fees == world.node.abilities.pending_channel_fees
    await world.mine(CONFIRMATIONS)

    async def is_open() -> bool:
        return await channel_of(world, txid) is not None

    await world.until("the channel is open", is_open)
    assert await world.node.opened_channel(order) == txid, "known when it is open"
    channel = await channel_of(world, txid)
    assert channel is not None
    return channel


async def is_refused(call: Awaitable[object]) -> bool:
    """Whether the node refuses a call; any other error goes on."""
    try:
        await call
    except NodeRefusedError:
        return True
    return False


async def settles_an_ordinary_invoice_by_itself(world: OperatingWorld) -> None:
    """Without a hash the node makes one, and is paid without our doing; its books tell."""
    text = await world.node.create_invoice(
        payment_hash=None, amount_msat=AMOUNT_MSAT, expiry_s=EXPIRY_S, description="coffee"
    )
    invoice = bolt11.decode(text)
    assert (invoice.amount_msat, invoice.description) == (AMOUNT_MSAT, "coffee")
    record = await world.node.invoice(invoice.payment_hash)
    assert record is not None
    assert (record.status, record.preimage, record.amount_msat) == ("Pending", None, AMOUNT_MSAT)
    await begin(world.payer, invoice)
    paid = await end_of(world.payer.track(invoice.payment_hash))
    assert isinstance(paid, Succeeded)
    record = await world.node.invoice(invoice.payment_hash)
    assert record is not None
    assert (record.status, record.preimage) == ("Succeeded", paid.preimage)
    listed = {one.payment_hash: one for one in await world.node.transactions(0, 2**63)}
    received = listed[invoice.payment_hash]
    assert (received.direction, received.status) == ("Inbound", "Succeeded")
    assert (received.amount_msat, received.preimage) == (AMOUNT_MSAT, paid.preimage)
    assert await world.node.transactions(received.unix_s, received.unix_s)
    assert await world.node.transactions(0, 1) == ()


async def lists_what_it_paid(world: OperatingWorld) -> None:
    """A payment stands in the books with the amount that the payee got."""
    text = await world.payer.create_invoice(
        payment_hash=None, amount_msat=AMOUNT_MSAT, expiry_s=EXPIRY_S, description="tea"
    )
    invoice = bolt11.decode(text)
    await begin(world.node, invoice)
    paid = await end_of(world.node.track(invoice.payment_hash))
    assert isinstance(paid, Succeeded)
    listed = {one.payment_hash: one for one in await world.node.transactions(0, 2**63)}
    sent = listed[invoice.payment_hash]
    assert (sent.direction, sent.status, sent.kind) == ("Outbound", "Succeeded", "Bolt11")
    assert (sent.amount_msat, sent.preimage) == (AMOUNT_MSAT, paid.preimage)
    assert sent in await world.node.payments_since(sent.unix_s)
    assert sent not in await world.node.payments_since(sent.unix_s + 1)


async def gives_fresh_addresses(world: OperatingWorld) -> None:
    """Every address is new and of this network."""
    first, second = [await world.node.onchain_address() for _ in range(2)]
    assert first != second
    assert "regtest" in parse_address(first).networks


async def finds_what_it_sent_by_its_label(world: OperatingWorld) -> None:
    """Coins arrive, cost a fee on top, and their transaction is found by the label of the order."""
    await fund(world)
    before = await world.node.balances()
    strangers_before = await world.stranger.balances()
    label = f"order {os.urandom(4).hex()}"
    order = OnchainOrder(await world.stranger.onchain_address(), SENT_SAT, 2, label)
    assert await world.node.sent_onchain(label) is None
    txid = await world.node.send_onchain(order)
    assert await world.node.sent_onchain(label) == txid
    assert await world.node.sent_onchain(label[:-1]) is None
    after = await world.node.balances()
    assert before.onchain_sat - after.onchain_sat > SENT_SAT
    await world.mine(CONFIRMATIONS)
    wanted_sat = strangers_before.onchain_sat + SENT_SAT

    async def has_arrived() -> bool:
        return (await world.stranger.balances()).onchain_sat == wanted_sat

    await world.until("the coins have arrived", has_arrived)
    assert await world.node.sent_onchain(label) == txid, "found also when it is confirmed"


async def refuses_what_cannot_be_sent(world: OperatingWorld) -> None:
    """More than there is, or to no address, is refused and leaves no trace."""
    await fund(world)
    before = await world.node.balances()
    label = f"order {os.urandom(4).hex()}"
    address = await world.stranger.onchain_address()
    too_much = OnchainOrder(address, before.onchain_sat + 1, 2, label)
    assert await is_refused(world.node.send_onchain(too_much))
    assert await is_refused(world.node.send_onchain(OnchainOrder("nowhere", SENT_SAT, 2, label)))
    assert await world.node.sent_onchain(label) is None
    assert (await world.node.balances()).onchain_sat == before.onchain_sat


async def opens_and_closes_a_channel(world: OperatingWorld) -> None:
    """A channel is as ordered, takes new fees, and is closed with all others of the peer."""
    order = await order_of(world)
    await world.node.connect_peer(order.public_key, order.host)
    await world.node.connect_peer(order.public_key, order.host)
    assert await world.node.opened_channel(order) is None
    channel = await opened(world, order)
    out_point = channel.funding_out_point
    assert out_point is not None
    assert (channel.remote_public_key, channel.capacity_sat) == (order.public_key, CAPACITY_SAT)
    assert channel.inbound_sat == PUSHED_SAT
    assert 0 < channel.outbound_sat <= CAPACITY_SAT - PUSHED_SAT
    assert (channel.base_fee_msat, channel.parts_per_million) == (0, 77)
    await world.node.set_channel_fees(out_point, base_fee_msat=5, parts_per_million=6)
    changed = await channel_of(world, out_point.partition(":")[0])
    assert changed is not None
    assert (changed.base_fee_msat, changed.parts_per_million) == (5, 6)
    assert await world.node.close_channels(order.public_key, force=False, sat_per_vbyte=3) == 1
    await world.mine(CONFIRMATIONS)
    assert await world.node.close_channels(order.public_key, force=False, sat_per_vbyte=3) == 0
    assert await world.node.opened_channel(order) is None


async def knows_its_channels(world: OperatingWorld) -> None:
    """A channel that is not there takes no fees; a peer that nobody is gives none."""
    try:
        await world.node.set_channel_fees(f"{'00' * 32}:0", base_fee_msat=5, parts_per_million=6)
    except NotFoundError:
        pass
    else:
        raise AssertionError("the fees of no channel cannot be set")
    assert await is_refused(world.node.open_channel(_without_node(await order_of(world))))


def _without_node(order: ChannelOrder) -> ChannelOrder:
    """The same order with a key that is no node's there."""
    return ChannelOrder(
        public_key="02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        host=order.host,
        capacity_sat=order.capacity_sat,
        push_sat=order.push_sat,
        sat_per_vbyte=order.sat_per_vbyte,
        base_fee_msat=None,
        parts_per_million=None,
    )


CHECKS: tuple[Check, ...] = (
    settles_an_ordinary_invoice_by_itself,
    lists_what_it_paid,
    gives_fresh_addresses,
    finds_what_it_sent_by_its_label,
    refuses_what_cannot_be_sent,
    opens_and_closes_a_channel,
    knows_its_channels,
)
