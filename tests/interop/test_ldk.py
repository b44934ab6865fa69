"""The node inside against bitcoind and LND: the conformance checks, and what money has been lost by elsewhere."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

pytest.importorskip(
    "fedimint_gateway_native.ldk",
    reason="the native part is not built with the feature ldk (docs/ldk.md)",
)

from backends.conformance import operating, paying, receiving
from backends.conformance.paying import AMOUNT_MSAT, end_of, pay
from backends.conformance.receiving import accept, begin, end, hold, seen
from backends.ldk.node import LdkNode
from backends.lightning import (
    CompletionRejectedError,
    Failed,
    InFlight,
    NodeRefusedError,
    NodeUnansweredError,
    NotFound,
    Succeeded,
)
from backends.lnd.node import LndNode as LndBackend
from devnet.processes import until
from devnet.real import lnd_node
from errors import ConfigError
from fedimint.codec import bolt11
from tests.interop.bobs_invoices import BobsInvoices
from tests.interop.ldk_world import DEADLINE_S, NEEDED_PEERS, LdkRunner, LdkWorld, ldk_world
from tests.interop.lnd_access import connect
from tests.interop.needed import need

pytestmark = pytest.mark.anyio

#: Of an invoice of 144 blocks, to which LDK and LND add three each, less the 39 that LDK keeps back, and the last one.
HELD_BLOCKS = 144 + 3 + 3 - 39 - 1


@pytest.fixture(scope="module")
async def ground(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LdkWorld]:
    need(*NEEDED_PEERS)
    async with ldk_world(tmp_path_factory.mktemp("ldk")) as started:
        yield started


class Payer(BobsInvoices):
    """The node inside pays."""

    def __init__(self, world: LdkWorld) -> None:
        super().__init__(world.bob, DEADLINE_S)
        self.world = world

    @property
    def node(self) -> LdkNode:
        return self.world.inside.node

    async def own_invoice(self) -> bolt11.Bolt11Invoice:
        text = await self.node.create_invoice(
            payment_hash=None, amount_msat=AMOUNT_MSAT, expiry_s=3_600, description="own"
        )
        return bolt11.decode(text)

    async def reconnect(self) -> None:
        await self.world.inside.restart()


class Payee:
    """The node inside is paid by bob."""

    def __init__(self, world: LdkWorld) -> None:
        self.world = world
        self.payer: LndBackend = connect(world.bob, world.bob.macaroon_path)

    @property
    def node(self) -> LdkNode:
        return self.world.inside.node

    async def reconnect(self) -> None:
        await self.world.inside.restart()


class Operator:
    """The node inside, its payer bob, and carol, a stranger."""

    def __init__(self, world: LdkWorld, carol: lnd_node.LndNode) -> None:
        self.world = world
        self.payer = connect(world.bob, world.bob.macaroon_path)
        self.stranger = connect(carol, carol.macaroon_path)
        self.stranger_host = f"127.0.0.1:{carol.peer_port}"

    @property
    def node(self) -> LdkNode:
        return self.world.inside.node

    async def give_coins(self, address: str, amount_sat: int) -> None:
        await self.world.bitcoind.send(address, amount_sat)

    async def mine(self, blocks: int) -> None:
        await self.world.mine(blocks)

    async def until(self, what: str, question: Callable[[], Awaitable[bool]]) -> None:
        await until(what, question, deadline_s=DEADLINE_S)


@pytest.fixture
async def payer(ground: LdkWorld) -> Payer:
    return Payer(ground)


@pytest.fixture
async def payee(ground: LdkWorld) -> AsyncIterator[Payee]:
    started = Payee(ground)
    yield started
    await started.payer.aclose()


@pytest.fixture(scope="module")
async def carol(ground: LdkWorld) -> AsyncIterator[lnd_node.LndNode]:
    node = ground.lnd("carol")
    try:
        await node.start()
        yield node
    finally:
        await node.program.stop()


@pytest.fixture
async def operator(ground: LdkWorld, carol: lnd_node.LndNode) -> AsyncIterator[Operator]:
    started = Operator(ground, carol)
    yield started
    await started.payer.aclose()
    await started.stranger.aclose()


@pytest.mark.parametrize("check", paying.CHECKS, ids=lambda check: check.__name__)
async def test_conformance_paying(payer: Payer, check: paying.Check) -> None:
    await check(payer)


@pytest.mark.parametrize("check", receiving.CHECKS, ids=lambda check: check.__name__)
async def test_conformance_receiving(payee: Payee, check: receiving.Check) -> None:
    await check(payee)


@pytest.mark.parametrize("check", operating.CHECKS, ids=lambda check: check.__name__)
async def test_conformance_operating(operator: Operator, check: operating.Check) -> None:
    await check(operator)


async def test_a_hash_that_failed_on_its_way_is_not_paid_again(payer: Payer) -> None:
    invoice = await payer.invoice(is_held=True)
    async with pay(payer, invoice) as statuses:
        assert await anext(statuses) == InFlight()
        await payer.accepted(invoice.payment_hash)
        await payer.cancel(invoice.payment_hash)
        assert isinstance([status async for status in statuses][-1], Failed)
    refusal = await paying.refusal_of(pay(payer, invoice))
    assert refusal.code == "FAILED_BEFORE"
    await payer.world.inside.restart()
    assert isinstance(await payer.node.lookup(invoice.payment_hash), Failed)


async def test_no_invoice_is_made_over_the_record_of_a_payment(payer: Payer) -> None:
    held = await paying.hold(payer)
    failed = await payer.lonely_invoice()
    await end_of(pay(payer, failed))
    for invoice in (held, failed):
        with pytest.raises(NodeRefusedError) as refusal:
            await payer.node.create_invoice(
                payment_hash=invoice.payment_hash,
                amount_msat=AMOUNT_MSAT,
                expiry_s=600,
                description="",
            )
        assert refusal.value.code == "ALREADY_EXISTS"
    assert await payer.node.lookup(held.payment_hash) == InFlight()
    await payer.settle(held.payment_hash)
    assert isinstance(await end_of(payer.node.track(held.payment_hash)), Succeeded)


async def test_an_own_invoice_that_was_cancelled_is_not_paid(payer: Payer) -> None:
    receipt = await hold(Payee(payer.world))
    await payer.node.cancel(receipt.payment_hash)
    refusal = await paying.refusal_of(pay(payer, receipt.invoice))
    assert refusal.code == "OWN_INVOICE"
    assert await payer.node.lookup(receipt.payment_hash) == NotFound()


async def test_a_payment_in_flight_goes_on_over_a_restart(payer: Payer) -> None:
    invoice = await paying.hold(payer)
    await payer.world.inside.stop()
    await payer.settle(invoice.payment_hash)
    await payer.world.inside.start()
    assert isinstance(await end_of(payer.node.track(invoice.payment_hash)), Succeeded)


async def test_the_deadline_is_the_last_block_to_claim_in(payee: Payee) -> None:
    height = (await payee.node.info()).block_height
    receipt = await accept(payee)
    payment = await seen(payee, receipt)
    assert payment.deadline_height == height + HELD_BLOCKS
    await payee.world.mine(HELD_BLOCKS)
    await payee.node.settle(receipt.payment_hash, receipt.preimage)
    assert isinstance(await end(payee, receipt), Succeeded)


async def test_behind_the_deadline_a_payment_is_not_held_any_more(payee: Payee) -> None:
    receipt = await accept(payee)
    await payee.world.mine(HELD_BLOCKS + 1)
    assert isinstance(await end(payee, receipt), Failed)
    with pytest.raises(CompletionRejectedError, match="gave the payment back at block"):
        await payee.node.settle(receipt.payment_hash, receipt.preimage)
    other = await accept(payee)
    async with payee.node.held_payments() as held:
        async for payment in held:
            assert payment.payment_hash != receipt.payment_hash
            if payment.payment_hash == other.payment_hash:
                break
    await payee.node.cancel(other.payment_hash)


async def test_what_is_paid_again_after_it_was_given_back_is_given_back(payee: Payee) -> None:
    receipt = await accept(payee)
    await payee.node.cancel(receipt.payment_hash)
    assert isinstance(await end(payee, receipt), Failed)
    await begin(payee.payer, receipt.invoice)
    assert isinstance(await end(payee, receipt), Failed)
    await payee.world.inside.restart()
    assert await receiving.is_rejected(payee.node.settle(receipt.payment_hash, receipt.preimage))


async def test_a_claim_is_never_followed_by_a_failure(payee: Payee) -> None:
    receipt = await accept(payee)
    await payee.node.settle(receipt.payment_hash, receipt.preimage)
    assert await receiving.is_rejected(payee.node.cancel(receipt.payment_hash))
    record = await payee.node.invoice(receipt.payment_hash)
    assert record is not None
    assert (record.status, record.preimage) == ("Succeeded", receipt.preimage)
    await payee.world.inside.restart()
    assert await payee.node.invoice(receipt.payment_hash) is not None
    await payee.node.settle(receipt.payment_hash, receipt.preimage)


async def test_two_nodes_never_open_one_folder(payer: Payer) -> None:
    second = LdkRunner(payer.world.inside.settings.directory, payer.world.bitcoind)
    with pytest.raises(ConfigError, match="another gateway, perhaps the Rust one"):
        await second.start()
    assert (await payer.node.info()).synced_to_chain


async def test_other_words_do_not_open_the_folder(payer: Payer) -> None:
    inside = payer.world.inside
    await inside.stop()
    try:
        other = LdkRunner(
            inside.settings.directory, payer.world.bitcoind, words="zoo " * 11 + "wrong"
        )
        with pytest.raises(ConfigError, match="another mnemonic"):
            await other.start()
    finally:
        await inside.start()


async def test_a_stopped_node_answers_nothing(payer: Payer) -> None:
    node = payer.node
    invoice = await payer.invoice()
    await payer.world.inside.restart()
    for call in (node.info(), node.lookup(invoice.payment_hash), end_of(node.track(bytes(32)))):
        with pytest.raises(NodeUnansweredError):
            await call
