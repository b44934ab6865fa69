"""What an operator does, on a running LND: alice's node, and carol's, which is new."""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from backends.conformance import operating
from backends.lnd.node import LndNode
from backends.operations import OnchainOrder
from devnet.processes import until
from devnet.real import lnd_node, peers
from devnet.real.world import RealWorld
from tests.interop.lnd_access import OPERATING, PAYING, RECEIVING, bake, connect

pytestmark = pytest.mark.anyio

AMOUNT_MSAT = 77_000
ALL_TIME_S = 2**64 - 1
MOST_FEE_SAT = 5_000
DEADLINE_S = 60


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


class LndOperator:
    """Alice with every permission, her payer bob, and carol, a stranger."""

    def __init__(self, world: RealWorld, carol: lnd_node.LndNode, macaroon_path: Path) -> None:
        self.world = world
        self.node = connect(world.alice, macaroon_path)
        self.payer = connect(world.bob, world.bob.macaroon_path)
        self.stranger = connect(carol, carol.macaroon_path)
        self.stranger_host = f"127.0.0.1:{carol.peer_port}"

    async def give_coins(self, address: str, amount_sat: int) -> None:
        await self.world.bitcoind.send(address, amount_sat)

    async def mine(self, blocks: int) -> None:
        await self.world.mine(blocks)

    async def until(self, what: str, question: Callable[[], Awaitable[bool]]) -> None:
        await until(what, question, deadline_s=DEADLINE_S)

    async def aclose(self) -> None:
        for node in (self.node, self.payer, self.stranger):
            await node.aclose()


@pytest.fixture(scope="module")
def macaroon_path(world: RealWorld) -> Path:
    path = world.folder / "operating.macaroon"
    return bake(world.alice, path, *PAYING, *RECEIVING, *OPERATING)


@pytest.fixture
async def operator(
    world: RealWorld, carol: lnd_node.LndNode, macaroon_path: Path
) -> AsyncIterator[LndOperator]:
    started = LndOperator(world, carol, macaroon_path)
    yield started
    await started.aclose()


async def test_a_node_that_never_made_an_invoice(operator: LndOperator) -> None:
    new = operator.stranger
    assert await new.invoice(os.urandom(32)) is None
    assert await new.transactions(0, ALL_TIME_S) == ()
    assert await new.channels() == ()


@pytest.mark.parametrize("check", operating.CHECKS, ids=lambda check: check.__name__)
async def test_conformance(operator: LndOperator, check: operating.Check) -> None:
    await check(operator)


async def test_the_time_of_a_transaction(operator: LndOperator) -> None:
    alice, bob, node = operator.world.alice, operator.world.bob, operator.node
    start = int(time.time())
    got = await alice.add_invoice(AMOUNT_MSAT)
    await bob.pay(got.payment_request)
    sent = await bob.add_invoice(AMOUNT_MSAT)
    await alice.pay(sent.payment_request)
    cancelled = await alice.add_invoice(AMOUNT_MSAT)
    await alice.cancel_invoice(cancelled.payment_hash)
    since = await node.transactions(start, ALL_TIME_S)
    # Earlier payments may be of the same second, and within one second there is no order.
    assert list(since) == sorted(since, key=lambda one: one.unix_s)
    ours = {bytes.fromhex(made.payment_hash) for made in (got, sent, cancelled)}
    told = ours & {one.payment_hash for one in since if one.payment_hash is not None}
    assert told == ours - {bytes.fromhex(cancelled.payment_hash)}
    # Both ends of the time asked for belong to it.
    for one in since:
        assert one in await node.transactions(one.unix_s, one.unix_s)
    # LND notes no time for a cancelled one.
    all_time = {one.payment_hash: one for one in await node.transactions(0, ALL_TIME_S)}
    record = all_time[bytes.fromhex(cancelled.payment_hash)]
    assert (record.status, record.unix_s) == ("Failed", 0)


async def test_all_coins_are_sent(operator: LndOperator, carol: lnd_node.LndNode) -> None:
    world, new = operator.world, operator.stranger
    await world.bitcoind.send(await new.onchain_address(), 200_000)
    await world.mine(1)
    await until("carol sees her coins", carol.confirmed_balance_sat, deadline_s=DEADLINE_S)
    had_sat = (await new.balances()).onchain_sat
    address = await world.bitcoind.new_address()
    order = OnchainOrder(address=address, amount_sat=None, sat_per_vbyte=2, label="everything")
    txid = await new.send_onchain(order)
    assert await new.sent_onchain("everything") == txid
    await world.mine(1)
    assert 0 < had_sat - await world.bitcoind.received_sat(address) < MOST_FEE_SAT


async def test_new_fees_leave_the_rest_of_the_policy(operator: LndOperator) -> None:
    node = operator.node
    ((channel, before),) = await policies(node)
    await node.set_channel_fees(channel, base_fee_msat=5, parts_per_million=6)
    ((_, after),) = await policies(node)
    await node.set_channel_fees(
        channel,
        base_fee_msat=before.fee_base_msat,
        parts_per_million=before.fee_rate_milli_msat,
    )
    assert (after.fee_base_msat, after.fee_rate_milli_msat) == (5, 6)
    for field in ("time_lock_delta", "min_htlc", "max_htlc_msat", "disabled"):
        assert getattr(after, field) == getattr(before, field)


async def policies(node: LndNode) -> list[tuple[str, Any]]:
    """Our side's policies, as LND tells them."""
    return [(one.channel_point, await node._policy(one)) for one in await node._list()]


async def test_a_channel_is_closed_by_force(operator: LndOperator) -> None:
    order = await operating.order_of(operator)
    await operating.opened(operator, order)
    # LND would refuse a rate together with force.
    assert await operator.node.close_channels(order.public_key, force=True, sat_per_vbyte=9) == 1
    assert await operator.node.opened_channel(order) is None
    await operator.mine(1)
