"""Receivers whose contracts hold no preimage cost us fees: only so many an hour are funded."""

from pathlib import Path

import anyio
import pytest

from backends.lightning import Failed, Succeeded
from devnet.users.receiving import Flaw
from errors import InputError
from fedimint.lnv2.gateway_api import Forfeited, RoutingInfo
from gateway import receivers, trust
from gateway.application import Gateway
from statemachines import receive, send
from statemachines.federation import FRUITLESS_WINDOW_S, FruitlessFunding
from statemachines.federation import stream_of as federation_stream
from tests.gateway import calling
from tests.gateway.receiving import give_ecash, hash_of, ordered, paying, stream_of, until
from tests.gateway.scene import Scene, ask
from tests.gateway.scene import until as sent_until

pytestmark = pytest.mark.anyio


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """One such receiver an hour is enough."""
    for room in (receivers, trust):
        monkeypatch.setattr(room, "FRUITLESS_MAX", 1)
    return Scene(tmp_path)


async def one_without_preimage(scene: Scene, gateway: Gateway, routing: RoutingInfo) -> None:
    _, _, invoice = await ordered(scene, gateway, routing, flaw=Flaw.WRONG_PREIMAGE)
    async with paying(scene, invoice) as heard:
        await until(gateway, invoice, receive.Refunded)
    assert isinstance(heard[-1], Failed)


async def test_receiving_stops_for_as_long_as_they_come_in_numbers(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, given_out_before = await ordered(scene, gateway, routing)
        await one_without_preimage(scene, gateway, routing)
        async with paying(scene, given_out_before) as heard:
            declined = await until(gateway, given_out_before, receive.Declined)
        assert isinstance(declined, receive.Declined)
        assert "had contracts without a preimage" in declined.reason
        assert isinstance(heard[-1], Failed)
        with pytest.raises(InputError, match="nothing is received for it until that is over"):
            await ordered(scene, gateway, routing)
        told = [line for line in (await gateway.info()).problems if "without a preimage" in line]
        assert len(told) == 1
        assert told[0].startswith("1 receivers of ")
        scene.clock.advance(FRUITLESS_WINDOW_S)
        _, _, invoice = await ordered(scene, gateway, routing)
        async with paying(scene, invoice) as heard:
            await until(gateway, invoice, receive.Received)
        assert isinstance(heard[-1], Succeeded)
        assert not any("preimage" in line for line in (await gateway.info()).problems)


async def test_the_count_is_in_the_log(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        await one_without_preimage(scene, gateway, routing)
    async with scene.serving() as gateway:
        with pytest.raises(InputError, match="without a preimage"):
            await ordered(scene, gateway, routing)


async def test_no_more_are_funded_at_once_than_may_turn_out_so(scene: Scene) -> None:
    """Or many could be paid before the first one is found out. An honest one waits for its turn."""
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, first = await ordered(scene, gateway, routing)
        _, _, second = await ordered(scene, gateway, routing)
        accepted = anyio.Event()
        scene.federation.consensus.acceptance_delay = accepted.wait
        async with paying(scene, first):
            await until(gateway, first, receive.Funding)
            async with paying(scene, second) as heard:
                node = scene.world.gateway_node
                await scene.drive(lambda: node.invoice_state(hash_of(second)) == "ACCEPTED")
                scene.clock.advance(5)
                await anyio.wait_all_tasks_blocked()
                assert isinstance(gateway.engine.peek(stream_of(second)), receive.Invoiced)
                accepted.set()
                await scene.while_time_passes(lambda: until(gateway, second, receive.Received))
        assert isinstance(heard[-1], Succeeded)


async def test_a_swap_to_such_a_federation_is_given_back(scene: Scene) -> None:
    other = scene.add_federation("other")
    async with scene.joined() as (gateway, routing):
        await gateway.federations.connect_federation(other.invite_code().to_text(), recover=False)
        await give_ecash(scene, gateway, federation=other)
        other_routing = await calling.routing_of(gateway, other.federation_id.hex())
        _, _, invoice = await ordered(scene, gateway, other_routing, federation=other)
        at = federation_stream(other.federation_id.hex())
        told = FruitlessFunding(now_unix_s=int(scene.clock.now_s))
        await gateway.engine.submit(at, told)
        user, payment = await scene.funded(routing, invoice)
        assert isinstance(await ask(gateway, user.body(payment)), Forfeited)
        cancelled = await sent_until(gateway, payment, send.Cancelled)
        assert isinstance(cancelled, send.Cancelled)
        assert "had contracts without a preimage" in cancelled.detail
