"""Until the node has said whether the log is the newest, nothing is decided that a copy would decide wrongly."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import anyio
import pytest

from backends.lightning import PaymentStatus, Succeeded
from errors import UnavailableError
from fedimint.lnv2.gateway_api import Forfeited, Paid, SendPaymentPayload
from fedimint.mintv2 import recovery
from gateway.application import Gateway
from gateway.ports import Inline
from statemachines import receive, send
from statemachines.transaction import SIGN_WITHIN_S
from tests.gateway import calling
from tests.gateway.receiving import give_ecash, ordered, paying, stream_of, until
from tests.gateway.scene import Hold, Scene, ask, asking, kinds
from tests.gateway.scene import stream_of as sent_stream
from tests.gateway.scene import until as sent_until
from tests.gateway.slow_node import SlowNode, with_slow_node

pytestmark = pytest.mark.anyio

T = TypeVar("T")
Args = TypeVarTuple("Args")
#: Longer than whatever was decided may wait to be signed, and shorter than payments are held undecided.
A_WHILE_S = 4 * SIGN_WITHIN_S


class NoPreimages:
    """Workers that find no preimage as long as the process lives."""

    def __init__(self) -> None:
        self.hold = Hold()

    async def run(self, function: Callable[[*Args], T], *arguments: *Args) -> T:
        if getattr(function, "__name__", "") == "decrypt_shares":
            await self.hold("decrypt")
        return function(*arguments)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture
def node(scene: Scene) -> SlowNode:
    return with_slow_node(scene)


@asynccontextmanager
async def unheard(scene: Scene, node: SlowNode) -> AsyncIterator[Gateway]:
    """A life whose node lists its payments only when the test lets it: `heard`."""
    node.slow("payments_since")
    async with scene.serving() as gateway:
        assert node.hold is not None
        await node.hold.reached.wait()
        yield gateway


async def a_while(scene: Scene) -> None:
    end_s = scene.clock.now_s + A_WHILE_S
    await scene.drive(lambda: scene.clock.now_s >= end_s)


async def heard(node: SlowNode) -> None:
    async with node.while_it_answers():
        pass


async def test_payments_that_are_held_wait_for_the_nodes_word(scene: Scene, node: SlowNode) -> None:
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, invoice = await ordered(scene, gateway, routing)
    async with unheard(scene, node) as gateway, paying(scene, invoice) as statuses:
        await a_while(scene)
        held = gateway.engine.peek(stream_of(invoice))
        assert isinstance(held, receive.Held)
        assert "has not said yet" in held.reason
        await heard(node)
        await scene.while_time_passes(lambda: until(gateway, invoice, receive.Received))
    assert isinstance(statuses[-1], Succeeded)


async def test_what_lost_events_funded_is_not_failed_back_before_the_node_has_told(
    scene: Scene, node: SlowNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backup has no ecash to fund it with. The lost events paid, too, so the node shows that it is one."""
    monkeypatch.setattr(recovery, "meets_filter", lambda _tweak, _filter: True)
    statuses: list[PaymentStatus] = []

    async def pay(invoice: str) -> None:
        async with paying(scene, invoice) as told:
            pass
        statuses.extend(told)

    async with scene.joined() as (gateway, routing):
        _, _, invoice = await ordered(scene, gateway, routing)
    shutil.copytree(scene.directory, tmp_path / "backup")
    scene.clock.advance(1)
    scene.cpu = NoPreimages()
    async with anyio.create_task_group() as payer:
        async with scene.serving() as gateway:
            await give_ecash(scene, gateway)
            payer.start_soon(pay, invoice)
            await until(gateway, invoice, receive.Decrypting)
            user, payment = await scene.funded(routing)
            assert isinstance(await ask(gateway, user.body(payment)), Paid)
        scene.cpu = Inline()
        shutil.rmtree(scene.directory)
        shutil.copytree(tmp_path / "backup", scene.directory)
        async with unheard(scene, node) as gateway:
            await a_while(scene)
            await heard(node)
            await scene.while_time_passes(lambda: until(gateway, invoice, receive.Received))
            await scene.drive(lambda: bool(statuses))
    assert isinstance(statuses[-1], Succeeded)
    assert "gateway.restored" in kinds(scene.directory)


async def accepted_and_gone(
    scene: Scene, node: SlowNode, gateway: Gateway, body: SendPaymentPayload, call: str
) -> None:
    """A life ends when a payment was accepted and nothing was measured for it yet."""
    node.slow(call)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, gateway, body)
        assert node.hold is not None
        await node.hold.reached.wait()
        tasks.cancel_scope.cancel()
    assert kinds(scene.directory)[-2:] == ["send.accepted", "image.claimed"]


async def test_a_swap_waits_for_the_nodes_word(scene: Scene, node: SlowNode) -> None:
    """Begun before it, it would be abandoned unsigned, and its sender refunded."""
    other = scene.add_federation("other")
    async with scene.joined() as (gateway, routing):
        await gateway.federations.connect_federation(other.invite_code().to_text(), recover=False)
        await give_ecash(scene, gateway, federation=other)
        other_routing = await calling.routing_of(gateway, other.federation_id.hex())
        _, _, invoice = await ordered(scene, gateway, other_routing, federation=other)
        user, payment = await scene.funded(routing, invoice)
        await accepted_and_gone(scene, node, gateway, user.body(payment), "info")
    async with unheard(scene, node) as gateway:
        await a_while(scene)
        assert isinstance(gateway.engine.peek(sent_stream(payment)), send.Accepted)
        await heard(node)
        await scene.while_time_passes(lambda: sent_until(gateway, payment, send.Claimed))


async def test_no_call_is_decided_before_the_node_has_told(scene: Scene, node: SlowNode) -> None:
    """Its budgets would be those of a day ago when it leaves."""
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        await accepted_and_gone(scene, node, gateway, user.body(payment), "lookup")
    async with unheard(scene, node) as gateway:
        await a_while(scene)
        assert isinstance(gateway.engine.peek(sent_stream(payment)), send.Accepted)
        scene.world.chain.mine(payment.contract.expiration_block_height)
        await heard(node)
        await scene.while_time_passes(lambda: sent_until(gateway, payment, send.Cancelled))
    assert "send.dispatching" not in kinds(scene.directory)


async def test_a_second_contract_is_not_given_back_before_the_node_has_told(
    scene: Scene, node: SlowNode
) -> None:
    """Perhaps it is the one that lost events have paid for."""
    invoice = scene.invoice()
    async with scene.joined() as (_, routing):
        first, payment = await scene.funded(routing, invoice)
        second, other = await scene.funded(routing, invoice)
    async with unheard(scene, node) as gateway:
        async with asking(gateway, first.body(payment)) as answers:
            await sent_until(gateway, payment, send.Accepted)
            with pytest.raises(UnavailableError, match="has not said yet"):
                await ask(gateway, second.body(other))
            await heard(node)
            await scene.drive(lambda: bool(answers))
        assert isinstance(answers[0], Paid)
        assert isinstance(await ask(gateway, second.body(other)), Forfeited)


async def test_the_operator_is_refused_until_the_node_has_told(
    scene: Scene, node: SlowNode
) -> None:
    """The payer would have found another way by then."""
    async with scene.joined():
        pass
    async with unheard(scene, node) as gateway:
        with pytest.raises(UnavailableError, match="has not said yet"):
            await gateway.node.pay_operator_invoice(scene.invoice())
        await heard(node)
        await scene.drive(lambda: gateway._context.word.is_given)
        await gateway.node.pay_operator_invoice(scene.invoice())


async def test_an_invoice_is_asked_for_once_the_node_has_told(scene: Scene, node: SlowNode) -> None:
    """A hash that lost events had an invoice for is refused by the node, and its HTLCs would be left to themselves."""
    async with scene.joined() as (_, routing):
        pass
    async with unheard(scene, node) as gateway, anyio.create_task_group() as tasks:
        invoices: list[str] = []

        async def order() -> None:
            _, _, invoice = await ordered(scene, gateway, routing)
            invoices.append(invoice)

        tasks.start_soon(order)
        await a_while(scene)
        assert not invoices
        await heard(node)
        await scene.drive(lambda: bool(invoices))
