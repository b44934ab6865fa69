"""Trust in one federation: payments up to a cap, and none after a refused claim."""

from pathlib import Path

import msgspec
import pytest

from backends.lightning import Failed
from backends.simulated.node import Fault
from devnet.guardians.federation import EmbeddedFederation
from devnet.users.receiving import IncomingOrder
from devnet.users.user import EmbeddedUser, OutgoingPayment
from errors import InputError
from fedimint.codec.wire_types import OutPoint
from fedimint.lnv2.gateway_api import Forfeited, Paid, RoutingInfo
from gateway.application import Gateway
from gateway.views import ExposureInfo
from statemachines import receive, send
from statemachines.exposure import CAP_DEFAULT_MSAT
from tests.gateway import calling, receiving
from tests.gateway.receiving import ECASH_MSAT, give_ecash, ordered
from tests.gateway.scene import (
    INVOICE_MSAT,
    START_UNIX_S,
    Scene,
    ask,
    asking,
    kinds,
    stream_of,
    until,
    wallet,
)

pytestmark = pytest.mark.anyio

#: Room for one payment of the scene's usual amount, and not for two.
CAP_MSAT = INVOICE_MSAT * 3 // 2


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def exposure(gateway: Gateway, federation_id: str) -> ExposureInfo:
    (found,) = [at for at in (await gateway.info()).exposures if at.federation_id == federation_id]
    return found


async def cap(scene: Scene, gateway: Gateway, cap_msat: int | None) -> None:
    await gateway.federations.set_exposure_cap(scene.federation_id, cap_msat)


async def given_back(
    gateway: Gateway, user: EmbeddedUser, payment: OutgoingPayment
) -> send.Cancelled:
    """Its sender has the money at once."""
    answer = await ask(gateway, user.body(payment))
    assert isinstance(answer, Forfeited)
    await user.settle(payment, answer)
    state = await until(gateway, payment, send.Cancelled)
    assert isinstance(state, send.Cancelled)
    assert state.reason == "FederationUntrusted"
    return state


# --- the cap -------------------------------------------------------------------------------------------------------


async def test_ecash_of_a_federation_is_held_up_to_the_cap(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        assert await exposure(gateway, scene.federation_id) == ExposureInfo(
            scene.federation_id, 0, CAP_DEFAULT_MSAT, cap_is_default=True, refused_claim=None
        )
        await cap(scene, gateway, CAP_MSAT)
        first, paid = await scene.funded(routing)
        assert isinstance(await ask(gateway, first.body(paid)), Paid)
        await until(gateway, paid, send.Claimed)
        at = await exposure(gateway, scene.federation_id)
        assert INVOICE_MSAT < at.exposure_msat < CAP_MSAT
        assert (at.cap_msat, at.cap_is_default) == (CAP_MSAT, False)
        spent_msat = scene.spent_msat()
        refused = await given_back(gateway, *await scene.funded(routing))
        assert refused.detail == (
            f"{at.exposure_msat} msat are at stake in the federation, and with this contract it would be more than "
            f"the cap of {CAP_MSAT} msat"
        )
        assert scene.spent_msat() == spent_msat
    async with scene.serving() as gateway:  # the next life has the cap in its log
        await given_back(gateway, *await scene.funded(routing))
        assert scene.spent_msat() == spent_msat
        await cap(scene, gateway, None)
        user, payment = await scene.funded(routing)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)


async def test_payments_under_way_take_room_of_the_cap(scene: Scene) -> None:
    held = scene.world.payee.make_invoice(INVOICE_MSAT, is_held=True)
    async with scene.joined() as (gateway, routing):
        await cap(scene, gateway, CAP_MSAT)
        user, payment = await scene.funded(routing, held.text)
        async with asking(gateway, user.body(payment)) as answers:
            await until(gateway, payment, send.InFlight)
            assert (await exposure(gateway, scene.federation_id)).exposure_msat == (
                payment.contract.amount_msat
            )
            await given_back(gateway, *await scene.funded(routing))
            scene.world.payee.cancel_held(held.payment_hash)
        assert isinstance(answers[0], Forfeited)
        # What was given back takes no room any more.
        other, paid = await scene.funded(routing)
        assert isinstance(await ask(gateway, other.body(paid)), Paid)


async def test_of_payments_at_the_same_moment_those_are_made_that_the_cap_allows(
    scene: Scene,
) -> None:
    async with scene.joined() as (gateway, routing):
        await cap(scene, gateway, CAP_MSAT)
        parties = [await scene.funded(routing) for _ in range(4)]
        async with asking(gateway, *(user.body(payment) for user, payment in parties)) as answers:
            pass
    assert sorted(type(answer).__name__ for answer in answers) == [*["Forfeited"] * 3, "Paid"]
    assert kinds(scene.directory).count("send.dispatching") == 1


async def test_an_operator_is_told_when_the_cap_is_nearly_reached(scene: Scene) -> None:
    async with scene.joined() as (gateway, _):
        await give_ecash(scene, gateway)
        await cap(scene, gateway, ECASH_MSAT * 10 // 9 + 2)
        assert (await gateway.info()).problems == ()
        await cap(scene, gateway, ECASH_MSAT * 10 // 9)
        (problem,) = (await gateway.info()).problems
        assert f"{ECASH_MSAT // 1000} of at most" in problem
        assert scene.federation_id in problem
        assert "`gateway-cli cfg set-exposure-cap`" in problem


async def test_the_cap_of_all_federations_is_set_at_once(scene: Scene) -> None:
    other = scene.add_federation("second")
    async with scene.joined() as (gateway, _):
        await gateway.federations.connect_federation(other.invite_code().to_text(), recover=False)
        told = await gateway.federations.set_exposure_cap(None, 7_000)
        assert [at.cap_msat for at in told] == [7_000, 7_000]
        assert told == (await gateway.info()).exposures
        await cap(scene, gateway, 8_000)
        assert [at.cap_msat for at in (await gateway.info()).exposures] == [8_000, 7_000]
        with pytest.raises(InputError, match="No federation available"):
            await gateway.federations.set_exposure_cap("ab" * 32, 1)


# --- a federation that lies ----------------------------------------------------------------------------------------


async def from_nowhere(
    scene: Scene, liar: EmbeddedFederation, routing: RoutingInfo, invoice: str, amount_msat: int
) -> tuple[EmbeddedUser, OutgoingPayment]:
    """A contract that nobody funded, and whose guardians say that it is there."""
    user = scene.world.new_user(0, liar)
    honest_user = scene.world.new_user(ECASH_MSAT, liar)
    honest = await honest_user.fund(invoice, routing)
    contract = msgspec.structs.replace(honest.contract, amount_msat=amount_msat)
    out_point = OutPoint(honest.out_point.txid, honest.out_point.out_idx + 7)
    liar.consensus.ledger.contracts[out_point] = contract
    return user, msgspec.structs.replace(honest, contract=contract, out_point=out_point)


async def test_a_lying_federation_costs_no_more_than_its_cap(scene: Scene) -> None:
    """Its contract takes nothing out of an honest federation, be its routing budget as large as a channel."""
    liar = scene.add_federation("liar")
    liar_id = liar.federation_id.hex()
    async with scene.joined() as (gateway, honest):
        await give_ecash(scene, gateway)
        await gateway.federations.connect_federation(liar.invite_code().to_text(), recover=False)
        await gateway.federations.set_exposure_cap(liar_id, CAP_MSAT)
        routing = await calling.routing_of(gateway, liar_id)
        _, _, invoice = await ordered(scene, gateway, honest)
        for pays, amount_msat in ((invoice, CAP_MSAT + 1), (scene.invoice(), 10**14)):
            user, payment = await from_nowhere(scene, liar, routing, pays, amount_msat)
            assert isinstance(await ask(gateway, user.body(payment)), Forfeited)
        state = gateway.engine.peek(receiving.stream_of(invoice))
        assert isinstance(state, receive.Invoiced), "nobody was paid out of the honest federation"
        assert (await exposure(gateway, liar_id)).exposure_msat == 0
    assert scene.spent_msat() == 0
    assert "receive.funding" not in kinds(scene.directory)


async def test_nothing_is_paid_after_a_claim_was_refused_until_the_operator_says_so(
    scene: Scene,
) -> None:
    held = scene.world.payee.make_invoice(INVOICE_MSAT, is_held=True)
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing, held.text)
        async with asking(gateway, user.body(payment)):
            await until(gateway, payment, send.InFlight)
            scene.federation.consensus.ledger.contracts.pop(payment.out_point)
            scene.world.payee.settle_held(held.payment_hash)
        await until(gateway, payment, send.ClaimRejected)
        (problem,) = (await gateway.info()).problems
        assert f"refused the claim of {stream_of(payment)}" in problem
        assert "gateway-cli cfg trust-again" in problem
    spent_msat = scene.spent_msat()
    async with scene.serving() as gateway:
        assert (await exposure(gateway, scene.federation_id)).refused_claim == stream_of(payment)
        refused = await given_back(gateway, *await scene.funded(routing))
        assert stream_of(payment) in refused.detail
        # Receiving brings our money home, so it goes on.
        await give_ecash(scene, gateway)
        _, _, invoice = await ordered(scene, gateway, routing)
        async with receiving.paying(scene, invoice):
            await receiving.until(gateway, invoice, receive.Received)
        (told,) = await gateway.federations.trust_again(scene.federation_id)
        assert told.refused_claim is None
        assert (await gateway.info()).problems == ()
        other, paid = await scene.funded(routing)
        assert isinstance(await ask(gateway, other.body(paid)), Paid)
    assert scene.spent_msat() > spent_msat - receiving.RECEIVED_MSAT


async def test_nothing_is_paid_after_notes_were_refused_until_the_operator_says_so(
    scene: Scene,
) -> None:
    """Who pays claims with notes, and refuses them when they are spent, owes nothing any more and could go on so."""
    async with scene.joined() as (gateway, routing):
        await cap(scene, gateway, CAP_MSAT)
        _, _, invoice = await ordered(
            scene, gateway, routing, order=IncomingOrder(1_000_000, START_UNIX_S)
        )
        user, payment = await scene.funded(routing)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)
        await until(gateway, payment, send.Claimed)
        held = (await wallet(gateway, scene.federation_id)).notes
        scene.federation.consensus.ledger.spent_nonces.update(
            bytes.fromhex(note.nonce) for note in held
        )
        async with receiving.paying(scene, invoice) as heard:
            await receiving.until(gateway, invoice, receive.FundingFailed)
        assert isinstance(heard[-1], Failed), "trying costs a caller nothing"
        await scene.drive(lambda: not _transactions(gateway))
        (problem,) = (await gateway.info()).problems
        assert f"refused the claim of tx/{scene.federation_id}-" in problem
        await given_back(gateway, *await scene.funded(routing))


def _transactions(gateway: Gateway) -> list[str]:
    return [stream for stream in gateway.engine.open_streams() if stream.startswith("tx/")]


async def test_what_is_not_called_again_is_given_back_once_no_call_can_pay_it(scene: Scene) -> None:
    """Nobody answered the call before the claim was refused, so none follows it; the invoice's end decides."""
    held = scene.world.payee.make_invoice(INVOICE_MSAT, is_held=True)
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing, held.text)
        async with asking(gateway, user.body(payment)):
            await until(gateway, payment, send.InFlight)
            other, unpaid = await scene.funded(routing)
            scene.world.gateway_node.script(*[Fault.LOST] * send.ATTEMPTS_MAX)
            async with asking(gateway, other.body(unpaid)) as answers:
                await until(gateway, unpaid, send.Dispatching, send.Unanswered)
                scene.federation.consensus.ledger.contracts.pop(payment.out_point)
                scene.world.payee.settle_held(held.payment_hash)
                await until(gateway, payment, send.ClaimRejected)
                await scene.drive(lambda: bool(answers), step_s=20)
        assert isinstance(answers[0], Forfeited)
        assert (await exposure(gateway, scene.federation_id)).refused_claim == stream_of(payment)
    assert scene.spent_msat() < 2 * INVOICE_MSAT


async def test_a_federation_that_is_not_served_cannot_be_trusted(scene: Scene) -> None:
    async with scene.joined() as (gateway, _):
        await gateway.federations.leave_federation(scene.federation_id)
        with pytest.raises(InputError, match="No federation available"):
            await gateway.federations.trust_again(scene.federation_id)
