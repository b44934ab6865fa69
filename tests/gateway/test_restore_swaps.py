"""A restored log and a swap whose sender it does not know: what was bought for them is paid for."""

import shutil
from pathlib import Path

import anyio
import pytest

from devnet.users.user import EmbeddedUser, OutgoingPayment
from fedimint.lnv2.gateway_api import Forfeited, Paid, RoutingInfo
from fedimint.mintv2 import recovery
from gateway.application import Gateway
from gateway.restoring import restore
from statemachines import completion, identity, receive, send
from tests.gateway import calling, receiving
from tests.gateway.receiving import give_ecash, ordered
from tests.gateway.scene import Scene, ask, kinds, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Tweaks here are not ground, so recovery must not look for that."""
    monkeypatch.setattr(recovery, "meets_filter", lambda _tweak, _filter: True)
    return Scene(tmp_path)


class Swap:
    """A backup that knows the receiver's invoice, and what happened after it."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.other = scene.add_federation("other")
        self.backup = scene.directory.with_name("backup")
        self.invoice = ""

    async def order(self, gateway: Gateway) -> None:
        other = self.other
        await gateway.federations.connect_federation(other.invite_code().to_text(), recover=False)
        await give_ecash(self.scene, gateway, federation=other)
        routing = await calling.routing_of(gateway, other.federation_id.hex())
        _, _, self.invoice = await ordered(self.scene, gateway, routing, federation=other)
        shutil.copytree(self.scene.directory, self.backup)

    async def begin(
        self, gateway: Gateway, routing: RoutingInfo
    ) -> tuple[EmbeddedUser, OutgoingPayment]:
        """The receiver is funded, and the sender's contract is not claimed."""
        user, payment = await self.scene.funded(routing, self.invoice)
        async with anyio.create_task_group() as caller:
            caller.start_soon(ask, gateway, user.body(payment))
            await receiving.until(gateway, self.invoice, receive.Funding)
            self.scene.federation.faults(0).is_down = True
            await receiving.until(gateway, self.invoice, receive.Received)
            caller.cancel_scope.cancel()
        return user, payment

    def restore(self) -> None:
        shutil.rmtree(self.scene.directory)
        restore(self.backup, self.scene.directory, self.scene.clock)
        self.scene.federation.faults(0).is_down = False

    async def thawed(self, gateway: Gateway) -> None:
        def is_thawed() -> bool:
            founded = gateway.engine.peek(identity.STREAM)
            return isinstance(founded, identity.Founded) and not founded.is_frozen

        await self.scene.drive(is_thawed)

    def htlcs(self) -> str:
        return completion.stream_of(receiving.hash_of(self.invoice).hex())


async def test_a_swap_that_only_lost_events_know_is_paid_when_its_sender_asks_again(
    scene: Scene,
) -> None:
    """Else the receiver would keep what the sender gets back, at our expense."""
    swap = Swap(scene)
    async with scene.joined() as (gateway, routing):
        await swap.order(gateway)
        user, payment = await swap.begin(gateway, routing)
    assert payment.out_point in scene.federation.consensus.ledger.contracts
    swap.restore()
    async with scene.serving() as gateway:
        await swap.thawed(gateway)
        await scene.drive(
            lambda: isinstance(
                gateway.engine.peek(receiving.stream_of(swap.invoice)), receive.Received
            )
        )
        # No HTLC pays for it: the swap had shut its invoice.
        shut = await gateway.engine.read(swap.htlcs())
        assert isinstance(shut.state, completion.Cancelled)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)
        await until(gateway, payment, send.Claimed)
    assert payment.out_point not in scene.federation.consensus.ledger.contracts
    assert "receive.funding" not in kinds(scene.directory)


async def test_a_swap_that_lost_events_may_have_given_back_is_not_begun_again(scene: Scene) -> None:
    swap = Swap(scene)
    async with scene.joined() as (gateway, routing):
        await swap.order(gateway)
        user, payment = await scene.funded(routing, swap.invoice)
    swap.restore()
    async with scene.serving() as gateway:
        await swap.thawed(gateway)
        again = await scene.while_time_passes(lambda: ask(gateway, user.body(payment)))
        assert isinstance(again, Forfeited)
    written = kinds(scene.directory)
    assert "send.held_back" in written
    assert "receive.funding" not in written


async def test_a_swap_beside_an_htlc_is_given_back_after_a_restore_too(scene: Scene) -> None:
    """The preimage is the HTLC's, and the lost events may have refunded the sender (seed 3059)."""
    swap = Swap(scene)
    async with scene.joined() as (gateway, routing):
        await swap.order(gateway)
        user, payment = await scene.funded(routing, swap.invoice)
        async with receiving.paying(scene, swap.invoice):
            await receiving.until(gateway, swap.invoice, receive.Received)
        shutil.rmtree(swap.backup)
        shutil.copytree(scene.directory, swap.backup)
    swap.restore()
    async with scene.serving() as gateway:
        await swap.thawed(gateway)
        again = await scene.while_time_passes(lambda: ask(gateway, user.body(payment)))
        assert isinstance(again, Forfeited)
    assert "send.paid" not in kinds(scene.directory)
