"""Payments through contracts of an embedded federation, with a stand-in for the gateway."""

import hashlib
import random

import anyio
import msgspec
import pytest

from backends.simulated.chain import SimulatedChain
from devnet.guardians.federation import EmbeddedFederation
from devnet.users.user import EmbeddedUser, OutgoingPayment
from devnet.users.wallet import TransactionRefused
from errors import PeerError
from fedimint.codec import bolt11, secp
from fedimint.codec.bolt11 import InvoiceFields
from fedimint.codec.json_types import OutPointJson
from fedimint.lnv2.api import Lnv2Api
from fedimint.lnv2.gateway_api import (
    Forfeited,
    Paid,
    PaymentFee,
    RoutingInfo,
    SendPaymentPayload,
    parse_routing_info,
    parse_send_answer,
)
from fedimint.mintv2.selection import InsufficientNotesError
from fedimint.transaction import InputRefused, UnbalancedTransaction

pytestmark = pytest.mark.anyio

PREIMAGE = bytes(range(32))
NODE_SECRET = bytes([1]) * 32
GATEWAY_SECRET = bytes([2]) * 32
FUNDS_MSAT = 4_096_000
ROUTING = RoutingInfo(
    lightning_public_key=secp.public_key(NODE_SECRET).hex(),
    lightning_alias="",
    module_public_key=secp.public_key(GATEWAY_SECRET).hex(),
    send_fee_minimum=PaymentFee(2_000, 3_000),
    send_fee_default=PaymentFee(4_000, 6_000),
    expiration_delta_minimum=144,
    expiration_delta_default=1_440,
    receive_fee=PaymentFee(2_000, 3_000),
    receive_enabled=True,
)


class World:
    """A chain, a federation, and a user with notes."""

    def __init__(self, guardians: int = 1) -> None:
        randomness = random.Random(7)
        self.chain = SimulatedChain(height=100)
        self.federation = EmbeddedFederation(
            self.chain, randomness.randbytes, guardians=guardians, unix_time_s=lambda: 1_000
        )
        self.user = EmbeddedUser(self.federation, randomness.randbytes)
        self.gateway = EmbeddedUser(self.federation, randomness.randbytes)
        wallet = self.user.wallet
        wallet.add(self.federation.issue_notes(wallet.module, FUNDS_MSAT))

    async def fund(self, payee_secret: bytes = NODE_SECRET) -> OutgoingPayment:
        return await self.user.fund(invoice(payee_secret), ROUTING)

    async def claim(self, payment: OutgoingPayment, preimage: bytes = PREIMAGE) -> None:
        claim = self.gateway.claim_input(payment, preimage, GATEWAY_SECRET)
        await self.gateway.wallet.submit([claim], [])

    async def await_preimage(self, payment: OutgoingPayment) -> object:
        asked = [OutPointJson.of(payment.out_point), payment.contract.expiration_block_height]
        return await self.federation.guardians[0].request("module_0_await_preimage", asked)

    async def await_preimage_during_claim(self, payment: OutgoingPayment) -> object:
        answers = []

        async def ask() -> None:
            answers.append(await self.await_preimage(payment))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await self.claim(payment)
        return answers[0]

    def books_are_balanced(self) -> bool:
        audit = self.federation.audit()
        held = self.user.balance_msat() + self.gateway.balance_msat()
        return audit.is_balanced() and audit.notes_msat == held


def invoice(payee_secret: bytes = NODE_SECRET, amount_msat: int = 1_000_000) -> str:
    fields = InvoiceFields(
        network="regtest",
        amount_msat=amount_msat,
        timestamp_unix_s=1_000,
        payment_hash=hashlib.sha256(PREIMAGE).digest(),
        payment_secret=bytes(32),
        description="",
    )
    return bolt11.sign(fields, payee_secret).text


def refusal(refused: TransactionRefused) -> bytes:
    error = refused.rejection.error()
    assert isinstance(error, InputRefused)
    return error.error.body


async def test_a_contract_is_funded_and_claimed_with_the_preimage() -> None:
    world = World()
    payment = await world.fund()
    contract_msat = 1_000_000 + 2_000 + 3_000
    assert payment.contract.amount_msat == contract_msat
    assert payment.contract.expiration_block_height == 101 + 144 + 12
    assert world.federation.audit().contracts_msat == {payment.out_point: contract_msat}
    assert world.books_are_balanced()
    api = Lnv2Api(world.federation.asked_by(), 0)
    expiration = await api.outgoing_contract_expiration(payment.out_point)
    assert expiration is not None
    assert expiration.contract_id == payment.contract.contract_id()
    assert expiration.remaining_blocks == 156

    answer = await world.await_preimage_during_claim(payment)
    assert answer == list(PREIMAGE)
    assert await api.outgoing_contract_expiration(payment.out_point) is None
    assert world.federation.audit().contracts_msat == {}
    fees_msat = 1_000 + 100 * len(world.gateway.wallet.notes)
    assert contract_msat - fees_msat - 612 < world.gateway.balance_msat() <= contract_msat
    assert world.books_are_balanced()
    assert await world.user.settle(payment, Paid(PREIMAGE)) == PREIMAGE


async def test_an_invoice_of_another_node_costs_the_default_fee() -> None:
    payment = await World().fund(payee_secret=bytes([3]) * 32)
    assert payment.contract.amount_msat == 1_000_000 + 4_000 + 6_000
    assert payment.contract.expiration_block_height == 101 + 1_440 + 12


async def test_the_request_to_the_gateway_is_authentic() -> None:
    world = World()
    payment = await world.fund()
    body = msgspec.json.decode(
        msgspec.json.encode(world.user.body(payment)), type=SendPaymentPayload
    ).decode()
    assert body.federation_id == world.federation.federation_id
    assert body.contract == payment.contract
    digest = body.invoice.auth_digest()
    assert secp.verify_schnorr(body.contract.refund_pk, digest, body.auth)


async def test_a_wrong_preimage_claims_nothing() -> None:
    world = World()
    payment = await world.fund()
    with pytest.raises(TransactionRefused) as refused:
        await world.claim(payment, bytes(32))
    assert refusal(refused.value) == bytes([2, 0])
    assert payment.out_point in world.federation.audit().contracts_msat
    with pytest.raises(PeerError, match="preimage"):
        await world.user.settle(payment, Paid(bytes(32)))
    await world.claim(payment)


async def test_a_claim_ends_where_the_refund_begins() -> None:
    world = World()
    payment = await world.fund()
    world.chain.mine(155)
    with pytest.raises(TransactionRefused) as too_early:
        await world.user.refund(payment)
    assert refusal(too_early.value) == bytes([4, 0])
    world.chain.mine(1)
    assert await world.await_preimage(payment) is None
    with pytest.raises(TransactionRefused) as too_late:
        await world.claim(payment)
    assert refusal(too_late.value) == bytes([3, 0])
    await world.user.refund(payment)
    assert world.federation.audit().contracts_msat == {}
    assert world.user.balance_msat() > FUNDS_MSAT - 10_000
    assert world.books_are_balanced()


async def test_a_forfeit_signature_gives_the_money_back_at_once() -> None:
    world = World()
    payment = await world.fund()
    wrong = Forfeited(secp.sign_schnorr(NODE_SECRET, payment.contract.contract_id()))
    with pytest.raises(PeerError, match="forfeit"):
        await world.user.settle(payment, wrong)
    forfeit = Forfeited(secp.sign_schnorr(GATEWAY_SECRET, payment.contract.contract_id()))
    assert await world.user.settle(payment, forfeit) is None
    assert world.federation.audit().contracts_msat == {}
    assert world.books_are_balanced()
    with pytest.raises(TransactionRefused) as refused:
        await world.claim(payment)
    assert refusal(refused.value) == bytes([1, 0])


async def test_ecash_moves_to_another_wallet() -> None:
    world = World()
    await world.gateway.wallet.receive(world.federation.issue_ecash(1_024_000))
    assert 1_000_000 < world.gateway.balance_msat() < 1_024_000
    assert world.books_are_balanced()


async def test_more_than_the_notes_hold_cannot_be_funded() -> None:
    world = World()
    with pytest.raises(InsufficientNotesError):
        await world.user.fund(invoice(amount_msat=FUNDS_MSAT), ROUTING)
    assert world.user.balance_msat() == FUNDS_MSAT


async def test_a_claim_by_somebody_else_is_not_signed_right() -> None:
    world = World()
    payment = await world.fund()
    stranger = world.gateway.claim_input(payment, PREIMAGE, NODE_SECRET)
    with pytest.raises(TransactionRefused, match="refused"):
        await world.gateway.wallet.submit([stranger], [])
    assert payment.out_point in world.federation.audit().contracts_msat


async def test_more_than_the_contract_holds_cannot_be_claimed() -> None:
    world = World()
    payment = await world.fund()
    greedy = world.gateway.claim_input(payment, PREIMAGE, GATEWAY_SECRET)
    greedy = greedy._replace(amount_msat=2 * greedy.amount_msat)
    with pytest.raises(TransactionRefused) as refused:
        await world.gateway.wallet.submit([greedy], [])
    assert isinstance(refused.value.rejection.error(), UnbalancedTransaction)
    assert world.books_are_balanced()


def test_answers_of_a_gateway_are_read_as_recorded() -> None:
    assert parse_routing_info(b"null") is None
    assert parse_routing_info(msgspec.json.encode(ROUTING)) == ROUTING
    assert parse_send_answer(msgspec.json.encode({"Ok": list(PREIMAGE)})) == Paid(PREIMAGE)
    assert parse_send_answer(msgspec.json.encode({"Err": "ab" * 64})) == Forfeited(b"\xab" * 64)
    for malformed in (b"{}", b'{"Ok":[1]}', b'{"Err":"zz"}', b"[]"):
        with pytest.raises(PeerError):
            parse_send_answer(malformed)
