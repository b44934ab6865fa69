"""Real clients pay invoices of a real node through our gateway, with one guardian and with four."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from devnet.gateway_client import HttpAnswer
from devnet.real.fedimint_cli import SendOutcome
from devnet.real.lnd_node import InvoiceState, PaymentRecord
from devnet.real.world import RealWorld
from fedimint.codec.wire_types import OutPoint, TransactionId
from fedimint.lnv2.gateway_api import Forfeited, Paid, parse_send_answer
from statemachines.send_rules import LIGHTNING_ERROR
from tests.interop.invoices import held_by, stranger_invoice
from tests.interop.parties import Customers, Served

pytestmark = pytest.mark.anyio

_AMOUNT_MSAT = 1_234_567
# Above the half of the channel that is alice's.
_TOO_MUCH_MSAT = 6_000_000_000
# What a federation keeps of a contract put down and taken back: its fees per item and on the amount, and dust.
_FEES_PER_ITEM_MSAT = 50_000
_FEES_PARTS = 1_000
_REPEATS = 5


@asynccontextmanager
async def _stopped(customers: Customers, guardian_id: int) -> AsyncIterator[None]:
    guardian = customers.federation.guardians[guardian_id]
    await guardian.program.stop()
    try:
        yield
    finally:
        await guardian.restart()


async def _cli_pays(world: RealWorld, served: Served, customers: Customers) -> None:
    """fedimint-cli pays bob; every msat that moved is accounted for."""
    await served.settled()
    position, before_msat = served.log.position(), await served.balance_msat()
    await customers.cli.settle()
    user_msat = await customers.cli.balance_msat()
    invoice = await world.bob.add_invoice(_AMOUNT_MSAT)

    result = await customers.cli.pay(invoice.payment_request)

    assert result.outcome is SendOutcome.SUCCESS
    assert result.preimage is not None
    assert hashlib.sha256(bytes.fromhex(result.preimage)).hexdigest() == invoice.payment_hash
    status = await world.bob.lookup(invoice.payment_hash)
    assert (status.state, status.amount_paid_msat) == (InvoiceState.SETTLED, _AMOUNT_MSAT)

    await served.settled()
    facts = served.log.facts_of(invoice.payment_hash)
    assert facts.contract_msat == served.routing.send_fee_default.add_to(_AMOUNT_MSAT)
    books = served.books(after=position)
    assert sum(book.contracts_msat for book in books) == facts.contract_msat
    assert all(book.is_exact() for book in books)
    gain_msat = sum(book.gain_msat for book in books)
    assert await served.balance_msat() - before_msat == gain_msat
    # More than bob got: the gateway earns, although the federation takes its fees.
    assert _AMOUNT_MSAT < gain_msat < facts.contract_msat
    await customers.cli.settle()
    assert user_msat - await customers.cli.balance_msat() >= facts.contract_msat
    out_point = OutPoint(TransactionId(bytes.fromhex(facts.txid)), facts.out_idx)
    assert await served.joined.lnv2.outgoing_contract_expiration(out_point) is None


async def test_fedimint_cli_pays_with_one_guardian(
    world: RealWorld, solo: Served, solo_customers: Customers
) -> None:
    assert await solo_customers.cli.gateways() == [solo.gateway.url]
    await _cli_pays(world, solo, solo_customers)


async def test_fedimint_cli_pays_with_four_guardians(
    world: RealWorld, quad: Served, quad_customers: Customers
) -> None:
    await _cli_pays(world, quad, quad_customers)


async def test_fedimint_cli_pays_while_one_of_four_guardians_is_down(
    world: RealWorld, quad: Served, quad_customers: Customers
) -> None:
    async with _stopped(quad_customers, 3):
        await _cli_pays(world, quad, quad_customers)


async def test_an_unreachable_payee_gives_the_money_back_at_once(
    solo: Served, solo_customers: Customers
) -> None:
    await _cli_gets_its_money_back(
        solo, solo_customers, stranger_invoice(_AMOUNT_MSAT), _AMOUNT_MSAT
    )


async def test_an_invoice_above_the_channel_gives_the_money_back_at_once(
    world: RealWorld, solo: Served, solo_customers: Customers
) -> None:
    invoice = await world.bob.add_invoice(_TOO_MUCH_MSAT)
    await _cli_gets_its_money_back(solo, solo_customers, invoice.payment_request, _TOO_MUCH_MSAT)


async def _cli_gets_its_money_back(
    solo: Served, solo_customers: Customers, invoice: str, amount_msat: int
) -> None:
    """No block is mined, so only a forfeit signature can have brought it back."""
    await solo.settled()
    await solo_customers.cli.settle()
    balances, user_msat = await solo.gateway.cli("balance"), await solo_customers.cli.balance_msat()

    result = await solo_customers.cli.pay(invoice)

    assert result.outcome is SendOutcome.REFUNDED
    await solo_customers.cli.settle()
    kept_msat = user_msat - await solo_customers.cli.balance_msat()
    assert 0 < kept_msat < _FEES_PER_ITEM_MSAT + amount_msat * _FEES_PARTS // 1_000_000
    await solo.settled()
    assert await solo.gateway.cli("balance") == balances


async def test_a_request_asked_many_times_is_paid_once(
    world: RealWorld, solo: Served, solo_customers: Customers
) -> None:
    held = await held_by(world.bob, _AMOUNT_MSAT)
    payment = await solo_customers.user.fund(held.payment_request, solo.routing)
    body = solo_customers.user.body(payment)
    answers: list[HttpAnswer] = []

    async def ask() -> None:
        answers.append(await solo.client.try_send(body))

    async with anyio.create_task_group() as tasks:
        for _ in range(_REPEATS):
            tasks.start_soon(ask)
        await held.accepted()
        tasks.start_soon(ask)
        await held.settle()
    await solo.over(payment.contract.contract_id())
    answers.append(await solo.client.try_send(body))

    assert len(answers) == _REPEATS + 2
    assert {answer.status for answer in answers} == {200}
    assert {parse_send_answer(answer.body) for answer in answers} == {
        Paid(bytes.fromhex(held.preimage))
    }
    kinds = solo.log.kinds(payment.contract.contract_id())
    assert kinds.count("send.accepted") == kinds.count("send.dispatching") == 1
    assert await world.alice.payments_of(held.payment_hash) == [
        PaymentRecord("SUCCEEDED", _AMOUNT_MSAT, 1)
    ]


async def test_one_hash_in_two_contracts_is_paid_once(
    world: RealWorld, solo: Served, solo_customers: Customers
) -> None:
    held = await held_by(world.bob, _AMOUNT_MSAT)
    user = solo_customers.user
    first = await user.fund(held.payment_request, solo.routing)
    second = await user.fund(held.payment_request, solo.routing)
    paid: list[object] = []

    async def ask() -> None:
        paid.append(await solo.client.send(user.body(first)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await held.accepted()
        while_in_flight = await solo.client.send(user.body(second))
        await held.settle()
    await solo.over(first.contract.contract_id())
    before_msat = await solo.balance_msat()
    afterwards = await solo.client.send(user.body(second))

    assert paid == [Paid(bytes.fromhex(held.preimage))]
    assert isinstance(while_in_flight, Forfeited)
    assert afterwards == while_in_flight
    assert solo.log.kinds(second.contract.contract_id()) == [
        "send.accepted",
        "send.cancelling",
        "send.cancelled",
    ]
    assert await solo.balance_msat() == before_msat
    assert len(await world.alice.payments_of(held.payment_hash)) == 1
    # The guardians take the signature: the second contract's money is its sender's again.
    await user.settle(second, while_in_flight)
    untouched = await solo.joined.lnv2.outgoing_contract_expiration(second.out_point)
    assert untouched is None


async def test_a_sender_who_went_away_finds_the_answer(
    world: RealWorld, solo: Served, solo_customers: Customers
) -> None:
    held = await held_by(world.bob, _AMOUNT_MSAT)
    payment = await solo_customers.user.fund(held.payment_request, solo.routing)
    body = solo_customers.user.body(payment)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(solo.client.try_send, body)
        await held.accepted()
        tasks.cancel_scope.cancel()
    await held.settle()
    await solo.over(payment.contract.contract_id())
    assert await solo.client.send(body) == Paid(bytes.fromhex(held.preimage))


async def test_our_own_client_gets_its_money_back_by_forfeit(
    solo: Served, solo_customers: Customers
) -> None:
    user = solo_customers.user
    payment = await user.fund(stranger_invoice(_AMOUNT_MSAT), solo.routing)
    before_msat = user.balance_msat()
    body = user.body(payment)
    answer = await solo.client.send(body)
    assert await solo.client.send(body) == answer
    assert not isinstance(answer, Paid)
    await user.settle(payment, answer)
    assert user.balance_msat() - before_msat > _AMOUNT_MSAT
    assert solo.log.cancellation(payment.contract.contract_id()).reason == LIGHTNING_ERROR
