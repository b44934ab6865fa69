"""More payments than notes at the same time: all wait for change, none is refused."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from api import payment_handlers as handlers
from backends.lightning import Succeeded
from devnet.users.receiving import IncomingOrder
from engine.effects import EffectContext
from engine.engine import Engine, Ports
from engine.ports import SystemRandomness, inline
from engine.storage.store import Store
from fedimint.codec import bolt11
from fedimint.codec.wire_types import FeeConsensus
from fedimint.lnv2.gateway_api import CreateBolt11InvoicePayload, Paid, RoutingInfo
from gateway import funding_turns
from gateway.application import Gateway
from gateway.funding_turns import FundingTurns
from gateway.log import machines, read_models
from migrations import SchemaSteps
from statemachines import ladder, receive
from statemachines.items import FundedContract, HeldNote
from statemachines.reserving import FederationFees
from statemachines.transaction import BuildTransaction, Built, wallet_of
from statemachines.wallet import FundOutput, OpenWallet, RecoverNotes
from tests.gateway.scene import ManualClock, Scene, ask, wallet

pytestmark = pytest.mark.anyio

AT_ONCE = 3
RECEIVED_MSAT = 1_200_000
FEDERATION = "fe" * 32
FEES = FederationFees(lnv2=FeeConsensus(1_000, 0), mintv2=FeeConsensus(100, 0))


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Its gateway keeps its ecash in as few notes as possible."""
    monkeypatch.setattr(ladder, "RUNGS", 0)
    return Scene(tmp_path)


@asynccontextmanager
async def with_few_notes(scene: Scene) -> AsyncIterator[tuple[Gateway, RoutingInfo]]:
    """A gateway that can pay all receivers, but not all of them at once."""
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)
        await gateway.engine.wait(
            wallet_of(scene.federation_id), lambda state: bool(getattr(state, "notes", ()))
        )
        held = await wallet(gateway, scene.federation_id)
        assert held.balance_msat > AT_ONCE * (RECEIVED_MSAT + 50_000)
        assert [note.amount_msat > RECEIVED_MSAT for note in held.notes].count(True) == 1
        assert held.balance_msat - max(note.amount_msat for note in held.notes) < RECEIVED_MSAT
        yield gateway, routing


async def invoices(scene: Scene, gateway: Gateway, routing: RoutingInfo) -> list[str]:
    """One invoice of each receiver."""
    made = []
    for _ in range(AT_ONCE):
        user = scene.world.new_user(0)
        order = IncomingOrder(RECEIVED_MSAT, scene.clock.now_unix_us() // 1_000_000)
        body = msgspec.json.encode(user.receive_body(user.receive(order, routing)))
        payload = msgspec.json.decode(body, type=CreateBolt11InvoicePayload)
        made.append(await handlers.create_bolt11_invoice(gateway, payload))
    return made


async def test_htlcs_that_come_at_once_are_all_funded(scene: Scene) -> None:
    succeeded = []

    async def pay(invoice: str) -> None:
        paying = scene.world.payee.pay(
            invoice,
            payment_hash=bolt11.decode(invoice).payment_hash,
            max_fee_msat=100_000,
            max_delay_blocks=1_000,
        )
        async with paying as statuses:
            succeeded.append(isinstance([status async for status in statuses][-1], Succeeded))

    async with with_few_notes(scene) as (gateway, routing):
        made = await invoices(scene, gateway, routing)
        async with anyio.create_task_group() as tasks:
            for invoice in made:
                tasks.start_soon(pay, invoice)
    assert succeeded == [True] * AT_ONCE


async def test_swaps_at_once_are_all_funded(scene: Scene) -> None:
    answers = []

    async with with_few_notes(scene) as (gateway, routing):
        payments = [
            await scene.funded(routing, invoice)
            for invoice in await invoices(scene, gateway, routing)
        ]
        async with anyio.create_task_group() as tasks:

            async def swap(number: int) -> None:
                user, payment = payments[number]
                answers.append(await ask(gateway, user.body(payment)))

            for number in range(AT_ONCE):
                tasks.start_soon(swap, number)
    assert len(answers) == AT_ONCE
    assert all(isinstance(answer, Paid) for answer in answers)


async def test_change_that_never_comes_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(funding_turns, "CHANGE_LIMIT_S", 0.0)
    measured: list[int] = []

    async def measure() -> receive.HtlcHeld:
        measured.append(len(measured))
        return receive.HtlcHeld(amount_msat=1, deadline_blocks=9, now_unix_s=1, refusal=None)

    async with standing_still(tmp_path) as engine:
        found = await FundingTurns().measured(engine, facts(), measure)
    assert found.refusal is None
    assert measured == [0, 1]


async def test_a_refusal_waits_for_no_change(tmp_path: Path) -> None:
    async def measure() -> receive.HtlcHeld:
        return receive.HtlcHeld(amount_msat=1, deadline_blocks=9, now_unix_s=1, refusal="no")

    async with standing_still(tmp_path) as engine:
        assert (await FundingTurns().measured(engine, facts(), measure)).refusal == "no"


@asynccontextmanager
async def standing_still(directory: Path) -> AsyncIterator[Engine]:
    """A wallet whose only note is in a transaction that is never built."""

    async def never(_effect: BuildTransaction, _context: EffectContext) -> Built:
        await anyio.sleep_forever()
        raise AssertionError

    store = Store(directory, SchemaSteps(), read_models())
    engine = Engine(store, machines(), Ports(ManualClock(), SystemRandomness(), inline))
    stream = wallet_of(FEDERATION)
    note = HeldNote(24, "00" * 16, "02" + "11" * 32, "5f" * 48)
    output = FundedContract("c0", facts().contract_msat)
    try:
        async with anyio.create_task_group() as tasks:
            await tasks.start(engine.run, {BuildTransaction: never})
            await engine.submit(stream, OpenWallet(federation_id=FEDERATION, fees=FEES))
            await engine.submit(stream, RecoverNotes(notes=(note,)))
            await engine.submit(
                stream,
                FundOutput(parent="receive/" + "ab" * 32, output=output, sign_by_unix_s=5_030),
            )
            yield engine
            tasks.cancel_scope.cancel()
    finally:
        store.close()


def facts() -> receive.ReceiveFacts:
    return receive.ReceiveFacts(
        federation_id=FEDERATION,
        contract_id="cd" * 32,
        contract="c1",
        payment_hash="ef" * 32,
        invoice_msat=1_000_000,
        contract_msat=990_000,
        contract_expires_unix_s=1_900_000_000,
        invoice_expires_unix_s=1_900_000_000,
        expiry_s=3_600,
        refund_worth_msat=0,
        description="",
    )
