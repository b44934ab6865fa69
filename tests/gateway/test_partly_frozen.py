"""A restored log of two federations, one of them dead: the other one is served."""

import shutil
from pathlib import Path

import anyio
import pytest

from backends.lightning import Succeeded
from devnet.guardians.federation import EmbeddedFederation
from errors import UnavailableError
from fedimint.lnv2.gateway_api import Paid, RoutingInfo
from fedimint.mintv2 import recovery
from gateway.application import Gateway
from gateway.reconciliation import PAUSE_S
from gateway.restoring import restore
from statemachines import receive, send
from tests.gateway import calling
from tests.gateway.receiving import give_ecash, ordered, paying
from tests.gateway.receiving import until as received
from tests.gateway.scene import Scene, ask, kinds, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Tweaks here are not ground, so recovery must not look for that."""
    monkeypatch.setattr(recovery, "meets_filter", lambda _tweak, _filter: True)
    return Scene(tmp_path)


async def _restored(scene: Scene) -> tuple[EmbeddedFederation, RoutingInfo, str]:
    """The federation that does not answer, how the other one is paid through, and an invoice of the dead one's."""
    other = scene.add_federation("other")
    async with scene.joined() as (gateway, routing):
        await gateway.federations.connect_federation(other.invite_code().to_text(), recover=False)
        for federation in (scene.federation, other):
            await give_ecash(scene, gateway, federation=federation)
        theirs = await calling.routing_of(gateway, other.federation_id.hex())
        _, _, invoice = await ordered(scene, gateway, theirs, federation=other)
    backup = scene.directory.with_name("backup")
    shutil.copytree(scene.directory, backup)
    shutil.rmtree(scene.directory)
    restore(backup, scene.directory, scene.clock)
    other.faults(0).is_down = True
    scene.clock.advance(1)
    return other, routing, invoice


async def _only_one_is_missing(scene: Scene, gateway: Gateway, missing: EmbeddedFederation) -> None:
    expected = (f"federation {missing.federation_id.hex()}",)
    while (await gateway.info()).frozen_until != expected:
        scene.clock.advance(PAUSE_S)
        await anyio.wait_all_tasks_blocked()


async def test_payments_of_a_federation_that_answered_go_on(scene: Scene) -> None:
    other, routing, _ = await _restored(scene)
    async with scene.serving() as gateway:
        await _only_one_is_missing(scene, gateway, other)
        user, payment = await scene.funded(routing)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)
        await until(gateway, payment, send.Claimed)
        receiver, order, invoice = await ordered(scene, gateway, routing)
        async with paying(scene, invoice) as heard:
            await received(gateway, invoice, receive.Received)
        assert isinstance(heard[-1], Succeeded)
        assert await receiver.await_funded(order) is not None
        assert await gateway.treasury.spend_ecash(scene.federation_id, 512)
        await gateway.node.pay_operator_invoice(scene.invoice())
    assert "gateway.reconciled" not in kinds(scene.directory)


async def test_what_needs_the_one_that_does_not_answer_waits_and_is_told(scene: Scene) -> None:
    other, _, _ = await _restored(scene)
    other_id = other.federation_id.hex()
    async with scene.serving() as gateway:
        await _only_one_is_missing(scene, gateway, other)
        with pytest.raises(UnavailableError, match=f"until federation {other_id}"):
            await gateway.treasury.spend_ecash(other_id, 512)
        with pytest.raises(UnavailableError, match="restored from a backup"):
            await gateway.payments.receive_ecash(other.issue_ecash(512).to_text())
        (told,) = [one for one in (await gateway.info()).problems if "restored" in one]
        assert other_id in told
        other.faults(0).is_down = False
        while (await gateway.info()).frozen_until:
            scene.clock.advance(PAUSE_S)
            await anyio.wait_all_tasks_blocked()
        assert not [one for one in (await gateway.info()).problems if "restored" in one]
        assert await gateway.treasury.spend_ecash(other_id, 512)


async def test_a_swap_to_the_one_that_does_not_answer_begins_nothing(scene: Scene) -> None:
    other, routing, invoice = await _restored(scene)
    async with scene.serving() as gateway:
        await _only_one_is_missing(scene, gateway, other)
        user, payment = await scene.funded(routing, invoice)
        answers = []

        async def pay() -> None:
            answers.append(await ask(gateway, user.body(payment)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pay)
            await until(gateway, payment, send.Accepted, send.Unanswered)
            assert not answers
            tasks.cancel_scope.cancel()
    assert "receive.funding" not in kinds(scene.directory)
