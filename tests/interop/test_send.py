"""Real clients pay invoices of a real node through our gateway, with one guardian and with four."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from devnet.fedimint_cli import SendOutcome
from devnet.lnd_node import InvoiceState
from devnet.real_world import RealWorld
from fedimint.wire_types import OutPoint, TransactionId
from tests.interop.parties import Customers, Served

pytestmark = pytest.mark.anyio

_AMOUNT_MSAT = 1_234_567
# What the federation may take for putting a contract down and taking it back, with all notes of both.
_FEDERATION_FEES_MSAT = 60_000


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
