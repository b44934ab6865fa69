"""The operator's orders to the node are carried out once, whatever is repeated or crashes."""

from hashlib import sha256
from pathlib import Path

import anyio
import msgspec
import pytest

from backends.simulated.node import Fault, SimulatedNode
from backends.simulated.part import Call
from engine.machine import State
from errors import ConflictError, InputError, NotFoundError, PeerError, UnavailableError
from fedimint.codec import bolt11
from fedimint.codec.wire_types import Network
from fedimint.lnv2.gateway_api import Paid
from gateway.application import Gateway
from gateway.node_watch import WATCH_PAUSE_S
from gateway.views import OperatorInvoiceRequest
from statemachines import node_order, operator_payment, send
from statemachines.node_order import OpenChannel, SendCoins
from tests.gateway.scene import INVOICE_MSAT, START_UNIX_S, Scene, ask, kinds, until

pytestmark = pytest.mark.anyio
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
COINS = SendCoins(ADDRESS, 50_000, 2)
FUNDS_SAT = 1_000_000
CAPACITY_SAT = 100_000


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path)
    scene.world.gateway_node.fund_onchain(FUNDS_SAT)
    scene.world.chain.mine()
    return scene


def channel(scene: Scene) -> OpenChannel:
    return OpenChannel(
        public_key=scene.world.payee.public_key.hex(),
        host="127.0.0.1:9735",
        capacity_sat=CAPACITY_SAT,
        push_sat=1_000,
        sat_per_vbyte=3,
        base_fee_msat=1_500,
        parts_per_million=200,
    )


def _orders(gateway: Gateway) -> list[State]:
    return [s for s in gateway.engine.open_streams().values() if isinstance(s, node_order.Ordered)]


# --- an invoice ---


async def test_an_invoice_is_paid_once_however_often_it_is_asked_for(scene: Scene) -> None:
    invoice = scene.invoice()
    answers: list[Paid] = []

    async with scene.serving() as gateway:

        async def pay() -> None:
            answers.append(await gateway.node.pay_operator_invoice(invoice))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(pay)
        scene.clock.advance(4_000)
        await pay()
    assert answers == [answers[0]] * 4
    assert scene.spent_msat() == INVOICE_MSAT + 1_500
    assert kinds(scene.directory).count("operator_payment.requested") == 1
    async with scene.serving() as gateway:
        assert await gateway.node.pay_operator_invoice(invoice) == answers[0]


async def test_routing_may_cost_a_hundredth_and_50_msat(scene: Scene) -> None:
    """The middle node wants 1000 msat and a ten-thousandth."""
    async with scene.serving() as gateway:
        await anyio.wait_all_tasks_blocked()  # the node has said that the log is the newest
        await gateway.node.pay_operator_invoice(scene.invoice(96_000))
        with pytest.raises(PeerError, match="could not pay the invoice: "):
            await gateway.node.pay_operator_invoice(scene.invoice(95_899))


async def test_a_payment_that_failed_is_made_again_when_it_is_asked_for_again(scene: Scene) -> None:
    invoice = scene.invoice()
    async with scene.serving() as gateway:
        await anyio.wait_all_tasks_blocked()  # the node has said that the log is the newest
        scene.world.middle.is_down = True
        with pytest.raises(PeerError, match="could not pay the invoice: "):
            await gateway.node.pay_operator_invoice(invoice)
        scene.world.middle.is_down = False
        await gateway.node.pay_operator_invoice(invoice)
    assert scene.spent_msat() == INVOICE_MSAT + 1_500


def _invoice(network: Network, amount_msat: int | None, expiry_s: int = 3_600) -> str:
    fields = bolt11.InvoiceFields(
        network=network,
        amount_msat=amount_msat,
        timestamp_unix_s=START_UNIX_S,
        payment_hash=bytes(32),
        payment_secret=bytes(32),
        description="",
        expiry_s=expiry_s,
    )
    return bolt11.sign(fields, b"\x01" * 32).text


@pytest.mark.parametrize(
    ("invoice", "words"),
    [
        ("lnbcrt1", "bech32"),
        (_invoice("regtest", None), "names no amount"),
        (_invoice("bitcoin", 1_000), "is for the network bitcoin"),
        (_invoice("regtest", 1_000, 0), "has expired"),
    ],
)
async def test_what_cannot_be_paid_is_refused_with_nothing_written(
    scene: Scene, invoice: str, words: str
) -> None:
    async with scene.serving() as gateway:
        before = kinds(scene.directory)
        with pytest.raises(InputError, match=words):
            await gateway.node.pay_operator_invoice(invoice)
        assert kinds(scene.directory) == before


async def test_an_invoice_that_a_client_has_paid_is_not_the_operators(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        invoice = scene.invoice()
        user, payment = await scene.funded(routing, invoice)
        await ask(gateway, user.body(payment))
        with pytest.raises(ConflictError, match="never paid for twice"):
            await gateway.node.pay_operator_invoice(invoice)
        await until(gateway, payment, send.Claimed)
    assert scene.spent_msat() == INVOICE_MSAT + 1_500


async def test_a_payment_is_found_again_by_the_next_process(scene: Scene) -> None:
    held = scene.world.payee.make_invoice(INVOICE_MSAT, is_held=True)
    stream = operator_payment.stream_of(held.payment_hash.hex())
    async with scene.serving() as gateway, anyio.create_task_group() as caller:
        caller.start_soon(gateway.node.pay_operator_invoice, held.text)
        await gateway.engine.wait(stream, lambda state: isinstance(state, operator_payment.Paying))
        await anyio.wait_all_tasks_blocked()
        caller.cancel_scope.cancel()
    scene.world.payee.settle_held(held.payment_hash)
    async with scene.serving() as gateway:
        paid = await gateway.node.pay_operator_invoice(held.text)
    assert sha256(paid.preimage).digest() == held.payment_hash
    assert scene.spent_msat() == INVOICE_MSAT + 1_500


async def test_an_invoice_of_the_node_is_listed_once_it_is_paid(scene: Scene) -> None:
    async with scene.serving() as gateway:
        invoice = await gateway.node.create_operator_invoice(
            OperatorInvoiceRequest(amount_msat=70_000, expiry_s=600, description="coffee")
        )
        fields = bolt11.decode(invoice)
        payment_hash = fields.payment_hash.hex()
        assert (fields.description, fields.expiry_s) == ("coffee", 600)
        found = await gateway.node.node_invoice(payment_hash)
        assert found is not None
        assert found.status == "Pending"
        payer = scene.world.payee
        async with payer.pay(
            invoice, payment_hash=fields.payment_hash, max_fee_msat=5_000, max_delay_blocks=1_008
        ) as statuses:
            assert [type(status).__name__ async for status in statuses][-1] == "Succeeded"
        found = await gateway.node.node_invoice(payment_hash)
        assert found is not None
        assert found.status == "Succeeded"
        (listed,) = await gateway.node.node_transactions(START_UNIX_S, START_UNIX_S)
        assert (listed.direction, listed.amount_msat) == ("Inbound", 70_000)
        assert await gateway.node.node_invoice("00" * 32) is None


# --- orders ---


async def _order(scene: Scene, gateway: Gateway, what: str) -> str:
    if what == "coins":
        return await gateway.node.send_onchain(COINS)
    return await gateway.node.open_channel(channel(scene))


def _call(what: str) -> Call:
    return "send_onchain" if what == "coins" else "open_channel"


BOTH = pytest.mark.parametrize("what", ["coins", "channel"])


@BOTH
async def test_an_order_is_placed_and_its_txid_told(scene: Scene, what: str) -> None:
    async with scene.serving() as gateway:
        txid = await _order(scene, gateway, what)
    assert len(bytes.fromhex(txid)) == 32
    assert scene.world.gateway_node.onchain_sat < FUNDS_SAT
    assert kinds(scene.directory)[-2:] == ["node_order.ordered", "node_order.placed"]


@BOTH
async def test_an_order_whose_answer_was_lost_is_found_by_its_trace(
    scene: Scene, what: str
) -> None:
    node = scene.world.gateway_node
    node.script(Fault.TAKEN, call=_call(what))
    async with scene.serving() as gateway:
        txid = await scene.while_time_passes(lambda: _order(scene, gateway, what))
        assert len(bytes.fromhex(txid)) == 32
        spent_sat = FUNDS_SAT - node.onchain_sat
    async with scene.serving():
        pass
    assert FUNDS_SAT - node.onchain_sat == spent_sat > 0
    assert kinds(scene.directory)[-2:] == ["node_order.ordered", "node_order.placed"]


@BOTH
async def test_an_order_without_trace_is_never_repeated_and_tells_what_to_check(
    scene: Scene, what: str
) -> None:
    node = scene.world.gateway_node
    node.script(Fault.DELAYED, call=_call(what))
    async with scene.serving() as gateway, anyio.create_task_group() as caller:
        caller.start_soon(_order, scene, gateway, what)
        await scene.drive(lambda: _last_error(gateway) is not None, step_s=10)
        error = _last_error(gateway)
        assert error is not None
        assert "look in the node" in error
        assert (ADDRESS if what == "coins" else f"{CAPACITY_SAT} sat") in error
        caller.cancel_scope.cancel()
    assert node.onchain_sat == FUNDS_SAT
    async with scene.serving() as gateway:
        await scene.drive(lambda: _last_error(gateway) is not None, step_s=10)
        assert node.onchain_sat == FUNDS_SAT
        assert len(_orders(gateway)) == 1
        node.deliver_delayed()
        await scene.drive(lambda: not _orders(gateway), step_s=10)
    assert kinds(scene.directory)[-1] == "node_order.placed"


def _last_error(gateway: Gateway) -> str | None:
    return next(
        (
            job.last_error
            for job in gateway.engine.jobs()
            if job.last_error is not None and "no trace" in job.last_error
        ),
        None,
    )


@BOTH
async def test_an_order_that_the_node_refuses_is_over(scene: Scene, what: str) -> None:
    scene.world.gateway_node.script(Fault.REFUSED, call=_call(what))
    async with scene.serving() as gateway:
        with pytest.raises(PeerError, match="the Lightning node refused: as the script says"):
            await _order(scene, gateway, what)
        assert not _orders(gateway)
    assert kinds(scene.directory)[-1] == "node_order.refused"


@pytest.mark.parametrize(
    ("amount_sat", "sat_per_vbyte", "words"),
    [(0, 2, "0 sat cannot be sent"), (1_000, 0, "name at least 1 sat/vB")],
)
async def test_an_amount_that_no_node_is_asked_for_is_refused(
    scene: Scene, amount_sat: int, sat_per_vbyte: int, words: str
) -> None:
    async with scene.serving() as gateway:
        before = kinds(scene.directory)
        with pytest.raises(InputError, match=words):
            await gateway.node.send_onchain(SendCoins(ADDRESS, amount_sat, sat_per_vbyte))
        assert kinds(scene.directory) == before


@pytest.mark.parametrize("stream", ["", "zz", "send/", "lightning://", "nothing/of-ours"])
async def test_what_is_no_stream_is_neither_dismissed_nor_tried_again(
    scene: Scene, stream: str
) -> None:
    async with scene.serving() as gateway:
        for act in (gateway.node.dismiss, gateway.node.retry):
            with pytest.raises(InputError, match="is not a payment, transaction or order"):
                await act(stream)
        with pytest.raises(NotFoundError, match="send/unknown is not quarantined"):
            await gateway.node.retry("send/unknown")


async def test_everything_is_sent(scene: Scene) -> None:
    async with scene.serving() as gateway:
        await gateway.node.send_onchain(SendCoins(ADDRESS, None, 2))
    assert scene.world.gateway_node.onchain_sat == 0


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nonsense", "this is no bitcoin address"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "for network bitcoin"),
    ],
)
async def test_coins_go_to_no_address_of_another_network(
    scene: Scene, address: str, words: str
) -> None:
    async with scene.serving() as gateway:
        before = kinds(scene.directory)
        with pytest.raises(InputError, match=words):
            await gateway.node.send_onchain(SendCoins(address, 50_000, 2))
        assert kinds(scene.directory) == before


# --- channels, and the node itself ---


async def test_a_channel_is_listed_priced_and_closed(scene: Scene) -> None:
    payee = scene.world.payee.public_key.hex()
    async with scene.serving() as gateway:
        txid = await gateway.node.open_channel(channel(scene))
        scene.world.chain.mine(6)
        opened = [c for c in await gateway.node.channels() if c.remote_public_key == payee]
        assert [c.capacity_sat for c in opened] == [CAPACITY_SAT]
        out_point = opened[0].funding_out_point
        assert out_point is not None
        assert out_point.startswith(txid)
        await gateway.node.set_channel_fees(out_point, base_fee_msat=7, parts_per_million=8)
        (priced,) = [c for c in await gateway.node.channels() if c.remote_public_key == payee]
        assert (priced.base_fee_msat, priced.parts_per_million) == (7, 8)
        closed = await gateway.node.close_channels(payee, force=False, sat_per_vbyte=None)
        assert closed == 1


async def test_a_peer_that_cannot_be_reached_is_ordered_nothing_of(scene: Scene) -> None:
    scene.world.payee.is_down = True
    async with scene.serving() as gateway:
        before = kinds(scene.directory)
        with pytest.raises(PeerError):
            await gateway.node.open_channel(channel(scene))
        with pytest.raises(PeerError):
            await gateway.node.connect_peer(scene.world.payee.public_key.hex(), "127.0.0.1:9735")
        assert kinds(scene.directory) == before


async def test_a_node_that_is_away_is_asked_nothing(scene: Scene) -> None:
    async with scene.serving() as gateway:
        assert (await gateway.node.onchain_address()).startswith("bcrt1p")
        scene.world.gateway_node.is_down = True
        scene.clock.advance(WATCH_PAUSE_S)
        await anyio.wait_all_tasks_blocked()
        before = kinds(scene.directory)
        for question in (
            gateway.node.onchain_address,
            gateway.node.channels,
            lambda: gateway.node.send_onchain(COINS),
            lambda: gateway.node.open_channel(channel(scene)),
            lambda: gateway.node.pay_operator_invoice(scene.invoice()),
        ):
            with pytest.raises(UnavailableError, match="no connection to its Lightning node"):
                await question()
        assert kinds(scene.directory) == before


async def test_offers_are_refused_in_the_name_of_a_node_that_knows_none(scene: Scene) -> None:
    async with scene.serving() as gateway:
        scene.world.gateway_node.is_down = True
        assert gateway.node.why_no_offers() == (
            "The simulated node, on which this gateway runs, knows no BOLT12 offers; "
            "use a BOLT11 invoice"
        )


async def test_offers_are_refused_in_the_gateways_own_name_where_the_node_knows_them(
    scene: Scene,
) -> None:
    class Offering(SimulatedNode):
        abilities = msgspec.structs.replace(SimulatedNode.abilities, offers=True)

    scene.node = Offering(scene.world.network, "offering", lambda: scene.clock.now_s)
    async with scene.serving() as gateway:
        assert gateway.node.why_no_offers() == (
            "this gateway does not serve BOLT12 offers; use a BOLT11 invoice"
        )
