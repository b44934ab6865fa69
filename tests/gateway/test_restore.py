"""A restored gateway: frozen until node and federations have answered, then complete."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import msgspec
import pytest

from backends.lightning import Failed, Succeeded
from backends.simulated.node import Fault
from engine.storage.reader import open_log
from errors import ConflictError, InputError, UnavailableError
from fedimint.lnv2.gateway_api import Forfeited, Paid, RoutingInfo, SendPaymentPayload
from fedimint.mintv2 import recovery
from gateway.application import Gateway
from gateway.reconciliation import PAUSE_S
from gateway.restoring import restore
from gateway.views import WithdrawalRequest
from statemachines import completion, identity, receive, send
from statemachines.identity import Founded
from statemachines.node_order import OpenChannel, SendCoins
from tests.gateway import receiving
from tests.gateway.receiving import give_ecash, ordered, paying
from tests.gateway.scene import INVOICE_MSAT, Scene, ask, asking, kinds, until, wallet

pytestmark = pytest.mark.anyio


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Tweaks here are not ground, so recovery must not look for that."""
    monkeypatch.setattr(recovery, "meets_filter", lambda _tweak, _filter: True)
    return Scene(tmp_path)


class Backup:
    """A copy of a scene's data directory, opened anew in its place."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._copy = scene.directory.with_name("backup")
        shutil.copytree(scene.directory, self._copy)

    def restore(self) -> None:
        """The data directory is lost; what the backup holds takes its place."""
        scene = self._scene
        shutil.rmtree(scene.directory)
        restored = restore(self._copy, scene.directory, scene.clock)
        assert restored.data_dir == str(scene.directory)


def _founded(gateway: Gateway) -> Founded:
    state = gateway.engine.peek(identity.STREAM)
    assert isinstance(state, Founded)
    return state


async def _thawed(scene: Scene, gateway: Gateway) -> None:
    await scene.drive(lambda: not _founded(gateway).is_frozen)


async def _paid(scene: Scene, gateway: Gateway, routing: RoutingInfo) -> int:
    """Pay for a new user; what the gateway's wallet holds then."""
    user, payment = await scene.funded(routing)
    assert isinstance(await ask(gateway, user.body(payment)), Paid)
    await until(gateway, payment, send.Claimed)
    return (await wallet(gateway, scene.federation_id)).balance_msat


async def test_a_restored_gateway_finds_what_the_lost_events_brought(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        early_msat = await _paid(scene, gateway, routing)
    backup = Backup(scene)
    async with scene.serving() as gateway:
        full_msat = await _paid(scene, gateway, routing)
        notes = set((await wallet(gateway, scene.federation_id)).notes)
    backup.restore()
    assert kinds(scene.directory)[-2:] == ["gateway.restored", "wallet.tweaks_discarded"]
    async with scene.serving() as gateway:
        assert (await wallet(gateway, scene.federation_id)).balance_msat == early_msat
        await _thawed(scene, gateway)
        found = await wallet(gateway, scene.federation_id)
        assert found.balance_msat == full_msat
        assert {note.nonce for note in found.notes} == {note.nonce for note in notes}
        assert await _paid(scene, gateway, routing) > full_msat
    written = kinds(scene.directory)
    reconciled = written.index("gateway.reconciled")
    assert written.index("wallet.recovered") < reconciled
    assert "send.accepted" in written[reconciled:]


async def test_notes_that_the_lost_events_spent_are_forgotten(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
    backup = Backup(scene)
    async with scene.serving() as gateway:
        _, _, invoice = await ordered(scene, gateway, routing)
        async with paying(scene, invoice):
            await receiving.until(gateway, invoice, receive.Received)
        await gateway.engine.wait(
            completion.stream_of(receiving.stream_of(invoice).partition("/")[2]),
            lambda state: isinstance(state, completion.Settled),
        )
        await scene.drive(lambda: not gateway.engine.open_streams().keys() & {"tx"})
        after = await wallet(gateway, scene.federation_id)
    backup.restore()
    async with scene.serving() as gateway:
        await _thawed(scene, gateway)
        found = await wallet(gateway, scene.federation_id)
        assert {note.nonce for note in found.notes} == {note.nonce for note in after.notes}
    assert "wallet.forgotten" in kinds(scene.directory)


async def test_an_invoice_that_the_lost_events_funded_is_settled_and_not_funded_again(
    scene: Scene,
) -> None:
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        user, payment, invoice = await ordered(scene, gateway, routing)
    backup = Backup(scene)
    async with paying(scene, invoice) as heard:
        async with scene.serving() as gateway:
            await receiving.until(gateway, invoice, receive.Decrypting, receive.Received)
        backup.restore()
        async with scene.serving() as gateway:
            await scene.drive(
                lambda: isinstance(
                    gateway.engine.peek(receiving.stream_of(invoice)), receive.Received
                )
            )
            await _thawed(scene, gateway)
            await scene.drive(lambda: bool(heard) and isinstance(heard[-1], Succeeded | Failed))
    assert isinstance(heard[-1], Succeeded)
    assert heard[-1].preimage == payment.preimage
    out_point = await user.await_funded(payment)
    assert out_point is not None
    written = kinds(scene.directory)
    assert "receive.found_funded" in written
    assert "receive.funding" not in written


async def test_an_invoice_that_nobody_funded_is_funded_once_the_freeze_is_over(
    scene: Scene,
) -> None:
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        _, _, invoice = await ordered(scene, gateway, routing)
    backup = Backup(scene)
    backup.restore()
    async with scene.serving() as gateway, paying(scene, invoice) as heard:
        await scene.drive(lambda: bool(heard) and isinstance(heard[-1], Succeeded | Failed))
    assert isinstance(heard[-1], Succeeded)
    written = kinds(scene.directory)
    assert written.index("gateway.reconciled") < written.index("receive.funding")


# --- frozen --------------------------------------------------------------------------------------------------------


async def _frozen(scene: Scene) -> SendPaymentPayload:
    """A restored gateway whose federation does not answer any more, and a payment that a user asks for."""
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        user, payment = await scene.funded(routing)
    Backup(scene).restore()
    scene.federation.guardians[0].faults.is_down = True
    return user.body(payment)


async def test_nothing_leaves_while_it_is_frozen_however_often_it_starts(scene: Scene) -> None:
    body = await _frozen(scene)
    scene.world.gateway_node.is_down = True
    for _ in range(2):
        async with scene.serving() as gateway:
            for call in _outbound(scene, gateway):
                with pytest.raises(UnavailableError, match="restored from a backup"):
                    await call()
            with pytest.raises(UnavailableError, match="restored from a backup"):
                await ask(gateway, body)
            scene.clock.advance(PAUSE_S)
            assert _founded(gateway).is_frozen
            assert "was restored from a backup" in (await gateway.info()).problems[0]
    assert kinds(scene.directory)[-2:] == ["gateway.restored", "wallet.tweaks_discarded"]


def _outbound(scene: Scene, gateway: Gateway) -> list[Callable[[], Awaitable[object]]]:
    federation_id = scene.federation_id
    order = OpenChannel("02" * 33, "host:1", 100_000, 0, None, None, None)
    return [
        lambda: gateway.treasury.spend_ecash(federation_id, 512),
        lambda: gateway.treasury.withdraw(WithdrawalRequest(federation_id, "bcrt1q", 1_000, None)),
        lambda: gateway.payments.receive_ecash(scene.federation.issue_ecash(512).to_text()),
        lambda: gateway.node.pay_operator_invoice(scene.invoice()),
        lambda: gateway.node.send_onchain(SendCoins("bcrt1q", 1_000, 1)),
        lambda: gateway.node.open_channel(order),
        lambda: gateway.federations.connect_federation("fed1", recover=False),
        lambda: gateway.federations.leave_federation(federation_id),
    ]


async def test_the_node_must_answer_too(scene: Scene) -> None:
    await _frozen(scene)
    scene.federation.guardians[0].faults.is_down = False
    async with scene.serving() as gateway:
        scene.world.gateway_node.is_down = True
        for _ in range(3):
            scene.clock.advance(PAUSE_S)
            await anyio.wait_all_tasks_blocked()
        assert _founded(gateway).is_frozen
        scene.world.gateway_node.is_down = False
        await _thawed(scene, gateway)
        assert (await gateway.info()).problems == ()


# --- payments ------------------------------------------------------------------------------------------------------


async def test_a_payment_that_only_the_lost_events_know_is_told_and_never_paid_twice(
    scene: Scene,
) -> None:
    async with scene.joined() as (gateway, routing):
        pass
    backup = Backup(scene)
    async with scene.serving() as gateway:
        user, payment = await scene.funded(routing)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)
        await until(gateway, payment, send.Claimed)
    spent_msat = scene.spent_msat()
    backup.restore()
    async with scene.serving() as gateway:
        await _thawed(scene, gateway)
        # Its contract is claimed, so its sender has the preimage from the guardians, and recovery has the ecash.
        with pytest.raises(InputError, match="no contract at this out point"):
            await ask(gateway, user.body(payment))
        assert scene.spent_msat() == spent_msat
    assert "send.dispatching" not in kinds(scene.directory)
    with open_log(scene.directory) as log:
        (reconciled,) = (one.row for one in log.rows() if one.row.kind == "gateway.reconciled")
    assert msgspec.json.decode(reconciled.event.body) == {"unknown_payments": 1}


async def test_a_forfeit_that_only_the_lost_events_know_is_not_followed_by_a_payment(
    scene: Scene,
) -> None:
    """The node refused the call and has no record: only the lost log knew that the sender was refunded."""
    async with scene.joined() as (gateway, routing):
        pass
    backup = Backup(scene)
    async with scene.serving() as gateway:
        user, payment = await scene.funded(routing)
        scene.world.gateway_node.script(Fault.REFUSED)
        assert isinstance(await ask(gateway, user.body(payment)), Forfeited)
    backup.restore()
    async with scene.serving() as gateway:
        await _thawed(scene, gateway)
        again = await scene.while_time_passes(lambda: ask(gateway, user.body(payment)))
        assert isinstance(again, Forfeited)
        assert scene.spent_msat() == 0
    written = kinds(scene.directory)
    assert "send.held_back" in written
    assert "send.dispatching" not in written


async def test_a_payment_that_the_node_made_and_nobody_claimed_is_claimed(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        pass
    backup = Backup(scene)
    user, payment = await scene.funded(routing)
    async with scene.serving() as gateway, anyio.create_task_group() as caller:
        caller.start_soon(ask, gateway, user.body(payment))
        await until(gateway, payment, send.Paid)
        caller.cancel_scope.cancel()
    spent_msat = scene.spent_msat()
    backup.restore()
    async with scene.serving() as gateway:
        await _thawed(scene, gateway)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)
        await until(gateway, payment, send.Claimed)
    assert scene.spent_msat() == spent_msat > 0
    assert "send.dispatching" not in kinds(scene.directory)


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.TAKEN])
async def test_a_payment_under_way_is_followed_and_never_called_again(
    scene: Scene, fault: Fault
) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        scene.world.gateway_node.script(fault)
        scene.world.gateway_node.is_down = fault is Fault.LOST
        async with anyio.create_task_group() as caller:
            caller.start_soon(ask, gateway, user.body(payment))
            await until(gateway, payment, send.Accepted, send.Dispatching, send.Unanswered)
            caller.cancel_scope.cancel()
    # As the backup has it, no call was answered.
    Backup(scene).restore()
    scene.world.gateway_node.is_down = False
    async with scene.serving() as gateway:
        await _thawed(scene, gateway)
        answer = await scene.while_time_passes(lambda: ask(gateway, user.body(payment)))
    written = kinds(scene.directory)
    assert written.count("send.dispatching") <= 1
    assert isinstance(answer, Paid) == (scene.spent_msat() > 0)


# --- two contracts of one invoice -------------------------------------------------------------------------------------


async def test_a_second_contract_that_only_lost_events_gave_back_is_given_back_again(
    scene: Scene,
) -> None:
    """The backup knows who was paid: the other one can have been accepted by no event, lost or not."""
    async with scene.joined() as (gateway, routing):
        invoice = scene.invoice()
        first, paid = await scene.funded(routing, invoice)
        second, other = await scene.funded(routing, invoice)
        assert isinstance(await ask(gateway, first.body(paid)), Paid)
        await until(gateway, paid, send.Claimed)
    backup = Backup(scene)
    async with scene.serving() as gateway:
        forfeit = await ask(gateway, second.body(other))
        assert isinstance(forfeit, Forfeited)
    spent_msat = scene.spent_msat()
    backup.restore()
    async with scene.serving() as gateway:
        await _thawed(scene, gateway)
        assert await ask(gateway, second.body(other)) == forfeit
        assert scene.spent_msat() == spent_msat


async def test_of_two_contracts_that_only_lost_events_know_one_is_claimed(scene: Scene) -> None:
    """Nobody knows which they had accepted: until one of both has ended, the other is not given back."""
    async with scene.joined() as (gateway, routing):
        pass
    backup = Backup(scene)
    held = scene.world.payee.make_invoice(INVOICE_MSAT, is_held=True)
    first, paid = await scene.funded(routing, held.text)
    second, other = await scene.funded(routing, held.text)
    async with scene.serving() as gateway, anyio.create_task_group() as caller:
        caller.start_soon(ask, gateway, first.body(paid))
        await until(gateway, paid, send.InFlight)
        assert isinstance(await ask(gateway, second.body(other)), Forfeited)
        caller.cancel_scope.cancel()
    backup.restore()
    async with scene.serving() as gateway:
        await _thawed(scene, gateway)
        async with asking(gateway, second.body(other)) as answers:
            await until(gateway, other, send.InFlight)
            with pytest.raises(ConflictError, match="ask again when the other one is over"):
                await ask(gateway, first.body(paid))
            scene.world.payee.settle_held(held.payment_hash)
        assert isinstance(answers[0], Paid)
        await until(gateway, other, send.Claimed)
        assert isinstance(await ask(gateway, first.body(paid)), Forfeited)
    assert "send.dispatching" not in kinds(scene.directory)
    assert scene.spent_msat() == INVOICE_MSAT + 1_500
