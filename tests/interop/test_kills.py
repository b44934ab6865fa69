"""gatewayd killed at each step of a payment: it ends once, and the node pays at most once."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial

import anyio
import pytest

from devnet.gateway_client import HttpAnswer
from devnet.gatewayd import OpenPayment, OurGatewayd
from devnet.processes import until
from devnet.real.lnd_node import InvoiceState, PaymentRecord
from devnet.real.world import RealWorld
from devnet.users.user import OutgoingPayment
from errors import UnavailableError
from fedimint.lnv2 import HashImage
from fedimint.lnv2.gateway_api import Forfeited, Paid, parse_send_answer
from statemachines.send import EXPIRATION_DELTA_MINIMUM_BLOCKS
from statemachines.send_rules import INVOICE_EXPIRED, LIGHTNING_ERROR
from tests.interop.invoices import held_by, stranger_invoice
from tests.interop.parties import Customers, Served, serve
from tests.interop.sender import Sender

pytestmark = pytest.mark.anyio

_AMOUNT_MSAT = 345_678
_DEADLINE_S = 60
# Long enough to be dispatched and to outlive the mining, short enough to be waited for.
_LATE_EXPIRY_S = 40
# More than bob's final delay, so that without the kill the payment would have gone through.
_SPARE_BLOCKS = 150


@dataclass(frozen=True)
class Mortal:
    """A gateway that is started for each test and killed in it, on one data directory."""

    world: RealWorld
    served: Served
    customers: Customers

    async def fund(self, invoice: str) -> OutgoingPayment:
        return await self.customers.user.fund(invoice, self.served.routing)

    async def killed_at(self, point: str, payment: OutgoingPayment) -> HttpAnswer | None:
        """Ask a gateway that kills itself at a point; its answer, if that left before."""
        await self.served.gateway.start(crash_at=point)
        answer = await self.try_send(payment)
        await self.served.gateway.died()
        return answer

    async def try_send(self, payment: OutgoingPayment) -> HttpAnswer | None:
        """None when the connection was lost before the answer."""
        try:
            return await self.served.client.try_send(self.customers.user.body(payment))
        except UnavailableError:
            return None

    async def send(self, payment: OutgoingPayment) -> Paid | Forfeited:
        return await self.served.client.send(self.customers.user.body(payment))

    async def open_payments(self) -> tuple[OpenPayment, ...]:
        return (await self.served.gateway.info()).open_payments

    async def gained_by(self, payment: OutgoingPayment, since: int) -> None:
        """Once all is over, what the gateway got is one claim of this contract, to the last msat."""
        await self.served.over(payment.contract.contract_id())
        await self.served.settled()
        books = self.served.books(after=since)
        assert sum(book.contracts_msat for book in books) == payment.contract.amount_msat
        assert sum(book.contracts_msat > 0 for book in books) == 1
        assert all(book.is_exact() for book in books)
        ever_msat = sum(book.gain_msat for book in self.served.books(after=0))
        assert await self.served.balance_msat() == ever_msat

    async def is_claimed_once(self, payment: OutgoingPayment) -> None:
        """In the log, at the node, at its peer, and at the federation."""
        kinds = self.served.log.kinds(payment.contract.contract_id())
        assert kinds.count("send.paid") == kinds.count("send.claimed") == 1
        assert not {"send.cancelling", "send.cancelled"}.intersection(kinds)
        payment_hash = _hash_of(payment)
        assert await self.world.alice.payments_of(payment_hash) == [
            PaymentRecord("SUCCEEDED", _AMOUNT_MSAT, 1)
        ]
        status = await self.world.bob.lookup(payment_hash)
        assert (status.state, status.amount_paid_msat) == (InvoiceState.SETTLED, _AMOUNT_MSAT)
        await self.is_spent(payment)

    async def is_forfeited_once(
        self, payment: OutgoingPayment, answer: Paid | Forfeited, reason: str
    ) -> None:
        """The sender has its money back, nothing was paid, and nothing is claimed."""
        contract_id = payment.contract.contract_id()
        kinds = self.served.log.kinds(contract_id)
        assert kinds.count("send.cancelling") == kinds.count("send.cancelled") == 1
        assert not {"send.paid", "send.claiming", "send.claimed"}.intersection(kinds)
        assert self.served.log.cancellation(contract_id).reason == reason
        before_msat = self.customers.user.balance_msat()
        assert isinstance(answer, Forfeited)
        await self.customers.user.cancel(payment, answer.signature)
        assert self.customers.user.balance_msat() - before_msat > _AMOUNT_MSAT
        records = await self.world.alice.payments_of(_hash_of(payment))
        assert [record.succeeded for record in records] in ([], [0])
        await self.is_spent(payment)

    async def is_spent(self, payment: OutgoingPayment) -> None:
        """The federation no longer holds the contract; it lets a contract be spent once."""
        lnv2 = self.served.joined.lnv2
        assert await lnv2.outgoing_contract_expiration(payment.out_point) is None


def _hash_of(payment: OutgoingPayment) -> str:
    image = payment.contract.payment_image
    assert isinstance(image, HashImage)
    return image.digest.hex()


@pytest.fixture(scope="module")
async def served(
    world: RealWorld, solo_customers: Customers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """A gateway that has joined and is down."""
    gateway = OurGatewayd(tmp_path_factory.mktemp("mortal"), world.alice)
    try:
        await gateway.start()
        joined = await serve(gateway, solo_customers.joined, solo_customers.federation.invite_code)
        gateway.program.kill()
        yield joined
    finally:
        gateway.program.kill()


@pytest.fixture
def mortal(world: RealWorld, served: Served, solo_customers: Customers) -> Iterator[Mortal]:
    yield Mortal(world, served, solo_customers)
    served.gateway.program.kill()


# --- killed between the intent and the call, and no time left afterwards ---------------------------------------


@dataclass(frozen=True)
class Late:
    """A payment whose time ran out while the gateway was down; the gateway runs again."""

    mortal: Mortal
    payment: OutgoingPayment


@pytest.fixture(scope="module")
async def late(
    world: RealWorld, solo_customers: Customers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Late]:
    """Other tests run while its invoice expires."""
    gateway = OurGatewayd(tmp_path_factory.mktemp("late"), world.alice)
    try:
        await gateway.start(crash_at="effect PayInvoice")
        served = await serve(gateway, solo_customers.joined, solo_customers.federation.invite_code)
        mortal = Mortal(world, served, solo_customers)
        invoice = await world.bob.add_invoice(_AMOUNT_MSAT, expiry_s=_LATE_EXPIRY_S)
        sender = Sender(served, solo_customers)
        blocks = EXPIRATION_DELTA_MINIMUM_BLOCKS + _SPARE_BLOCKS
        payment = await sender.fund(invoice.payment_request, blocks=blocks)
        assert await mortal.try_send(payment) is None
        await gateway.died()
        await _mine_until_too_late(mortal, payment)
        await gateway.start()
        yield Late(mortal, payment)
    finally:
        await gateway.program.stop()


async def _mine_until_too_late(mortal: Mortal, payment: OutgoingPayment) -> None:
    """Let guardians and nodes follow, too."""
    await mortal.world.mine(_SPARE_BLOCKS)
    await until(
        "the contract has too little time left",
        partial(_is_too_late, mortal, payment),
        deadline_s=_DEADLINE_S,
    )
    for node in (mortal.world.alice, mortal.world.bob):
        await until(f"{node.alias} follows", node.is_synced, deadline_s=_DEADLINE_S)


async def _is_too_late(mortal: Mortal, payment: OutgoingPayment) -> bool:
    found = await mortal.served.joined.lnv2.outgoing_contract_expiration(payment.out_point)
    return found is not None and found.remaining_blocks <= EXPIRATION_DELTA_MINIMUM_BLOCKS


async def test_without_time_left_nothing_is_dispatched_and_the_payment_is_shown(
    late: Late,
) -> None:
    mortal, contract_id = late.mortal, late.payment.contract.contract_id()
    (shown,) = await mortal.open_payments()
    assert (shown.id, shown.kind) == (f"send/{contract_id.hex()}", "send")
    kinds = mortal.served.log.kinds(contract_id)
    assert kinds.count("send.dispatching") == 1
    assert await mortal.world.alice.payments_of(_hash_of(late.payment)) == []


# --- killed at a named point, and paid -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "point",
    [
        "before send.accepted",
        "before send.dispatching",
        "after send.dispatching",
        "before send.in_flight",
        "after send.in_flight",
        "before send.paid",
        "after send.paid",
        "before send.claiming",
        "effect SubmitTransaction",
        "result SubmitTransaction",
        "before tx.accepted",
        "before wallet.credited",
    ],
)
async def test_a_payment_survives_and_is_claimed_once(mortal: Mortal, point: str) -> None:
    invoice = await mortal.world.bob.add_invoice(_AMOUNT_MSAT)
    payment = await mortal.fund(invoice.payment_request)
    user_msat = mortal.customers.user.balance_msat()
    since = mortal.served.log.position()

    early = await mortal.killed_at(point, payment)
    await mortal.served.gateway.start()
    answer = await mortal.send(payment)

    assert await mortal.customers.user.settle(payment, answer) is not None
    assert early is None or parse_send_answer(early.body) == answer
    await mortal.gained_by(payment, since)
    await mortal.is_claimed_once(payment)
    assert mortal.customers.user.balance_msat() == user_msat


async def test_a_payment_held_by_its_payee_survives(mortal: Mortal) -> None:
    held = await held_by(mortal.world.bob, _AMOUNT_MSAT)
    payment = await mortal.fund(held.payment_request)
    assert await mortal.killed_at("after send.in_flight", payment) is None
    await held.accepted()
    await mortal.served.gateway.start()
    (shown,) = await mortal.open_payments()
    assert (shown.id, shown.state) == (
        f"send/{payment.contract.contract_id().hex()}",
        "InFlight",
    )
    await held.settle()
    assert await mortal.send(payment) == Paid(bytes.fromhex(held.preimage))
    await mortal.served.settled()
    await mortal.is_claimed_once(payment)


async def test_a_payment_settled_while_the_gateway_is_down_is_claimed(mortal: Mortal) -> None:
    held = await held_by(mortal.world.bob, _AMOUNT_MSAT)
    payment = await mortal.fund(held.payment_request)
    await mortal.served.gateway.start()
    answers: list[HttpAnswer | None] = []

    async def ask() -> None:
        answers.append(await mortal.try_send(payment))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await held.accepted()
        mortal.served.gateway.program.kill()
    await held.settle()
    await mortal.served.gateway.start()
    # Nobody asks again: the claim is the gateway's own affair.
    await mortal.served.over(payment.contract.contract_id())
    await mortal.served.settled()
    assert answers == [None]
    await mortal.is_claimed_once(payment)


# --- killed, and given back --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "point",
    [
        "before send.cancelling",
        "before send.cancelled",
        "after send.cancelled",
    ],
)
async def test_a_hopeless_payment_survives_and_is_forfeited_once(
    mortal: Mortal, point: str
) -> None:
    payment = await mortal.fund(stranger_invoice(_AMOUNT_MSAT))
    assert await mortal.killed_at(point, payment) is None
    await mortal.served.gateway.start()
    answer = await mortal.send(payment)
    await mortal.is_forfeited_once(payment, answer, LIGHTNING_ERROR)
    assert await mortal.send(payment) == answer


async def test_a_payment_cancelled_while_the_gateway_is_down_is_forfeited(mortal: Mortal) -> None:
    held = await held_by(mortal.world.bob, _AMOUNT_MSAT)
    payment = await mortal.fund(held.payment_request)
    assert await mortal.killed_at("after send.in_flight", payment) is None
    await held.accepted()
    await held.cancel()
    await mortal.served.gateway.start()
    await mortal.is_forfeited_once(payment, await mortal.send(payment), LIGHTNING_ERROR)


async def test_without_time_left_the_payment_ends_forfeited_when_its_invoice_has_expired(
    late: Late,
) -> None:
    """The first call may have left for all the gateway knows, so it waited until the node would refuse it."""
    mortal, payment = late.mortal, late.payment
    answer = await mortal.send(payment)
    assert await mortal.world.alice.payments_of(_hash_of(payment)) == []
    await mortal.is_forfeited_once(payment, answer, INVOICE_EXPIRED)
    assert await mortal.open_payments() == ()
