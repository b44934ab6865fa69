"""An unanswered call is dismissed once no money can be lost by it, and no earlier."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from backends.simulated.node import Fault
from engine.machine import State
from errors import ConflictError, InputError, NotFoundError, UnavailableError
from gateway import dismissing
from gateway.application import Gateway
from gateway.federation import NotServedError
from gateway.node_watch import WATCH_PAUSE_S
from statemachines import (
    ALL_MACHINES,
    OPEN_STATES,
    deposits,
    federation,
    identity,
    node_order,
    operator_payment,
    receive,
    reissue,
    send,
    wallet,
)
from statemachines.node_order import OpenChannel, SendCoins
from tests.gateway.scene import Scene, ask, asking, kinds, stream_of, until

pytestmark = pytest.mark.anyio
COINS = SendCoins("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", 50_000, 2)
FUNDS_SAT = 1_000_000
A_YEAR_S = 365 * 24 * 60 * 60


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path)
    scene.world.gateway_node.fund_onchain(FUNDS_SAT)
    scene.world.chain.mine()
    return scene


# --- orders ------------------------------------------------------------------------------------------------------


def _orders(gateway: Gateway) -> list[str]:
    return [
        stream
        for stream, state in gateway.engine.open_streams().items()
        if isinstance(state, node_order.Ordered)
    ]


def _is_looked_for(gateway: Gateway) -> bool:
    errors = [job.last_error for job in gateway.engine.jobs() if job.last_error is not None]
    return any("shows no trace" in error for error in errors)


@asynccontextmanager
async def _lost(
    scene: Scene, gateway: Gateway, what: str = "coins"
) -> AsyncIterator[tuple[str, list[Exception]]]:
    """The stream of an order whose call nobody answered, and what becomes of who gave it."""
    node, errors = scene.world.gateway_node, list[Exception]()
    node.script(Fault.DELAYED, call="send_onchain" if what == "coins" else "open_channel")

    async def order() -> None:
        try:
            if what == "coins":
                await gateway.node.send_onchain(COINS)
            else:
                peer = scene.world.payee.public_key.hex()
                await gateway.node.open_channel(
                    OpenChannel(peer, "127.0.0.1:9735", 100_000, 0, 3, None, None)
                )
        except (ConflictError, UnavailableError) as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(order)
        await scene.drive(lambda: _is_looked_for(gateway))
        (stream,) = _orders(gateway)
        yield stream, errors
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("what", ["coins", "channel"])
async def test_an_order_without_trace_is_dismissed_after_an_hour(scene: Scene, what: str) -> None:
    async with scene.serving() as gateway, _lost(scene, gateway, what) as (stream, errors):
        with pytest.raises(ConflictError, match="may still be on its way to the node"):
            await gateway.node.dismiss(stream)
        begin_s = scene.clock.now_s
        await scene.drive(lambda: scene.clock.now_s >= begin_s + 3_600, step_s=60)
        assert await gateway.node.dismiss(stream) == "Dismissed"
        assert not _orders(gateway)
        await scene.drive(lambda: bool(errors))
        assert "dismissed this order" in str(errors[0])
        with pytest.raises(
            ConflictError, match="is Dismissed and is not dismissed: it waits for nothing"
        ):
            await gateway.node.dismiss(stream)
    assert scene.world.gateway_node.onchain_sat == FUNDS_SAT
    assert kinds(scene.directory)[-1] == "node_order.dismissed"
    async with scene.serving() as gateway:
        assert not (await gateway.info()).open_payments


async def test_an_order_that_the_node_shows_is_not_dismissed(scene: Scene) -> None:
    async with scene.serving() as gateway, _lost(scene, gateway) as (stream, _):
        begin_s = scene.clock.now_s
        await scene.drive(lambda: scene.clock.now_s >= begin_s + 3_600, step_s=60)
        scene.world.gateway_node.deliver_delayed()
        with pytest.raises(ConflictError, match="the Lightning node carried it out: "):
            await gateway.node.dismiss(stream)
        await scene.drive(lambda: not _orders(gateway), step_s=10)
    assert kinds(scene.directory)[-1] == "node_order.placed"


async def test_an_order_whose_call_is_under_way_is_not_dismissed(scene: Scene) -> None:
    """It has failed in no way yet: its answer may be the next thing that comes."""
    async with scene.serving() as gateway, anyio.create_task_group() as tasks:
        scene.world.gateway_node.script(Fault.DELAYED, call="send_onchain")
        tasks.start_soon(gateway.node.send_onchain, COINS)
        while not _orders(gateway):
            await anyio.lowlevel.checkpoint()
        (stream,) = _orders(gateway)
        assert not _is_looked_for(gateway)
        with pytest.raises(ConflictError, match="the call is being made"):
            await dismissing.dismiss(gateway._context, stream)
        tasks.cancel_scope.cancel()


async def test_a_node_that_may_not_show_all_is_not_believed(scene: Scene) -> None:
    async with scene.serving() as gateway, _lost(scene, gateway) as (stream, _):
        scene.world.gateway_node.is_synced = False
        begin_s = scene.clock.now_s
        await scene.drive(lambda: scene.clock.now_s >= begin_s + WATCH_PAUSE_S + 3_600, step_s=30)
        with pytest.raises(UnavailableError, match="behind the chain"):
            await gateway.node.dismiss(stream)
        scene.world.gateway_node.is_down = True
        await scene.drive(lambda: gateway._context.watch.info is None, step_s=30)
        with pytest.raises(UnavailableError):
            await gateway.node.dismiss(stream)
        assert _orders(gateway) == [stream]


# --- payments ----------------------------------------------------------------------------------------------------


def _state(gateway: Gateway, stream: str) -> State:
    return gateway.engine.peek(stream)


async def test_a_payment_is_dismissed_once_its_contract_can_be_claimed_no_more(
    scene: Scene,
) -> None:
    """An invoice of a year keeps an unanswered call open, and with it the federation."""
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing, scene.invoice(expiry_s=A_YEAR_S))
        scene.world.gateway_node.script(*[Fault.LOST] * 20)
        stream = stream_of(payment)
        async with asking(gateway, user.body(payment)) as answers:
            await scene.drive(lambda: _is_given_up(_state(gateway, stream)), step_s=20)
            with pytest.raises(ConflictError, match="under way"):
                await gateway.federations.leave_federation(scene.federation_id)
            with pytest.raises(ConflictError, match=r"can be dismissed in \d+ blocks"):
                await gateway.node.dismiss(stream)
            left = payment.contract.expiration_block_height - scene.world.chain.height
            scene.world.chain.mine(left + 10)
            assert await gateway.node.dismiss(stream) in {"Cancelling", "Cancelled"}
        cancelled = await until(gateway, payment, send.Cancelled)
        assert isinstance(cancelled, send.Cancelled)
        assert "dismissed by the operator" in cancelled.detail
        assert len(answers) == 1
        await user.refund(payment)
        await gateway.federations.leave_federation(scene.federation_id)
    assert scene.spent_msat() == 0


async def test_a_payment_of_a_federation_that_is_not_open_is_not_dismissed(scene: Scene) -> None:
    """This program may be unable to open it, while its contract can still be claimed by one that is."""
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing, scene.invoice(expiry_s=A_YEAR_S))
        scene.world.gateway_node.script(*[Fault.LOST] * 20)
        stream = stream_of(payment)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, gateway, user.body(payment))
            await scene.drive(lambda: _is_given_up(_state(gateway, stream)), step_s=20)
            client = gateway._context.federations.remove(scene.federation_id)
            with pytest.raises(NotServedError):
                await gateway.node.dismiss(stream)
            gateway._context.federations.add(client)
            tasks.cancel_scope.cancel()


def _is_given_up(state: State) -> bool:
    return isinstance(state, send.Unanswered) and state.intent.attempt == send.ATTEMPTS_MAX


async def test_a_payment_that_the_node_knows_of_is_not_dismissed(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        held = scene.world.payee.make_invoice(5_000_000, is_held=True, expiry_s=A_YEAR_S)
        user, payment = await scene.funded(routing, held.text)
        scene.world.gateway_node.script(Fault.DELAYED, *[Fault.LOST] * 20)
        stream = stream_of(payment)
        async with asking(gateway, user.body(payment)):
            await scene.drive(lambda: _is_given_up(_state(gateway, stream)), step_s=20)
            scene.world.gateway_node.deliver_delayed()
            with pytest.raises(ConflictError, match="has a record of this payment"):
                await gateway.node.dismiss(stream)
            await scene.drive(lambda: isinstance(_state(gateway, stream), send.InFlight))
            with pytest.raises(
                ConflictError, match="is InFlight and is not dismissed: it ends with"
            ):
                await gateway.node.dismiss(stream)
            scene.world.payee.settle_held(held.payment_hash)
            await scene.drive(lambda: isinstance(_state(gateway, stream), send.Claimed))


async def test_a_payment_that_vanished_is_dismissed_once_its_contract_can_be_claimed_no_more(
    scene: Scene,
) -> None:
    """Only the operator could have restored the node's database, and has none."""
    async with scene.joined() as (gateway, routing):
        held = scene.world.payee.make_invoice(5_000_000, is_held=True, expiry_s=A_YEAR_S)
        user, payment = await scene.funded(routing, held.text)
        node, stream = scene.world.gateway_node, stream_of(payment)
        async with asking(gateway, user.body(payment)) as answers:
            await until(gateway, payment, send.InFlight)
            node.is_down = True
            node.forget(held.payment_hash)
            await scene.drive(lambda: bool(gateway.engine.jobs()))
            node.is_down = False
            await scene.drive(lambda: isinstance(_state(gateway, stream), send.Vanished))
            with pytest.raises(ConflictError, match=r"can be dismissed in \d+ blocks"):
                await gateway.node.dismiss(stream)
            left = payment.contract.expiration_block_height - scene.world.chain.height
            scene.world.chain.mine(left + 10)
            assert await gateway.node.dismiss(stream) in {"Cancelling", "Cancelled"}
        assert len(answers) == 1
        await user.refund(payment)
        await gateway.federations.leave_federation(scene.federation_id)


# --- every state -------------------------------------------------------------------------------------------------

_DISMISSED = {send.Unanswered, send.Vanished, node_order.Ordered}
#: Not over, and nothing that anybody waits for: what it says lasts, or until somebody asks.
_STANDS = {
    *(identity.Founded, federation.Joined, federation.Left, wallet.Wallet),
    *(deposits.Watching, deposits.Paused, operator_payment.Failed, reissue.Abandoned),
}
#: Ends with the node's answer, or with the invoice: no money is in it.
_UNPAID = {*receive.UNPAID_STATES}


def test_every_state_that_is_not_over_is_dismissed_or_says_what_ends_it() -> None:
    open_states = {
        state
        for machine in ALL_MACHINES
        for state in machine.states
        if state not in machine.final and state is not type(machine.initial)
    }
    assert {state for state in OPEN_STATES if state.outlook.ended_by is None} == _DISMISSED
    assert {*OPEN_STATES, *_STANDS, *_UNPAID} == open_states


# --- what is neither ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["", "send", "send/", "nothing/x", "/x"])
async def test_what_is_no_stream_is_not_dismissed(scene: Scene, stream: str) -> None:
    async with scene.serving() as gateway:
        with pytest.raises(InputError, match="is not a payment, transaction or order"):
            await gateway.node.dismiss(stream)


async def test_what_is_not_there_is_said_so(scene: Scene) -> None:
    async with scene.serving() as gateway:
        for stream in ("send/00", "node_order/00"):
            with pytest.raises(NotFoundError, match=f"there is no {stream}"):
                await gateway.node.dismiss(stream)
