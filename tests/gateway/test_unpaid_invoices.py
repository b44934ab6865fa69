"""Unpaid invoices: forgotten once the node has closed them, and bounded in number."""

from pathlib import Path

import msgspec
import pytest

from api import payment_handlers as handlers
from backends.lightning import NodeUnansweredError
from backends.operations import InvoiceRecord, InvoiceStatus
from backends.simulated.node import SimulatedNode
from devnet.users.receiving import IncomingOrder
from errors import BusyError
from fedimint.codec import bolt11
from fedimint.lnv2.gateway_api import CreateBolt11InvoicePayload, RoutingInfo
from gateway import client_payments, receive_effects
from gateway.application import Gateway
from gateway.client_payments import SOON_OVER_S
from statemachines import receive
from tests.gateway.scene import START_UNIX_S, Scene

pytestmark = pytest.mark.anyio

A_DAY_S = 86_400


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def registered(
    scene: Scene, gateway: Gateway, routing: RoutingInfo, *, expiry_s: int = SOON_OVER_S
) -> str:
    """The stream of a new user's invoice."""
    user = scene.world.new_user(0)
    order = IncomingOrder(1_000_000, scene.clock.now_unix_us() // 1_000_000, expiry_s)
    body = msgspec.json.encode(user.receive_body(user.receive(order, routing)))
    payload = msgspec.json.decode(body, type=CreateBolt11InvoicePayload)
    made = await handlers.create_bolt11_invoice(gateway, payload)
    return receive.stream_of(bolt11.decode(made).payment_hash.hex())


def is_over(gateway: Gateway, stream: str) -> bool:
    return isinstance(gateway.engine.peek(stream), receive.Expired)


async def test_what_the_node_has_closed_is_forgotten_soon(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        stream = await registered(scene, gateway, routing)
        await scene.drive(lambda: is_over(gateway, stream))
        assert scene.clock.now_s < START_UNIX_S + SOON_OVER_S + 120


async def test_a_restart_forgets_what_expired_meanwhile(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        stream = await registered(scene, gateway, routing)
    scene.clock.advance(SOON_OVER_S + 120)
    async with scene.serving() as gateway:
        await gateway.engine.wait(stream, lambda state: isinstance(state, receive.Expired))


class SlowNode(SimulatedNode):
    """A node that does not answer at first, and then shows every invoice as it is told."""

    shown: InvoiceStatus = "Pending"
    looks = 0

    async def invoice(self, payment_hash: bytes) -> InvoiceRecord | None:
        self.looks += 1
        if self.looks == 1:
            raise NodeUnansweredError("busy")
        return InvoiceRecord(payment_hash, None, 1, START_UNIX_S, self.shown)


@pytest.mark.parametrize("closes", [True, False])
async def test_what_the_node_keeps_open_is_kept_for_a_day(scene: Scene, *, closes: bool) -> None:
    """HTLCs may be locked for it that nothing was decided about, such as while nobody answers."""
    node = SlowNode(scene.world.network, "slow", lambda: scene.clock.now_s)
    scene.node = node
    async with scene.joined() as (gateway, routing):
        stream = await registered(scene, gateway, routing)
        await scene.drive(lambda: node.looks == 4, step_s=30)
        asked_s = scene.clock.now_s
        assert 2 * receive_effects.LOOK_PAUSE_S <= asked_s - START_UNIX_S - SOON_OVER_S < A_DAY_S
        assert isinstance(gateway.engine.peek(stream), receive.Invoiced)
        if closes:
            node.shown = "Failed"
        await scene.drive(lambda: is_over(gateway, stream), step_s=300)
        waited_s = scene.clock.now_s - START_UNIX_S - SOON_OVER_S
        assert (waited_s < A_DAY_S) == closes


async def test_there_are_only_so_many_at_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_payments, "UNPAID_MAX", 4)
    async with scene.joined() as (gateway, routing):
        streams = [await registered(scene, gateway, routing) for _ in range(2)]
        with pytest.raises(
            BusyError, match=r"2 invoices .* or ask for one of at most 3600 seconds"
        ):
            await registered(scene, gateway, routing, expiry_s=SOON_OVER_S + 1)
        streams += [await registered(scene, gateway, routing) for _ in range(2)]
        with pytest.raises(BusyError, match=r"4 invoices .* try again later$"):
            await registered(scene, gateway, routing)
        await scene.drive(lambda: all(is_over(gateway, stream) for stream in streams))
        await registered(scene, gateway, routing, expiry_s=SOON_OVER_S + 1)
