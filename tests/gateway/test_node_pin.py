"""Another Lightning node than the gateway's is not used until the operator replaces the old one."""

from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import anyio
import pytest

from backends.operations import Node
from backends.simulated.node import Fault, SimulatedNode
from devnet.embedded_world import CHANNEL_SIDE_MSAT
from devnet.users.user import OutgoingPayment
from engine.machine import State
from errors import ConflictError, PeerError, UnavailableError
from fedimint.codec import bolt11
from gateway.application import Gateway
from gateway.restoring import restore
from gateway.views import NodeReplacement, OperatorInvoiceRequest
from statemachines import completion, identity, operator_payment, receive, send
from tests.gateway import receiving
from tests.gateway.receiving import give_ecash, hash_of, ordered, paying
from tests.gateway.scene import Scene, ask, asking, kinds, stream_of, until, wallet

pytestmark = pytest.mark.anyio


class Address:
    """Where the gateway looks for its node: the one that is there answers."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def move_in(self, node: SimulatedNode) -> None:
        """The connection to the one before breaks, and another node answers from now on."""
        self._node.cut_streams()
        self._node = node


class PinScene(Scene):
    """A gateway whose node can be exchanged for a second one with a channel of its own."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        world = self.world
        self.own = world.gateway_node
        self.other = SimulatedNode(world.network, "other", lambda: self.clock.now_s)
        world.network.open_channel(
            "other", "middle", first_msat=CHANNEL_SIDE_MSAT, second_msat=CHANNEL_SIDE_MSAT
        )
        self.address = Address(self.own)
        self.node = cast("Node", self.address)

    @property
    def own_key(self) -> str:
        return self.own.public_key.hex()

    @property
    def other_key(self) -> str:
        return self.other.public_key.hex()

    async def changed(self, gateway: Gateway, node: SimulatedNode) -> None:
        """Another node answers, and the gateway has seen it.

        A stream that is only being opened would go to the old node after its connection broke.
        """
        await anyio.wait_all_tasks_blocked()
        self.address.move_in(node)
        await gateway.info()

    def is_untouched(self) -> bool:
        """Whether the other node was never asked to pay or to be paid."""
        return not self.other._records and not self.other.invoices


@pytest.fixture
def scene(tmp_path: Path) -> PinScene:
    return PinScene(tmp_path)


def _node_of(gateway: Gateway) -> str | None:
    founded = gateway.engine.peek(identity.STREAM)
    assert isinstance(founded, identity.Founded)
    return founded.node


async def _replaced(scene: PinScene, gateway: Gateway) -> NodeReplacement:
    return await gateway.node.replace_node(scene.own_key)


# --- which node it is ----------------------------------------------------------------------------------------------


async def test_the_first_node_that_answers_is_the_gateways_for_all_later_starts(
    scene: PinScene,
) -> None:
    scene.own.is_down = True
    async with scene.serving() as gateway:
        assert _node_of(gateway) is None
        scene.own.is_down = False
        await scene.drive(lambda: _node_of(gateway) == scene.own_key)
    async with scene.serving() as gateway:
        assert _node_of(gateway) == scene.own_key
    assert kinds(scene.directory) == ["gateway.founded", "gateway.node_pinned"]


async def test_a_start_with_another_node_pays_receives_and_orders_nothing(scene: PinScene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
    scene.address.move_in(scene.other)
    async with scene.serving() as gateway:
        shown = await gateway.info()
        assert (shown.state, shown.lightning) == ("Disconnected", None)
        (told,) = shown.problems
        assert scene.own_key in told
        assert scene.other_key in told
        assert "gateway-cli lightning replace-node" in told
        with pytest.raises(UnavailableError, match="another Lightning node answers"):
            await ask(gateway, user.body(payment))
        with pytest.raises(UnavailableError, match="another Lightning node answers"):
            await ordered(scene, gateway, routing)
        with pytest.raises(UnavailableError, match="another Lightning node answers"):
            await gateway.node.onchain_address()
        assert (await wallet(gateway, scene.federation_id)).balance_msat == 0
        await scene.changed(gateway, scene.own)
        assert (await gateway.info()).lightning is not None
        # The node is asked once more whether the log is the newest, after a pause.
        await scene.while_time_passes(lambda: ask(gateway, user.body(payment)))
    assert scene.is_untouched()


# --- what was under way at the old node ----------------------------------------------------------------------------


async def test_what_is_in_flight_waits_for_the_node_that_was_called(scene: PinScene) -> None:
    """The other node has no record of it, which would be an end once the invoice has expired."""
    held = scene.world.payee.make_invoice(5_000_000, is_held=True, expiry_s=3_600)
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing, held.text)
        async with asking(gateway, user.body(payment)) as answers:
            await until(gateway, payment, send.InFlight)
            await scene.changed(gateway, scene.other)
            end_s = scene.clock.now_s + 2 * 3_600
            await scene.drive(lambda: scene.clock.now_s > end_s, step_s=30)
            assert isinstance(_state(gateway, payment), send.InFlight)
            scene.world.payee.settle_held(held.payment_hash)
            scene.address.move_in(scene.own)
            await scene.drive(lambda: isinstance(_state(gateway, payment), send.Claimed))
    assert len(answers) == 1
    assert scene.is_untouched()


@pytest.mark.parametrize("seen", [True, False])
async def test_the_new_node_ends_nothing_that_the_old_one_was_called_for(
    scene: PinScene, seen: bool
) -> None:
    """Seen in flight or never answered: after the invoice's expiry the old node may still have paid."""
    held = scene.world.payee.make_invoice(5_000_000, is_held=True, expiry_s=3_600)
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing, held.text)
        if not seen:
            scene.own.script(Fault.DELAYED, *[Fault.LOST] * 20)
        async with asking(gateway, user.body(payment)):
            called = _is_in_flight if seen else _is_called_for_the_last_time
            await scene.drive(lambda: called(_state(gateway, payment)))
            await scene.changed(gateway, scene.other)
            told = await _replaced(scene, gateway)
            assert told.is_replaced
            assert any("1 payments of clients, 5000000 msat" in one for one in told.gives_up)
            end_s = scene.clock.now_s + 2 * 3_600
            await scene.drive(lambda: scene.clock.now_s > end_s, step_s=30)
            state = _state(gateway, payment)
            assert isinstance(state, send.Vanished if seen else send.Unanswered)
            with pytest.raises(ConflictError, match=r"can be dismissed in \d+ blocks"):
                await gateway.node.dismiss(stream_of(payment))
            (shown,) = (await gateway.info()).open_payments
            assert "which the operator gave up" in str(shown.last_error)
            left = payment.contract.expiration_block_height - scene.world.chain.height
            scene.world.chain.mine(left + 10)
            assert await gateway.node.dismiss(stream_of(payment)) in {"Cancelling", "Cancelled"}
        await user.refund(payment)
    assert scene.is_untouched()


def _state(gateway: Gateway, payment: OutgoingPayment) -> State:
    return gateway.engine.peek(stream_of(payment))


def _is_in_flight(state: State) -> bool:
    return isinstance(state, send.InFlight)


def _is_called_for_the_last_time(state: State) -> bool:
    return isinstance(state, send.Unanswered) and state.intent.attempt == send.ATTEMPTS_MAX


async def test_an_old_node_that_is_back_after_all_tells_how_its_payments_ended(
    scene: PinScene,
) -> None:
    held = scene.world.payee.make_invoice(5_000_000, is_held=True, expiry_s=3_600)
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing, held.text)
        async with asking(gateway, user.body(payment)):
            await until(gateway, payment, send.InFlight)
            await scene.changed(gateway, scene.other)
            await _replaced(scene, gateway)
            await scene.drive(lambda: isinstance(_state(gateway, payment), send.Vanished))
            scene.world.payee.settle_held(held.payment_hash)
            await scene.changed(gateway, scene.own)
            await gateway.node.replace_node(scene.other_key)
            await scene.drive(lambda: isinstance(_state(gateway, payment), send.Claimed))
    assert kinds(scene.directory).count("gateway.node_replaced") == 2


async def test_a_payment_that_waited_for_its_first_call_is_given_back(scene: PinScene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        scene.own.is_down = True
        async with asking(gateway, user.body(payment)):
            await until(gateway, payment, send.Accepted)
            await scene.changed(gateway, scene.other)
            await _replaced(scene, gateway)
            ended = await scene.while_time_passes(lambda: until(gateway, payment, send.Cancelled))
        assert isinstance(ended, send.Cancelled)
        assert "was replaced before it was called" in ended.detail
    assert scene.is_untouched()


async def test_htlcs_of_the_old_node_are_no_contradiction_of_the_other(scene: PinScene) -> None:
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, payment, invoice = await ordered(scene, gateway, routing)
        arrived = anyio.Event()
        scene.federation.consensus.acceptance_delay = arrived.wait
        async with paying(scene, invoice) as heard:
            await receiving.until(gateway, invoice, receive.Funding)
            await scene.changed(gateway, scene.other)
            arrived.set()
            await receiving.until(gateway, invoice, receive.Received)
            end_s = scene.clock.now_s + 120
            await scene.drive(lambda: scene.clock.now_s > end_s)
            answer = gateway.engine.peek(completion.stream_of(hash_of(invoice).hex()))
            assert isinstance(answer, completion.Settling)
            scene.address.move_in(scene.own)
            await scene.drive(lambda: len(heard) > 1)
    assert getattr(heard[-1], "preimage", None) == payment.preimage


async def test_a_payment_of_the_operator_is_made_by_no_other_node(scene: PinScene) -> None:
    invoice = scene.invoice()
    stream = operator_payment.stream_of(bolt11.decode(invoice).payment_hash.hex())
    async with scene.serving() as gateway, anyio.create_task_group() as tasks:
        scene.own.script(*[Fault.LOST] * 20)
        errors: list[Exception] = []

        async def pay() -> None:
            try:
                await gateway.node.pay_operator_invoice(invoice)
            except PeerError as error:
                errors.append(error)

        tasks.start_soon(pay)
        await gateway.engine.wait(stream, lambda s: isinstance(s, operator_payment.Paying))
        with pytest.raises(ConflictError, match="is Paying"):
            await gateway.node.dismiss(stream)
        await scene.changed(gateway, scene.other)
        told = await _replaced(scene, gateway)
        assert any("1 payments and orders of your own" in one for one in told.gives_up)
        end_s = scene.clock.now_s + 2 * 3_600
        await scene.drive(lambda: scene.clock.now_s > end_s, step_s=30)
        assert not errors
        assert await gateway.node.dismiss(stream) == "Failed"
        await scene.drive(lambda: bool(errors))
    assert "dismissed by the operator" in str(errors[0])
    assert scene.is_untouched()


# --- the operator's word -------------------------------------------------------------------------------------------


async def test_without_a_word_nothing_is_replaced(scene: PinScene) -> None:
    async with scene.serving() as gateway:
        with pytest.raises(ConflictError, match="no other Lightning node answers"):
            await gateway.node.replace_node(None)
        with pytest.raises(ConflictError, match="no other Lightning node answers"):
            await _replaced(scene, gateway)
        await scene.changed(gateway, scene.other)
        told = await gateway.node.replace_node(None)
        assert (told.old_node, told.new_node, told.is_replaced) == (
            scene.own_key,
            scene.other_key,
            False,
        )
        with pytest.raises(ConflictError, match="name that one"):
            await gateway.node.replace_node(scene.other_key)
        assert _node_of(gateway) == scene.own_key
        await _replaced(scene, gateway)
        while (await gateway.info()).problems:
            scene.clock.advance(1)
        made = await gateway.node.create_operator_invoice(OperatorInvoiceRequest(1_000, 60, "tea"))
        assert bolt11.decode(made).payee == scene.other.public_key


async def test_a_backup_knows_the_node_of_its_time(scene: PinScene) -> None:
    async with scene.joined():
        pass
    copy = scene.directory.with_name("copy")
    scene.directory.rename(copy)
    restore(copy, scene.directory, scene.clock)
    scene.address.move_in(scene.other)
    async with scene.serving() as gateway:
        end_s = scene.clock.now_s + 120
        await scene.drive(lambda: scene.clock.now_s > end_s)
        assert (await gateway.info()).frozen_until
        await _replaced(scene, gateway)
        await scene.drive(lambda: not gateway._context.waits_for())
        restoration = gateway._context.restoration
        assert restoration is not None
        assert restoration.node == scene.own_key
    assert kinds(scene.directory)[-1] == "gateway.reconciled"


async def test_an_invoice_of_another_node_is_given_to_nobody(scene: PinScene) -> None:
    """It moved in between the question who is there and the order."""
    async with scene.serving() as gateway:
        with (
            patch.object(scene.own, "create_invoice", scene.other.create_invoice),
            pytest.raises(UnavailableError, match="made this invoice"),
        ):
            await gateway.node.create_operator_invoice(OperatorInvoiceRequest(1_000, 60, "tea"))


async def test_an_invoice_that_the_new_node_has_for_the_same_hash_is_somebody_elses(
    scene: PinScene,
) -> None:
    """Another gateway there funds for it: one payment must not buy two contracts, nor be cancelled by us."""
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, invoice = await ordered(scene, gateway, routing)
        await scene.changed(gateway, scene.other)
        await _replaced(scene, gateway)
        foreign = await scene.other.create_invoice(
            payment_hash=hash_of(invoice),
            amount_msat=receiving.RECEIVED_MSAT,
            expiry_s=3_600,
            description="",
        )
        async with anyio.create_task_group() as payer:
            payer.start_soon(_pay, scene, foreign)
            end_s = scene.clock.now_s + 1_000
            await scene.drive(lambda: scene.clock.now_s >= end_s)
            assert isinstance(gateway.engine.peek(receiving.stream_of(invoice)), receive.Invoiced)
            assert scene.other.invoice_state(hash_of(invoice)) == "ACCEPTED"
            payer.cancel_scope.cancel()


async def _pay(scene: PinScene, invoice: str) -> None:
    async with paying(scene, invoice):
        pass
