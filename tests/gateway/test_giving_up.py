"""A federation whose guardians are gone is given up, whatever is under way."""

import shutil
from pathlib import Path

import anyio
import pytest

from backends.lightning import Failed
from cli.log.stuck import stuck
from cli.log.verify import check
from devnet.guardians.federation import EmbeddedFederation
from engine.machine import Effect, kind_of
from errors import ConflictError, InputError
from fedimint.lnv2.gateway_api import Forfeited, Paid, RoutingInfo
from fedimint.mintv2 import recovery
from gateway.application import Gateway
from gateway.reconciliation import PAUSE_S
from gateway.resting import federation_of
from gateway.restoring import restore
from statemachines import (
    completion,
    deposit,
    deposits,
    gift,
    identity,
    node_order,
    operator_payment,
    receive,
    send,
    transaction,
    withdrawal,
)
from statemachines.items import Reservation
from tests.gateway import calling, receiving
from tests.gateway.receiving import ECASH_MSAT, give_ecash, ordered, paying
from tests.gateway.scene import Scene, ask, asking, kinds, stream_of, until, wallet

pytestmark = pytest.mark.anyio
A_DAY_S = 24 * 60 * 60


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Tweaks here are not ground, so recovery must not look for that."""
    monkeypatch.setattr(recovery, "meets_filter", lambda _tweak, _filter: True)
    return Scene(tmp_path)


class Mortal:
    """A second federation, with ecash of the gateway's, whose only guardian dies and may come back."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.federation: EmbeddedFederation = scene.add_federation("mortal")
        self.federation_id = self.federation.federation_id.hex()

    async def join(self, gateway: Gateway) -> RoutingInfo:
        invite = self.federation.invite_code().to_text()
        await gateway.federations.connect_federation(invite, recover=False)
        return await calling.routing_of(gateway, self.federation_id)

    def die(self) -> None:
        self.federation.faults(0).is_down = True

    def come_back(self) -> None:
        self.federation.faults(0).is_down = False
        self.federation.faults(0).pause = None

    def take_no_transactions(self) -> None:
        """What is submitted from now on waits for as long as the guardian lives."""

        async def pause(method: str) -> None:
            if method == "submit_transaction":
                await anyio.sleep_forever()

        self.federation.faults(0).pause = pause

    async def give_up(self, gateway: Gateway) -> None:
        await gateway.federations.leave_federation(self.federation_id, give_up=True)


async def at_rest(scene: Scene, gateway: Gateway) -> None:
    """Nothing of what is left asks anybody, for a day, and nothing is shown as overdue."""
    await anyio.wait_all_tasks_blocked()
    tries = _tries(gateway)
    begin_s = scene.clock.now_s
    await scene.drive(lambda: scene.clock.now_s > begin_s + A_DAY_S, step_s=600)
    assert _tries(gateway) == tries
    info = await gateway.info()
    assert not any(payment.overdue for payment in info.open_payments)
    assert info.problems == ()
    assert stuck(scene.directory, int(scene.clock.now_s), everything=False).waiting == ()


def _tries(gateway: Gateway) -> set[tuple[str, int]]:
    """Of all effects but the watch of the living federation's deposits, which asks again and again."""
    return {
        (job.stream, job.tries)
        for job in gateway.engine.jobs()
        if kind_of(job.stream) != deposits.MACHINE.kind
    }


def books(scene: Scene) -> dict[str, int]:
    """The balances of the log on disk, which is sound."""
    found = check(scene.directory)
    assert found.problems == ()
    return dict(found.balances_msat)


async def pays(scene: Scene, gateway: Gateway, routing: RoutingInfo) -> None:
    """The federation that lives is served as ever."""
    user, payment = await scene.funded(routing)
    assert isinstance(await ask(gateway, user.body(payment)), Paid)
    await until(gateway, payment, send.Claimed)


async def test_what_giving_up_costs_is_said_before_and_booked_then(scene: Scene) -> None:
    mortal = Mortal(scene)
    async with scene.joined() as (gateway, routing):
        there = await mortal.join(gateway)
        await give_ecash(scene, gateway, federation=mortal.federation)
        _, _, invoice = await ordered(scene, gateway, there, federation=mortal.federation)
        sender, payment = await scene.funded(routing, invoice)
        mortal.take_no_transactions()
        async with asking(gateway, sender.body(payment)) as answers:
            await receiving.until(gateway, invoice, receive.Funding)
            mortal.die()
            with pytest.raises(ConflictError, match="such as ") as refused:
                await gateway.federations.leave_federation(mortal.federation_id)
            assert "leave-fed --give-up" in str(refused.value)
            assert f"{ECASH_MSAT} msat of ecash, deposits and contracts" in str(refused.value)
            await mortal.give_up(gateway)
        # The sender of the swap, in the other federation, is refunded at once.
        assert isinstance(answers[0], Forfeited)
        await sender.settle(payment, answers[0])
        assert isinstance(gateway.engine.peek(receiving.stream_of(invoice)), receive.FundingFailed)
        await at_rest(scene, gateway)
        await pays(scene, gateway, routing)
        with pytest.raises(InputError, match="No federation available"):
            await mortal.give_up(gateway)
    balances = books(scene)
    assert balances["lost"] == ECASH_MSAT == -balances[f"given_up/{mortal.federation_id}"]
    assert balances[f"ecash/{mortal.federation_id}"] == ECASH_MSAT


async def test_joining_again_finds_what_was_there_and_spends_it_once(scene: Scene) -> None:
    mortal = Mortal(scene)
    async with scene.joined() as (gateway, routing):
        there = await mortal.join(gateway)
        await give_ecash(scene, gateway, federation=mortal.federation)
        _, _, invoice = await ordered(scene, gateway, there, federation=mortal.federation)
        sender, payment = await scene.funded(routing, invoice)
        mortal.take_no_transactions()
        async with asking(gateway, sender.body(payment)):
            await receiving.until(gateway, invoice, receive.Funding)
            mortal.die()
            await mortal.give_up(gateway)
    async with scene.serving() as gateway:
        mortal.come_back()
        there = await scene.while_time_passes(lambda: mortal.join(gateway))
        _, _, other = await ordered(scene, gateway, there, federation=mortal.federation)
        async with paying(scene, other):
            await receiving.until(gateway, other, receive.Received)
        await scene.drive(lambda: not _transactions(gateway))
        held_msat = (await wallet(gateway, mortal.federation_id)).balance_msat
        assert 0 < held_msat < ECASH_MSAT
    written = kinds(scene.directory)
    assert written.count("tx.given_up") + written.count("tx.abandoned") == 1
    balances = books(scene)
    assert f"given_up/{mortal.federation_id}" not in balances
    assert balances.get("lost", 0) == 0
    assert mortal.federation.audit().is_balanced()


async def test_a_funding_that_was_accepted_all_the_same_is_found_on_coming_back(
    scene: Scene,
) -> None:
    """Its notes are spent and its change is ours; the sender was refunded, so the contract is our loss."""
    mortal = Mortal(scene)
    async with scene.joined() as (gateway, routing):
        there = await mortal.join(gateway)
        await give_ecash(scene, gateway, federation=mortal.federation)
        _, bought, invoice = await ordered(scene, gateway, there, federation=mortal.federation)
        sender, payment = await scene.funded(routing, invoice)
        mortal.federation.faults(0).loses_answer = lambda method: method == "submit_transaction"
        async with asking(gateway, sender.body(payment)) as answers:
            await scene.drive(lambda: bool(mortal.federation.consensus.ledger.incoming))
            mortal.die()
            await mortal.give_up(gateway)
        assert isinstance(answers[0], Forfeited)
        mortal.come_back()
        mortal.federation.faults(0).loses_answer = lambda _method: False
        await scene.while_time_passes(lambda: mortal.join(gateway))
        held = await wallet(gateway, mortal.federation_id)
        spent = mortal.federation.consensus.ledger.spent_nonces
        assert not {bytes.fromhex(note.nonce) for note in held.notes} & spent
        contract_msat = bought.contract.commitment.amount_msat
        assert 0 < ECASH_MSAT - contract_msat - held.balance_msat < contract_msat // 10
    assert books(scene)[f"ecash/{mortal.federation_id}"] == held.balance_msat
    assert kinds(scene.directory).count("tx.given_up") == 1


def _transactions(gateway: Gateway) -> list[str]:
    open_states = (transaction.Reserved, transaction.Signed, transaction.Accepted)
    return [
        stream
        for stream, state in gateway.engine.open_streams().items()
        if isinstance(state, open_states)
    ]


async def test_a_funded_contract_is_lost_and_who_pays_for_it_has_his_money_back(
    scene: Scene,
) -> None:
    mortal = Mortal(scene)
    async with scene.joined() as (gateway, _):
        there = await mortal.join(gateway)
        await give_ecash(scene, gateway, federation=mortal.federation)
        _, bought, invoice = await ordered(scene, gateway, there, federation=mortal.federation)
        mortal.federation.faults(0).loses_answer = lambda method: method.endswith("_key_share")
        async with paying(scene, invoice) as heard:
            await receiving.until(gateway, invoice, receive.Decrypting)
            await scene.drive(lambda: not _transactions(gateway))
            mortal.die()
            await mortal.give_up(gateway)
        assert isinstance(heard[-1], Failed)
        await at_rest(scene, gateway)
    balances = books(scene)
    contract_msat = bought.contract.commitment.amount_msat
    held_msat = balances[f"ecash/{mortal.federation_id}"]
    assert balances["lost"] == contract_msat + held_msat


async def test_a_claim_rests_and_is_made_when_the_federation_is_back(scene: Scene) -> None:
    """A payment that its node makes afterwards, too."""
    mortal = Mortal(scene)
    held = scene.world.payee.make_invoice(5_000_000, is_held=True, expiry_s=A_DAY_S)
    async with scene.joined() as (gateway, routing):
        there = await mortal.join(gateway)
        user = scene.world.new_user(ECASH_MSAT, mortal.federation)
        payment = await user.fund(held.text, there)
        async with anyio.create_task_group() as caller:
            caller.start_soon(ask, gateway, user.body(payment))
            await until(gateway, payment, send.InFlight)
            mortal.die()
            await mortal.give_up(gateway)
            scene.world.payee.settle_held(held.payment_hash)
            await until(gateway, payment, send.Paid)
            await at_rest(scene, gateway)
            caller.cancel_scope.cancel()
        await pays(scene, gateway, routing)
    async with scene.serving() as gateway:
        await at_rest(scene, gateway)
        mortal.come_back()
        await scene.while_time_passes(lambda: mortal.join(gateway))
        await scene.drive(lambda: isinstance(gateway.engine.peek(stream_of(payment)), send.Claimed))
    assert "given_up/" not in "".join(books(scene))


async def test_ecash_that_is_being_made_rests_with_its_federation(scene: Scene) -> None:
    mortal = Mortal(scene)
    async with scene.joined() as (gateway, _):
        await mortal.join(gateway)
        await give_ecash(scene, gateway, federation=mortal.federation)
        mortal.die()
        async with anyio.create_task_group() as caller:
            caller.start_soon(gateway.treasury.spend_ecash, mortal.federation_id, 513 * 512)
            await scene.drive(lambda: bool(_gifts(gateway)))
            (stream,) = _gifts(gateway)
            await mortal.give_up(gateway)
            await at_rest(scene, gateway)
            caller.cancel_scope.cancel()
        mortal.come_back()
        await scene.while_time_passes(lambda: mortal.join(gateway))
        await scene.drive(lambda: isinstance(gateway.engine.peek(stream), gift.Given))
    assert books(scene)["ecash_given"] == 513 * 512


def _gifts(gateway: Gateway) -> list[str]:
    states = gateway.engine.open_streams()
    return [stream for stream, state in states.items() if isinstance(state, gift.Preparing)]


async def test_a_restored_log_thaws_without_a_federation_that_was_given_up(scene: Scene) -> None:
    mortal = Mortal(scene)
    async with scene.joined() as (gateway, routing):
        await mortal.join(gateway)
        await give_ecash(scene, gateway, federation=mortal.federation)
    backup = scene.directory.with_name("backup")
    shutil.copytree(scene.directory, backup)
    shutil.rmtree(scene.directory)
    restore(backup, scene.directory, scene.clock)
    mortal.die()
    async with scene.serving() as gateway:
        await scene.drive(lambda: gateway._context.answered.node, step_s=PAUSE_S)
        assert _is_frozen(gateway)
        await mortal.give_up(gateway)
        await scene.drive(lambda: not _is_frozen(gateway))
        await pays(scene, gateway, routing)


def _is_frozen(gateway: Gateway) -> bool:
    state = gateway.engine.peek(identity.STREAM)
    return isinstance(state, identity.Founded) and state.is_frozen


# --- every effect --------------------------------------------------------------------------------------------------

#: No longer wanted once a federation was given up: what wanted them has ended or is paused.
_ENDED = {receive.DecryptPreimage, deposits.GrindAddress, deposits.ScanOutputs}
#: They need the node, or know that nothing more is paid out of a federation that is not served.
_GO_ON = {
    *(send.MeasureBudget, send.MeasureSwap, send.PayInvoice, send.LookUpRecord, send.FollowPayment),
    *(receive.CreateInvoice, receive.ForgetInvoice),
    *(completion.SettleHtlcs, completion.CancelHtlcs),
    *(operator_payment.PayForOperator, node_order.PlaceOrder),
}
_RESERVATION = Reservation("tx/fe-1", "send/1", "fe", (), (), (), 0, 0)
_REST: tuple[Effect, ...] = (
    transaction.BuildTransaction(reservation=_RESERVATION),
    transaction.SubmitTransaction(federation_id="fe", txid="", encoded=b""),
    transaction.CollectNotes(federation_id="fe", txid="", issues=(), start=0),
    deposit.QuoteReceiveFee(federation_id="fe", output=deposit.DepositOutput(0, 0, 1, "a:0")),
    withdrawal.AskBitcoinTxid(federation_id="fe", txid=""),
    send.SignForfeit(federation_id="fe", contract_id=""),
)


def test_every_effect_ends_rests_or_goes_on_without_its_federation() -> None:
    rests = {type(effect) for effect in _REST}
    assert all(federation_of(effect) == "fe" for effect in _REST)
    assert federation_of(send.FollowPayment(payment_hash="", vanished=False, node="")) == ""
    wanted = {
        effect
        for effect in Effect.__subclasses__()
        if effect.__module__.startswith("statemachines.")
    }
    assert wanted == _ENDED | _GO_ON | rests
