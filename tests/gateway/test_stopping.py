"""A stopping gateway: nothing new begins, decisions are in the log, the rest continues later."""

from pathlib import Path

import anyio
import pytest

from errors import UnavailableError
from fedimint.client.transport import GuardianConnection
from fedimint.lnv2.gateway_api import Paid
from gateway.application import HALT_LIMIT_S
from statemachines import send
from tests.engine.toy import Gate
from tests.gateway.receiving import ordered
from tests.gateway.scene import INVOICE_MSAT, Scene, ask, kinds, until

pytestmark = pytest.mark.anyio
GUARDIANS = 4


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_it_takes_nothing_new_and_goes_on_with_the_rest_at_the_next_start(
    scene: Scene,
) -> None:
    held = scene.world.payee.make_invoice(INVOICE_MSAT, is_held=True)
    async with scene.joined() as (gateway, routing), anyio.create_task_group() as callers:
        user, payment = await scene.funded(routing, held.text)
        latecomer, late = await scene.funded(routing)
        callers.start_soon(ask, gateway, user.body(payment))
        await until(gateway, payment, send.InFlight)
        await gateway.halt()
        assert (await gateway.info()).state == "ShuttingDown"
        with pytest.raises(UnavailableError, match="is stopping; ask again when it is back"):
            await ask(gateway, latecomer.body(late))
        with pytest.raises(UnavailableError, match="is stopping"):
            await ordered(scene, gateway, routing)
        callers.cancel_scope.cancel()
    scene.world.payee.settle_held(held.payment_hash)
    async with scene.serving() as gateway:
        assert isinstance(await ask(gateway, user.body(payment)), Paid)
        assert isinstance(await ask(gateway, latecomer.body(late)), Paid)
    assert kinds(scene.directory).count("send.accepted") == 2


async def test_what_is_decided_is_waited_for_but_not_for_ever(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Gate()
    disk.open()
    monkeypatch.setattr("tests.gateway.scene.inline", disk)
    monkeypatch.setattr("gateway.application.HALT_LIMIT_S", HALT_LIMIT_S / 100)
    async with scene.joined() as (gateway, routing), anyio.create_task_group() as callers:
        user, payment = await scene.funded(routing)
        disk.close()
        callers.start_soon(ask, gateway, user.body(payment))
        await anyio.wait_all_tasks_blocked()
        await gateway.halt()
        assert "send.accepted" not in kinds(scene.directory)
        disk.open()
        await gateway.halt()
        assert "send.accepted" in kinds(scene.directory)
        callers.cancel_scope.cancel()


class Waiting:
    """Connections that are closed only when all of them are being closed."""

    def __init__(self) -> None:
        self.begun = 0
        self.is_on = False
        self.all = anyio.Event()

    def wrapped(self, connection: GuardianConnection) -> GuardianConnection:
        return _Waiting(self, connection)


class _Waiting:
    def __init__(self, waiting: Waiting, connection: GuardianConnection) -> None:
        self._waiting = waiting
        self._connection = connection
        self.request = connection.request

    async def aclose(self) -> None:
        await self._connection.aclose()
        if self._waiting.is_on:
            self._waiting.begun += 1
            if self._waiting.begun == GUARDIANS:
                self._waiting.all.set()
            await self._waiting.all.wait()


async def test_guardians_that_do_not_let_go_keep_it_no_longer_than_one_of_them(
    tmp_path: Path,
) -> None:
    scene, waiting = Scene(tmp_path, guardians=GUARDIANS), Waiting()
    connect = scene.connect
    scene.connect = lambda url, api_secret: waiting.wrapped(connect(url, api_secret))
    async with scene.joined():
        waiting.is_on = True
    assert waiting.begun == GUARDIANS
