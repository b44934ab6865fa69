"""Refusals on record: the payment is cancelled for good, and the signature gives the money back."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.simulated.node import Fault
from devnet.users.user import EmbeddedUser, OutgoingPayment
from fedimint.codec import bolt11
from fedimint.lnv2 import OutgoingContract
from fedimint.lnv2.gateway_api import Forfeited, Paid, RoutingInfo
from gateway.application import Gateway
from statemachines import send
from tests.gateway import calling
from tests.gateway.receiving import give_ecash, ordered
from tests.gateway.scene import (
    INVOICE_MSAT,
    START_UNIX_S,
    USER_MSAT,
    Scene,
    ask,
    asking,
    kinds,
    until,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def given_back(
    scene: Scene, gateway: Gateway, user: EmbeddedUser, payment: OutgoingPayment, reason: str
) -> send.Cancelled:
    """The answer is a signature of the module key, the user has its money, our node spent nothing."""
    answer = await ask(gateway, user.body(payment))
    assert isinstance(answer, Forfeited)
    before_msat = user.balance_msat()
    await user.settle(payment, answer)
    assert user.balance_msat() > before_msat + payment.contract.amount_msat * 9 // 10
    assert not scene.federation.audit().contracts_msat
    assert scene.federation.audit().is_balanced()
    assert scene.spent_msat() == 0
    assert scene.world.network.locked_msat() == 0
    state = await until(gateway, payment, send.Cancelled)
    assert isinstance(state, send.Cancelled)
    assert state.reason == reason
    assert await ask(gateway, user.body(payment)) == answer
    return state


async def funded_with(
    scene: Scene, routing: RoutingInfo, invoice: str | None = None, **changes: Any
) -> tuple[EmbeddedUser, OutgoingPayment]:
    """A contract on terms of the test."""
    _, honest = await scene.funded(routing, invoice)
    contract: OutgoingContract = msgspec.structs.replace(honest.contract, **changes)
    user = scene.world.new_user(USER_MSAT)
    payment = await user.fund_contract(contract, honest.refund_secret, honest.invoice.bolt11)
    scene.federation.consensus.ledger.contracts.pop(honest.out_point)
    scene.federation.consensus.ledger.kept_msat += honest.contract.amount_msat
    return user, payment


async def test_an_invoice_that_has_expired(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing, scene.invoice(expiry_s=60))
        scene.clock.advance(60)
        await given_back(scene, gateway, user, payment, "InvoiceExpired")
    assert "send.dispatching" not in kinds(scene.directory)


async def test_one_second_before_its_expiry_it_is_paid(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing, scene.invoice(expiry_s=60))
        scene.clock.advance(59)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)


async def test_a_contract_with_too_little_time_left(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        blocks_left = payment.contract.expiration_block_height - (scene.world.chain.height + 1)
        scene.world.chain.mine(blocks_left - 144)
        state = await given_back(scene, gateway, user, payment, "TimeoutTooClose")
        assert state.detail == "the contract has 144 blocks left, more than 144 are needed"
    assert "send.dispatching" not in kinds(scene.directory)


async def test_a_contract_that_expired_long_ago(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        scene.world.chain.mine(3_000)
        await given_back(scene, gateway, user, payment, "TimeoutTooClose")


async def test_a_contract_that_holds_less_than_our_fee(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        minimum_msat = routing.send_fee_minimum.add_to(INVOICE_MSAT)
        user, payment = await funded_with(scene, routing, amount_msat=minimum_msat - 1)
        state = await given_back(scene, gateway, user, payment, "Underfunded")
        assert state.detail == (
            f"the contract holds {minimum_msat - 1} msat, {minimum_msat} are needed"
        )


async def test_a_fee_budget_of_nothing_buys_no_route(scene: Scene) -> None:
    """Exactly the minimum: routing may cost nothing, and the middle node asks for something."""
    async with scene.joined() as (gateway, routing):
        minimum_msat = routing.send_fee_minimum.add_to(INVOICE_MSAT)
        user, payment = await funded_with(scene, routing, amount_msat=minimum_msat)
        await given_back(scene, gateway, user, payment, "LightningRpcError")
    assert "send.dispatching" in kinds(scene.directory)


async def test_a_payee_that_nobody_reaches(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        scene.world.middle.is_down = True
        await given_back(scene, gateway, user, payment, "LightningRpcError")


async def test_a_payee_that_cancels_what_it_held(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        held = scene.world.payee.make_invoice(INVOICE_MSAT, is_held=True)
        user, payment = await scene.funded(routing, held.text)
        async with asking(gateway, user.body(payment)):
            await until(gateway, payment, send.InFlight)
            scene.world.payee.cancel_held(held.payment_hash)
        await given_back(scene, gateway, user, payment, "LightningRpcError")


async def test_a_node_that_refuses_the_call(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        scene.world.gateway_node.script(Fault.REFUSED)
        await given_back(scene, gateway, user, payment, "LightningRpcError")


async def test_our_own_nodes_invoice(scene: Scene) -> None:
    """Only a receiver of a federation of ours can be paid by a swap; this invoice is of the node's operator."""
    async with scene.joined() as (gateway, routing):
        own = scene.world.gateway_node.make_invoice(INVOICE_MSAT)
        user, payment = await funded_with(
            scene, routing, own.text, amount_msat=routing.send_fee_default.add_to(INVOICE_MSAT)
        )
        await given_back(scene, gateway, user, payment, "RegistrationError")


@pytest.mark.parametrize("network", ["bitcoin", "testnet", "testnet4", "signet"])
async def test_an_invoice_of_another_network(scene: Scene, network: str) -> None:
    async with scene.joined() as (gateway, routing):
        honest = bolt11.decode(scene.invoice())
        foreign = bolt11.sign(
            bolt11.InvoiceFields(
                network=network,  # type: ignore[arg-type]  # one of the names
                amount_msat=INVOICE_MSAT,
                timestamp_unix_s=START_UNIX_S,
                payment_hash=honest.payment_hash,
                payment_secret=bytes(32),
                description="elsewhere",
            ),
            scene.world.payee.secret,
        )
        _, payment = await scene.funded(routing, honest.text)
        user = scene.world.new_user(USER_MSAT)
        other = msgspec.structs.replace(
            payment, invoice=msgspec.structs.replace(payment.invoice, bolt11=foreign.text)
        )
        await given_back(scene, gateway, user, other, "WrongNetwork")
    assert "send.dispatching" not in kinds(scene.directory)


async def given_back_beside(
    scene: Scene, gateway: Gateway, user: EmbeddedUser, payment: OutgoingPayment
) -> None:
    """Another operation has the image: the money is back at once, on record, and nothing was spent for it."""
    spent_msat, before = scene.spent_msat(), kinds(scene.directory)
    answer = await ask(gateway, user.body(payment))
    assert isinstance(answer, Forfeited)
    assert await ask(gateway, user.body(payment)) == answer
    assert scene.spent_msat() == spent_msat
    written = kinds(scene.directory)[len(before) :]
    assert [kind for kind in written if kind.startswith("send.")] == [
        "send.accepted",
        "send.cancelling",
        "send.cancelled",
    ]
    assert "image.claimed" not in written
    state = await until(gateway, payment, send.Cancelled)
    assert isinstance(state, send.Cancelled)
    assert state.reason == "PaymentImageAlreadyClaimed"
    balance_msat = user.balance_msat()
    await user.settle(payment, answer)
    assert user.balance_msat() > balance_msat + payment.contract.amount_msat * 9 // 10


async def test_one_hash_in_contracts_of_two_users(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        invoice = scene.invoice()
        first, paid = await scene.funded(routing, invoice)
        second, other = await scene.funded(routing, invoice)
        answer = await ask(gateway, first.body(paid))
        assert isinstance(answer, Paid)
        await until(gateway, paid, send.Claimed)
        await given_back_beside(scene, gateway, second, other)
        assert await ask(gateway, first.body(paid)) == answer
    async with scene.serving() as gateway:  # the next life has it on record
        assert isinstance(await ask(gateway, second.body(other)), Forfeited)


async def test_a_second_contract_while_the_first_is_under_way(scene: Scene) -> None:
    """Its sender need not wait for the first one's end, which is the first one's alone."""
    held = scene.world.payee.make_invoice(INVOICE_MSAT, is_held=True)
    async with scene.joined() as (gateway, routing):
        first, paid = await scene.funded(routing, held.text)
        second, other = await scene.funded(routing, held.text)
        async with asking(gateway, first.body(paid)) as answers:
            await until(gateway, paid, send.InFlight)
            await given_back_beside(scene, gateway, second, other)
            scene.world.payee.settle_held(held.payment_hash)
        assert isinstance(answers[0], Paid)


async def test_another_contract_after_the_first_was_given_back(scene: Scene) -> None:
    """Older clients try an invoice again, and must not wait until the contract expires."""
    async with scene.joined() as (gateway, routing):
        invoice = scene.invoice()
        first, refused = await scene.funded(routing, invoice)
        scene.world.gateway_node.script(Fault.REFUSED)
        assert isinstance(await ask(gateway, first.body(refused)), Forfeited)
        for _ in range(2):
            again, other = await scene.funded(routing, invoice)
            await given_back_beside(scene, gateway, again, other)


async def test_the_operator_pays_what_a_client_got_back(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        invoice = scene.invoice()
        user, payment = await scene.funded(routing, invoice)
        scene.world.gateway_node.script(Fault.REFUSED)
        assert isinstance(await ask(gateway, user.body(payment)), Forfeited)
        await gateway.node.pay_operator_invoice(invoice)
        assert scene.spent_msat() == INVOICE_MSAT + 1_500
        late, other = await scene.funded(routing, invoice)
        await given_back_beside(scene, gateway, late, other)


async def test_a_contract_for_what_the_operator_paid(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        invoice = scene.invoice()
        user, payment = await scene.funded(routing, invoice)
        await gateway.node.pay_operator_invoice(invoice)
        await given_back_beside(scene, gateway, user, payment)


async def test_a_second_contract_beside_a_swap(scene: Scene) -> None:
    other = scene.add_federation("second")
    async with scene.joined() as (gateway, routing):
        await gateway.federations.connect_federation(other.invite_code().to_text(), recover=False)
        there = await calling.routing_of(gateway, other.federation_id.hex())
        await give_ecash(scene, gateway, federation=other)
        receiver, ordered_there, invoice = await ordered(scene, gateway, there, federation=other)
        first, paid = await scene.funded(routing, invoice)
        second, refused = await scene.funded(routing, invoice)
        assert isinstance(await ask(gateway, first.body(paid)), Paid)
        await given_back_beside(scene, gateway, second, refused)
        out_point = await receiver.await_funded(ordered_there)
        assert out_point is not None
    assert kinds(scene.directory).count("receive.funding") == 1


async def test_one_hash_in_contracts_of_two_federations(scene: Scene) -> None:
    other_federation = scene.add_federation("second")
    async with scene.joined() as (gateway, routing):
        await gateway.federations.connect_federation(
            other_federation.invite_code().to_text(), recover=False
        )
        there = await calling.routing_of(gateway, other_federation.federation_id.hex())
        invoice = scene.invoice()
        user, payment = await scene.funded(routing, invoice)
        stranger = EmbeddedUser(other_federation, scene.world.random.randbytes)
        stranger.wallet.notes.extend(
            other_federation.issue_notes(stranger.wallet.module, USER_MSAT)
        )
        elsewhere = await stranger.fund(invoice, there)
        answer = await ask(gateway, stranger.body(elsewhere))
        assert isinstance(answer, Paid)
        await until(gateway, elsewhere, send.Claimed)
        await given_back_beside(scene, gateway, user, payment)


async def test_two_users_race_for_one_hash(scene: Scene) -> None:
    """Both ask before either is accepted: the append that accepts one takes the image from the other."""
    async with scene.joined() as (gateway, routing):
        invoice = scene.invoice()
        parties = [await scene.funded(routing, invoice) for _ in range(2)]
        bodies = [user.body(payment) for user, payment in parties]
        async with asking(gateway, *bodies) as answers:
            pass
    assert sorted(type(answer).__name__ for answer in answers) == ["Forfeited", "Paid"]
    assert kinds(scene.directory).count("image.claimed") == 1
    assert kinds(scene.directory).count("send.dispatching") == 1
