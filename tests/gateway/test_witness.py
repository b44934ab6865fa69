"""A log that is not the newest starts frozen: the Lightning node is the witness."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from backends.operations import NodeTransaction
from engine.effects import EffectContext, storage_in
from engine.machine import Effect, Input
from engine.quarantine import QuarantinedError
from engine.storage.errors import StorageError
from errors import UnavailableError
from fedimint.lnv2.gateway_api import Paid, RoutingInfo
from gateway import witness
from gateway.application import Gateway
from gateway.context import GatewaySettings
from gateway.freeze import Word
from gateway.witness import rests_on_node, until_heard
from statemachines import identity, send
from statemachines.items import FundedContract, PegOut
from tests.gateway.scene import Scene, ask, kinds, until
from tests.gateway.test_freeze import _building

pytestmark = pytest.mark.anyio


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def _paid(scene: Scene, gateway: Gateway, routing: RoutingInfo) -> None:
    user, payment = await scene.funded(routing)
    assert isinstance(await ask(gateway, user.body(payment)), Paid)
    await until(gateway, payment, send.Claimed)


async def _copied_and_gone_on(scene: Scene, backup: Path) -> RoutingInfo:
    """A life, a copy of its files, a life that pays, and the copy in the place of the files."""
    async with scene.joined() as (gateway, routing):
        await _paid(scene, gateway, routing)
    shutil.copytree(scene.directory, backup)
    scene.clock.advance(1)
    async with scene.serving() as gateway:
        await _paid(scene, gateway, routing)
    shutil.rmtree(scene.directory)
    shutil.copytree(backup, scene.directory)
    return routing


async def _until_judged(gateway: Gateway) -> None:
    while not gateway._context.word.is_given:
        await anyio.lowlevel.checkpoint()


async def test_a_log_that_was_brought_back_starts_frozen_and_thaws(
    scene: Scene, tmp_path: Path
) -> None:
    await _copied_and_gone_on(scene, tmp_path / "backup")
    async with scene.serving() as gateway:
        await _until_judged(gateway)
        restoration = gateway._context.restoration
        assert restoration is not None
        assert "began 1 payments after the log's newest event" in restoration.evidence
        await gateway.engine.wait(
            identity.STREAM, lambda s: isinstance(s, identity.Founded) and not s.is_frozen
        )
    before = kinds(scene.directory)
    assert before.index("gateway.restored") < before.index("gateway.reconciled")
    # What was judged once is no sign any more.
    async with scene.serving() as gateway:
        await _until_judged(gateway)
    assert kinds(scene.directory).count("gateway.restored") == before.count("gateway.restored") == 1


async def test_the_newest_log_is_never_frozen(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        await _paid(scene, gateway, routing)
    for _life in range(2):
        async with scene.serving() as gateway:
            await _until_judged(gateway)
            await _paid(scene, gateway, routing)
    assert "gateway.restored" not in kinds(scene.directory)


async def test_who_shares_the_node_says_so(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _copied_and_gone_on(scene, tmp_path / "backup")

    def shared(*args: Any) -> GatewaySettings:
        return replace(GatewaySettings(*args), node_is_shared=True)

    monkeypatch.setattr("tests.gateway.scene.GatewaySettings", shared)
    async with scene.serving() as gateway:
        await _until_judged(gateway)
    assert "gateway.restored" not in kinds(scene.directory)


async def test_until_the_node_has_told_nothing_is_paid_and_everybody_sees_it(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene.joined() as (gateway, routing):
        pass
    listing = scene.world.gateway_node.payments_since
    answers: list[Exception] = [ValueError("nonsense"), UnavailableError("not now")]

    async def slow(start_unix_s: int) -> tuple[NodeTransaction, ...]:
        if answers:
            raise answers.pop()
        return await listing(start_unix_s)

    monkeypatch.setattr(scene.world.gateway_node, "payments_since", slow)
    async with scene.serving() as gateway:
        assert any("has not said yet" in one for one in (await gateway.info()).problems)
        user, payment = await scene.funded(routing)
        async with anyio.create_task_group() as caller:
            caller.start_soon(ask, gateway, user.body(payment))
            await until(gateway, payment, send.Accepted)
            assert scene.spent_msat() == 0
            await scene.drive(lambda: gateway._context.word.is_given)
            await scene.while_time_passes(lambda: until(gateway, payment, send.Claimed))
        assert not any("has not said yet" in one for one in (await gateway.info()).problems)


async def test_a_log_that_cannot_be_read_for_it_ends_the_start(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene.joined():
        pass
    failed = StorageError("the disk failed")

    async def broken(_start_unix_s: int) -> tuple[NodeTransaction, ...]:
        raise failed

    monkeypatch.setattr(scene.world.gateway_node, "payments_since", broken)
    with pytest.raises(ExceptionGroup) as caught:
        async with scene.serving():
            await anyio.sleep_forever()
    assert storage_in(caught.value) is failed


async def test_a_hash_whose_owner_cannot_be_read_is_in_the_log(scene: Scene) -> None:
    async with scene.joined() as (gateway, _routing):
        payment = NodeTransaction(b"\1" * 32, None, "Bolt11", 1, "Outbound", "Succeeded", 1)
        context = gateway._context
        assert not witness.is_known(context, payment)

        def unreadable(_stream: str) -> object:
            raise QuarantinedError("not known")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(context.engine, "peek", unreadable)
            assert witness.is_known(context, payment)


async def test_what_rests_on_the_node_waits_for_its_word_and_nothing_else_does() -> None:
    funding, pegging = _building(FundedContract("00", 1)), _building(PegOut("00", 1, 1))
    assert (rests_on_node(funding), rests_on_node(pegging)) == (True, False)
    done: list[Effect] = []

    async def handler(effect: Effect, _context: EffectContext) -> Input | None:
        done.append(effect)
        return None

    word = Word()
    handle = until_heard({type(funding): handler}, word)[type(funding)]
    context = EffectContext("stream/1", resumed=True, report=lambda _input: None)

    async def wait() -> None:
        await handle(funding, context)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await handle(pegging, context)
        await anyio.wait_all_tasks_blocked()
        assert done == [pegging]
        word.give()
    assert done == [pegging, funding]
