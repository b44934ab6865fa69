"""Several gateways on one Lightning node: an invoice belongs to the one whose call was answered."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from backends.lightning import Succeeded
from backends.simulated.node import Fault, InvoiceState
from devnet.guardians.dealer import fresh_secret
from devnet.users.receiving import IncomingOrder, IncomingPayment
from devnet.users.user import EmbeddedUser
from errors import InputError
from fedimint import lnv2
from fedimint.lnv2 import HashImage, IncomingContract, tpe
from fedimint.lnv2.gateway_api import RoutingInfo
from gateway.application import Gateway
from statemachines import receive
from tests.gateway.receiving import (
    RECEIVED_MSAT,
    give_ecash,
    hash_of,
    ordered,
    paying,
    register,
    until,
)
from tests.gateway.scene import OTHER_WORDS, Scene, kinds

pytestmark = pytest.mark.anyio


class Shared:
    """Two gateways of other words on one node, in one federation, both with ecash."""

    def __init__(self, directory: Path) -> None:
        self.one, self.other = Scene(directory / "one"), Scene(directory / "other")
        self.other.clock, self.other.world = self.one.clock, self.one.world
        self.other.federations, self.other.node = self.one.federations, self.one.node
        self.other.words = OTHER_WORDS

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[tuple[Gateway, RoutingInfo, Gateway, RoutingInfo]]:
        async with self.one.joined() as (one, one_routing), self.other.joined() as (other, routing):
            await give_ecash(self.one, one)
            await give_ecash(self.other, other)
            yield one, one_routing, other, routing


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    return Shared(tmp_path)


async def test_one_hash_at_two_gateways_is_paid_for_once(shared: Shared) -> None:
    """The receiver gives both the same preimage: the second one makes no invoice and funds nothing."""
    async with shared.serving() as (one, one_routing, other, routing):
        user = shared.one.world.new_user(0)
        secret = fresh_secret(user._random_bytes)
        order = IncomingOrder(RECEIVED_MSAT, int(shared.one.clock.now_s))
        first, second = (
            user._receiver.incoming(order, terms, secret) for terms in (one_routing, routing)
        )
        assert first.preimage == second.preimage
        invoice = await register(one, user, first)
        with pytest.raises(InputError, match="somebody else's; make another contract"):
            await register(other, user, second)
        async with paying(shared.one, invoice) as heard:
            await until(one, invoice, receive.Received)
        assert isinstance(heard[-1], Succeeded)
        await until(other, invoice, receive.InvoiceRefused)
    assert "completion.begun" not in kinds(shared.other.directory)


def fake(
    shared: Shared, routing: RoutingInfo, invoice: str
) -> tuple[EmbeddedUser, IncomingPayment]:
    """A contract for the hash of somebody's invoice, by a stranger who knows no preimage of it."""
    user = shared.one.world.new_user(0)
    order = IncomingOrder(RECEIVED_MSAT, int(shared.one.clock.now_s))
    mine = user._receiver.incoming(
        order,
        routing,
        fresh_secret(user._random_bytes),
    )
    commitment = msgspec.structs.replace(
        mine.contract.commitment, payment_image=HashImage(hash_of(invoice))
    )
    bound = hashlib.sha256(lnv2.COMMITMENT.encode(commitment)).digest()
    aggregate_key = user._receiver.aggregate_key
    cipher = tpe.encrypt(aggregate_key, hashlib.sha256(b"seed").digest(), bytes(32), bound)
    return user, msgspec.structs.replace(mine, contract=IncomingContract(commitment, cipher))


async def test_a_stranger_has_no_hold_on_the_invoice_of_another_gateway(shared: Shared) -> None:
    """Its hash is in every invoice: registered at the other gateway, it must not be cancelled by that one."""
    async with shared.serving() as (one, one_routing, other, routing):
        _, _, invoice = await ordered(shared.one, one, one_routing)
        stranger, payment = fake(shared, routing, invoice)
        with pytest.raises(InputError, match="somebody else's; make another contract"):
            await register(other, stranger, payment)
        await one.federations.set_payment_policy(None, receive_enabled=True)
        async with paying(shared.one, invoice) as heard:
            await until(one, invoice, receive.Received)
        assert isinstance(heard[-1], Succeeded)
    node = shared.one.world.gateway_node
    assert node.invoice_state(hash_of(invoice)) is InvoiceState.SETTLED


async def test_what_is_held_is_not_touched_while_the_node_has_not_said_whose_it_is(
    shared: Shared,
) -> None:
    """Its answer to the second gateway is lost, and meanwhile the invoice of the first is paid."""
    async with shared.serving() as (one, one_routing, other, routing):
        _, _, invoice = await ordered(shared.one, one, one_routing)
        stranger, payment = fake(shared, routing, invoice)
        node = shared.one.world.gateway_node
        node.script(Fault.LOST, call="create_invoice")
        outcome: list[str] = []

        async def ask() -> None:
            try:
                outcome.append(await register(other, stranger, payment))
            except InputError as error:
                outcome.append(str(error))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await until(other, invoice, receive.Registered)
            async with paying(shared.one, invoice) as heard:
                await shared.one.while_time_passes(lambda: until(one, invoice, receive.Received))
            await until(other, invoice, receive.InvoiceRefused)
        assert isinstance(heard[-1], Succeeded)
        assert "make another" in outcome[0]
    assert "completion.begun" not in kinds(shared.other.directory)
