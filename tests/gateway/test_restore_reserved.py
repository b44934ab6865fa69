"""A backup of a reserved, unsigned transaction that the lost events signed and ended."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import anyio
import pytest

from engine.machine import kind_of
from fedimint.lnv2.gateway_api import Paid
from fedimint.mintv2 import recovery
from gateway.application import Gateway
from gateway.restoring import restore
from statemachines import identity, receive, send
from tests.gateway import receiving
from tests.gateway.receiving import give_ecash, ordered, paying
from tests.gateway.scene import Hold, Scene, ask, until, wallet

pytestmark = pytest.mark.anyio

T = TypeVar("T")
Args = TypeVarTuple("Args")


class HeldBuilds:
    """Workers that build transactions only once a test lets them."""

    def __init__(self) -> None:
        self.hold = Hold()

    async def run(self, function: Callable[[*Args], T], *arguments: *Args) -> T:
        if getattr(function, "__name__", "") == "build":  # a partial has none
            await self.hold("build")
        return function(*arguments)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Tweaks here are not ground, so recovery must not look for that."""
    monkeypatch.setattr(recovery, "meets_filter", lambda _tweak, _filter: True)
    return Scene(tmp_path)


def back_up(scene: Scene) -> Path:
    copy = scene.directory.with_name("backup")
    shutil.copytree(scene.directory, copy)
    return copy


def no_transaction_is_open(gateway: Gateway) -> bool:
    return not any(kind_of(stream) == "tx" for stream in gateway.engine.open_streams())


async def ended(scene: Scene, gateway: Gateway) -> set[str]:
    """The nonces of the wallet once nothing is under way any more."""
    await scene.drive(lambda: no_transaction_is_open(gateway))
    return {note.nonce for note in (await wallet(gateway, scene.federation_id)).notes}


async def restored(scene: Scene, backup: Path) -> set[str]:
    """As `ended`, of a gateway that goes on from the backup."""
    shutil.rmtree(scene.directory)
    restore(backup, scene.directory, scene.clock)
    async with scene.serving() as gateway:

        def is_thawed() -> bool:
            founded = gateway.engine.peek(identity.STREAM)
            return isinstance(founded, identity.Founded) and not founded.is_frozen

        await scene.drive(is_thawed)
        return await ended(scene, gateway)


async def test_the_change_of_a_funding_is_found(scene: Scene) -> None:
    scene.cpu = cpu = HeldBuilds()
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway, 1 << 24)
        _, _, invoice = await ordered(scene, gateway, routing)
        async with paying(scene, invoice):
            await cpu.hold.reached.wait()
            backup = back_up(scene)
            cpu.hold.release()
            await receiving.until(gateway, invoice, receive.Received)
        after = await ended(scene, gateway)
    assert after
    assert await restored(scene, backup) == after


async def test_the_notes_of_a_claim_are_found(scene: Scene) -> None:
    scene.cpu = cpu = HeldBuilds()
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        answers = []

        async def pay() -> None:
            answers.append(await ask(gateway, user.body(payment)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pay)
            await cpu.hold.reached.wait()
            backup = back_up(scene)
            cpu.hold.release()
        assert isinstance(answers[0], Paid)
        await until(gateway, payment, send.Claimed)
        after = await ended(scene, gateway)
    assert after
    assert await restored(scene, backup) == after
