"""Refusals of our gateway: bad requests leave no trace, hopeless payments are refunded at once."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from devnet.gateway_client import HttpAnswer
from devnet.real.world import RealWorld
from devnet.users.user import OutgoingPayment
from fedimint.codec import secp
from fedimint.codec.wire_types import OutPoint, TransactionId
from fedimint.lnv2 import HashImage, LightningInvoice, PointImage
from fedimint.lnv2.gateway_api import Forfeited, LightningInvoiceJson
from statemachines.send import EXPIRATION_DELTA_MINIMUM_BLOCKS
from statemachines.send_rules import (
    INVOICE_EXPIRED,
    LIGHTNING_ERROR,
    REGISTRATION_ERROR,
    TIMEOUT_TOO_CLOSE,
    UNDERFUNDED,
    WRONG_NETWORK,
)
from tests.interop.invoices import stranger_invoice
from tests.interop.parties import Customers, Served
from tests.interop.sender import Sender, payment_hash_of

pytestmark = pytest.mark.anyio

_AMOUNT_MSAT = 500_000


@pytest.fixture(scope="module")
async def sender(solo: Served, solo_customers: Customers) -> Sender:
    return Sender(solo, solo_customers)


@pytest.fixture(scope="module")
async def payment(sender: Sender) -> OutgoingPayment:
    """A funded contract, about which false things are said."""
    return await sender.fund(stranger_invoice(_AMOUNT_MSAT))


@asynccontextmanager
async def nothing_written(sender: Sender) -> AsyncIterator[None]:
    """No payment, image or transaction gets a row."""
    before = sender.served.log.payment_positions()
    yield
    assert sender.served.log.payment_positions() == before


def is_refused(answer: HttpAnswer, sentence: str, status: int = 400) -> None:
    assert answer.status == status
    assert sentence in answer.text


async def test_a_wrong_signature(sender: Sender, payment: OutgoingPayment) -> None:
    thief = msgspec.structs.replace(payment, refund_secret=os.urandom(32))
    async with nothing_written(sender):
        is_refused(await sender.ask(thief), "auth is not a signature")


async def test_a_signature_over_another_invoice(sender: Sender, payment: OutgoingPayment) -> None:
    other = LightningInvoiceJson(stranger_invoice(_AMOUNT_MSAT))
    body = msgspec.structs.replace(sender.user.body(payment), invoice=other)
    async with nothing_written(sender):
        is_refused(await sender.served.client.try_send(body), "auth is not a signature")


async def test_a_contract_that_was_never_funded(sender: Sender, payment: OutgoingPayment) -> None:
    nowhere = OutPoint(TransactionId(os.urandom(32)), 0)
    async with nothing_written(sender):
        answer = await sender.ask(msgspec.structs.replace(payment, out_point=nowhere))
        is_refused(answer, "no contract at this out point")


async def test_another_contract_than_the_one_funded(
    sender: Sender, payment: OutgoingPayment
) -> None:
    larger = msgspec.structs.replace(payment.contract, amount_msat=payment.contract.amount_msat + 1)
    async with nothing_written(sender):
        answer = await sender.ask(msgspec.structs.replace(payment, contract=larger))
        is_refused(answer, "is another one")


async def test_a_contract_of_another_gateway(sender: Sender, payment: OutgoingPayment) -> None:
    foreign = msgspec.structs.replace(payment.contract, claim_pk=secp.public_key(os.urandom(32)))
    async with nothing_written(sender):
        answer = await sender.ask(msgspec.structs.replace(payment, contract=foreign))
        is_refused(answer, "another gateway")


async def test_a_contract_for_another_hash(sender: Sender, payment: OutgoingPayment) -> None:
    other = LightningInvoice(stranger_invoice(_AMOUNT_MSAT))
    async with nothing_written(sender):
        answer = await sender.ask(msgspec.structs.replace(payment, invoice=other))
        is_refused(answer, "payment hash")


async def test_an_invoice_without_amount(sender: Sender, payment: OutgoingPayment) -> None:
    image = payment.contract.payment_image
    assert isinstance(image, HashImage)
    amountless = LightningInvoice(stranger_invoice(None, payment_hash=image.digest))
    async with nothing_written(sender):
        answer = await sender.ask(msgspec.structs.replace(payment, invoice=amountless))
        is_refused(answer, "no amount")


async def test_an_invoice_that_is_none(sender: Sender, payment: OutgoingPayment) -> None:
    nonsense = LightningInvoice("lnbcrt1nonsense")
    async with nothing_written(sender):
        answer = await sender.ask(msgspec.structs.replace(payment, invoice=nonsense))
        assert answer.status == 400
        assert answer.text


async def test_a_contract_for_a_point(sender: Sender) -> None:
    """Nothing on Lightning pays for a point."""
    invoice, refund_secret = stranger_invoice(_AMOUNT_MSAT), os.urandom(32)
    usual = await sender.contract(
        payment_hash_of(invoice), refund_secret, amount_msat=2 * _AMOUNT_MSAT, blocks=1_000
    )
    contract = msgspec.structs.replace(
        usual,
        payment_image=PointImage(secp.public_key(os.urandom(32))),
    )
    payment = await sender.user.fund_contract(contract, refund_secret, invoice)
    async with nothing_written(sender):
        is_refused(await sender.ask(payment), "payment image")


async def test_a_federation_that_is_not_served(sender: Sender, payment: OutgoingPayment) -> None:
    body = msgspec.structs.replace(sender.user.body(payment), federation_id=os.urandom(32).hex())
    async with nothing_written(sender):
        is_refused(await sender.served.client.try_send(body), "federation")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"pay me", 400),
        (b"\xff\xfe", 400),
        (b"{}", 422),
        (b"[]", 422),
        (b'{"federation_id": 1}', 422),
        (b'{"a":' * 10_000, 400),
        (b'"' + b"a" * 100_000 + b'"', 413),
    ],
    ids=["empty", "no JSON", "no UTF-8", "no fields", "array", "no text", "deep", "long"],
)
async def test_garbage(sender: Sender, body: bytes, status: int) -> None:
    async with nothing_written(sender):
        answer = await sender.served.client.post("/send_payment", body)
        assert answer.status == status
        assert len(answer.text.split()) > 3


async def test_no_json_at_all(sender: Sender) -> None:
    async with nothing_written(sender):
        answer = await sender.served.client.post("/send_payment", b"{}", content_type="text/plain")
        assert answer.status == 415


async def test_refusals_decide_nothing(sender: Sender, payment: OutgoingPayment) -> None:
    """After a false request the true one is taken; its stranger cannot be reached, so it comes back."""
    thief = msgspec.structs.replace(payment, refund_secret=os.urandom(32))
    assert (await sender.ask(thief)).status == 400
    await _is_given_back(sender, payment, LIGHTNING_ERROR)


# --- payments on record, given back at once ------------------------------------------------------------------


async def _expired(sender: Sender, _world: RealWorld) -> OutgoingPayment:
    return await sender.fund(stranger_invoice(_AMOUNT_MSAT, age_s=100, expiry_s=50))


async def _underpaid(sender: Sender, world: RealWorld) -> OutgoingPayment:
    minimum_msat = sender.served.routing.send_fee_minimum.add_to(_AMOUNT_MSAT)
    invoice = await world.bob.add_invoice(_AMOUNT_MSAT)
    return await sender.fund(invoice.payment_request, amount_msat=minimum_msat - 1)


async def _late(sender: Sender, world: RealWorld) -> OutgoingPayment:
    invoice = await world.bob.add_invoice(_AMOUNT_MSAT)
    return await sender.fund(invoice.payment_request, blocks=EXPIRATION_DELTA_MINIMUM_BLOCKS)


async def _elsewhere(sender: Sender, _world: RealWorld) -> OutgoingPayment:
    return await sender.fund(stranger_invoice(_AMOUNT_MSAT, network="bitcoin"))


async def _out_of_reach(sender: Sender, _world: RealWorld) -> OutgoingPayment:
    return await sender.fund(stranger_invoice(_AMOUNT_MSAT))


async def _too_slow(sender: Sender, world: RealWorld) -> OutgoingPayment:
    """Time to begin with, but less than bob's own final delay takes."""
    invoice = await world.bob.add_invoice(_AMOUNT_MSAT)
    blocks = EXPIRATION_DELTA_MINIMUM_BLOCKS + 10
    return await sender.fund(invoice.payment_request, blocks=blocks)


async def _own(sender: Sender, world: RealWorld) -> OutgoingPayment:
    """An invoice of the gateway's own node."""
    invoice = await world.alice.add_invoice(_AMOUNT_MSAT)
    return await sender.fund(invoice.payment_request)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_expired, INVOICE_EXPIRED),
        (_underpaid, UNDERFUNDED),
        (_late, TIMEOUT_TOO_CLOSE),
        (_elsewhere, WRONG_NETWORK),
        (_out_of_reach, LIGHTNING_ERROR),
        (_too_slow, LIGHTNING_ERROR),
        (_own, REGISTRATION_ERROR),
    ],
    ids=["expired", "underpaid", "late", "elsewhere", "out of reach", "too slow", "own"],
)
async def test_a_hopeless_payment_is_on_record_and_given_back(
    world: RealWorld,
    sender: Sender,
    make: Callable[[Sender, RealWorld], Awaitable[OutgoingPayment]],
    reason: str,
) -> None:
    await _is_given_back(sender, await make(sender, world), reason)


async def _is_given_back(sender: Sender, payment: OutgoingPayment, reason: str) -> None:
    served, contract_id = sender.served, payment.contract.contract_id()
    gateway_msat = await served.balance_msat()
    answer = await served.client.send(sender.user.body(payment))
    assert isinstance(answer, Forfeited)
    module_public_key = bytes.fromhex(served.routing.module_public_key)
    assert secp.verify_schnorr(module_public_key, contract_id, answer.signature)
    assert served.log.cancellation(contract_id).reason == reason
    assert served.log.kinds(contract_id)[-1] == "send.cancelled"
    assert await served.balance_msat() == gateway_msat

    before_msat = sender.user.balance_msat()
    await sender.user.cancel(payment, answer.signature)
    assert sender.user.balance_msat() > before_msat
    assert await served.joined.lnv2.outgoing_contract_expiration(payment.out_point) is None
