"""A decision that was not signed in time, or by its own process, pays nobody."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import anyio
import pytest

from backends.lightning import Failed, PaymentStatus
from devnet.users.receiving import IncomingOrder
from engine.machine import State
from fedimint.lnv2.gateway_api import Forfeited
from fedimint.mintv2 import recovery
from gateway.application import Gateway
from gateway.ports import Inline
from gateway.restoring import restore
from statemachines import completion, receive, send
from statemachines.transaction import SIGN_WITHIN_S
from tests.gateway import calling
from tests.gateway.receiving import (
    RECEIVED_MSAT,
    give_ecash,
    hash_of,
    ordered,
    paying,
    until,
)
from tests.gateway.scene import Hold, Scene, asking, kinds, wallet
from tests.gateway.scene import until as sent_until

pytestmark = pytest.mark.anyio

T = TypeVar("T")
Args = TypeVarTuple("Args")
A_DAY_S = 86_400
#: More blocks than any HTLC of an invoice of ours is held for.
A_DAY_BLOCKS = 150


class SlowBuilds:
    """Workers that build transactions only once a test lets them."""

    def __init__(self) -> None:
        self.hold = Hold()

    async def run(self, function: Callable[[*Args], T], *arguments: *Args) -> T:
        built = function(*arguments)
        if getattr(function, "__name__", "") == "build":  # a partial has none
            await self.hold("build")
        return built


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture
def cpu(scene: Scene) -> SlowBuilds:
    scene.cpu = cpu = SlowBuilds()
    return cpu


async def test_a_build_that_took_long_funds_nothing(scene: Scene, cpu: SlowBuilds) -> None:
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        before = (await wallet(gateway, scene.federation_id)).balance_msat
        _, _, invoice = await ordered(scene, gateway, routing)
        async with paying(scene, invoice) as heard:
            await cpu.hold.reached.wait()
            scene.clock.advance(SIGN_WITHIN_S + 1)
            cpu.hold.release()
            failed = await until(gateway, invoice, receive.FundingFailed, receive.Decrypting)
        assert isinstance(failed, receive.FundingFailed)
        assert isinstance(heard[-1], Failed)
        assert (await wallet(gateway, scene.federation_id)).balance_msat == before
    assert "tx.signed" not in kinds(scene.directory)


async def test_a_swap_whose_build_took_long_is_given_back(scene: Scene, cpu: SlowBuilds) -> None:
    other = scene.add_federation("other")
    async with scene.joined() as (gateway, routing):
        await gateway.federations.connect_federation(other.invite_code().to_text(), recover=False)
        await give_ecash(scene, gateway, federation=other)
        other_routing = await calling.routing_of(gateway, other.federation_id.hex())
        _, _, invoice = await ordered(scene, gateway, other_routing, federation=other)
        user, payment = await scene.funded(routing, invoice)
        async with asking(gateway, user.body(payment)) as answers:
            await cpu.hold.reached.wait()
            scene.clock.advance(SIGN_WITHIN_S + 1)
            cpu.hold.release()
        assert isinstance(answers[0], Forfeited)
        cancelled = await sent_until(gateway, payment, send.Cancelled)
        assert isinstance(cancelled, send.Cancelled)
        assert "not signed in time" in cancelled.detail
    assert "receive.funded" not in kinds(scene.directory)


@pytest.mark.parametrize("how", ["at once", "after a day", "after a day, from a backup"])
async def test_another_process_funds_nothing_that_it_did_not_decide(
    scene: Scene, cpu: SlowBuilds, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Neither does its clock tell how long ago it was decided, nor has it looked at the HTLC."""
    monkeypatch.setattr(recovery, "meets_filter", lambda _tweak, _filter: True)
    heard: list[PaymentStatus] = []
    async with anyio.create_task_group() as tasks:
        async with scene.joined() as (gateway, routing):
            await give_ecash(scene, gateway)
            before = await wallet(gateway, scene.federation_id)
            # A contract that never expires, as those of LNURL.
            order = IncomingOrder(RECEIVED_MSAT, 1 << 40)
            _, _, invoice = await ordered(scene, gateway, routing, order=order)
            tasks.start_soon(pay, scene, invoice, heard)
            await cpu.hold.reached.wait()
        assert kinds(scene.directory)[-1] == "tx.reserved"
        scene.cpu = Inline()
        if "day" in how:
            scene.clock.advance(A_DAY_S)
            scene.world.chain.mine(A_DAY_BLOCKS)
        if "backup" in how:
            backup, scene.directory = scene.directory, scene.directory.with_name("restored")
            restore(backup, scene.directory, scene.clock)
        async with scene.serving() as gateway:
            htlcs = completion.stream_of(hash_of(invoice).hex())
            ended = await scene.while_time_passes(lambda: gateway.engine.wait(htlcs, _is_answered))
            failed = await until(gateway, invoice, receive.FundingFailed, receive.Received)
            await scene.drive(lambda: not open_transactions(gateway))
            after = await wallet(gateway, scene.federation_id)
    assert isinstance(failed, receive.FundingFailed)
    assert isinstance(ended.state, completion.Cancelled)
    assert isinstance(heard[-1], Failed)
    assert after.balance_msat == before.balance_msat
    assert "tx.signed" not in kinds(scene.directory)


async def pay(scene: Scene, invoice: str, heard: list[PaymentStatus]) -> None:
    async with paying(scene, invoice) as statuses:
        pass
    heard += statuses


def open_transactions(gateway: Gateway) -> list[str]:
    return [stream for stream in gateway.engine.open_streams() if stream.startswith("tx/")]


def _is_answered(state: State) -> bool:
    return isinstance(
        state,
        completion.Cancelled
        | completion.CancelRejected
        | completion.Settled
        | completion.SettleRejected,
    )
