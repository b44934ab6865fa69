"""Receivers for the tests of a whole gateway: ecash to fund them with, invoices, and somebody who pays these."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import msgspec

from api import payment_handlers as handlers
from backends.lightning import PaymentStatus
from devnet.guardians.dealer import MINTV2_ID
from devnet.guardians.federation import EmbeddedFederation
from devnet.users.receiving import Flaw, IncomingOrder, IncomingPayment
from devnet.users.user import EmbeddedUser
from engine.machine import State
from fedimint.codec import bolt11
from fedimint.crypto import secrets
from fedimint.lnv2.gateway_api import CreateBolt11InvoicePayload, RoutingInfo
from gateway.application import Gateway
from gateway.modules.mintv2 import held_note
from statemachines import receive
from statemachines.transaction import wallet_of
from statemachines.wallet import RecoverNotes
from tests.gateway.scene import Scene

RECEIVED_MSAT = 5_000_000
ECASH_MSAT = 40_000 * 512


async def give_ecash(
    scene: Scene,
    gateway: Gateway,
    amount_msat: int = ECASH_MSAT,
    federation: EmbeddedFederation | None = None,
) -> None:
    """Notes of the gateway's words, as if it had found them in the federation's history."""
    federation = federation or scene.federation
    client = secrets.client_secret(secrets.root_secret(scene.words), federation.federation_id)
    found = federation.issue_notes(secrets.module_secret(client, MINTV2_ID), amount_msat)
    recovered = RecoverNotes(notes=tuple(map(held_note, found)))
    await gateway.engine.submit(wallet_of(federation.federation_id.hex()), recovered)


async def ordered(
    scene: Scene,
    gateway: Gateway,
    routing: RoutingInfo,
    *,
    order: IncomingOrder | None = None,
    flaw: Flaw | None = None,
    federation: EmbeddedFederation | None = None,
) -> tuple[EmbeddedUser, IncomingPayment, str]:
    """A new user, its contract, and the gateway's invoice for it."""
    user = scene.world.new_user(0, federation)
    order = order or IncomingOrder(RECEIVED_MSAT, int(scene.clock.now_s))
    payment = user.receive(order, routing, flaw)
    return user, payment, await register(gateway, user, payment)


async def register(gateway: Gateway, user: EmbeddedUser, payment: IncomingPayment) -> str:
    """The gateway's invoice for a contract."""
    written = msgspec.json.encode(user.receive_body(payment))
    payload = msgspec.json.decode(written, type=CreateBolt11InvoicePayload)
    return await handlers.create_bolt11_invoice(gateway, payload)


@asynccontextmanager
async def paying(scene: Scene, invoice: str) -> AsyncIterator[list[PaymentStatus]]:
    """Somebody pays an invoice over Lightning; what they hear, the end once the block is left."""
    heard: list[PaymentStatus] = []

    async def pay() -> None:
        async with scene.world.payee.pay(
            invoice,
            payment_hash=bolt11.decode(invoice).payment_hash,
            max_fee_msat=10_000_000,
            max_delay_blocks=1_000,
        ) as statuses:
            async for status in statuses:
                heard.append(status)  # noqa: PERF401 - heard while the payment goes on

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pay)
        yield heard


def hash_of(invoice: str) -> bytes:
    return bolt11.decode(invoice).payment_hash


def stream_of(invoice: str) -> str:
    return receive.stream_of(hash_of(invoice).hex())


async def until(gateway: Gateway, invoice: str, *states: type[State]) -> State:
    """The receive's state once it is one of these."""
    answer = await gateway.engine.wait(
        stream_of(invoice), lambda state: isinstance(state, tuple(states))
    )
    return answer.state
