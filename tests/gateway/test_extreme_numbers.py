"""Numbers that no honest peer sends: bounded work, a sentence for the caller, everything else continues."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from api import payment_handlers as handlers
from api.body import BodyShapeError, decode
from api.gates import RateLimit, TokenBucket
from api.routes import Route, routes
from api.testing import canned
from api.treasury_handlers import withdraw
from api.treasury_structs import Feerate, PegOutFees, SpendEcashPayload, WithdrawPayload
from devnet.users.receiving import IncomingOrder
from errors import GatewayError, InputError
from fedimint.codec.wire_types import MOST_MSAT, MOST_SAT
from fedimint.lnv2.gateway_api import CreateBolt11InvoicePayload, Paid, SendPaymentPayload
from fedimint.mintv2.selection import MAX_ISSUED_NOTES
from gateway.log import machines
from statemachines import deposits, send
from statemachines.deposits import AddressGround, DepositAddress
from statemachines.reserving import CLAIM_MAX_MSAT
from statemachines.transaction import TxReserved
from tests.gateway.lying import let_lie, unfunded
from tests.gateway.receiving import give_ecash, ordered
from tests.gateway.scene import INVOICE_MSAT, Scene, ask, asking, kinds, stream_of, until

pytestmark = pytest.mark.anyio
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
SCRIPT = "0020" + "ab" * 32
EXTREMES = (MOST_MSAT, 2**63, 2**64 - 1)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.mark.parametrize("amount_msat", [CLAIM_MAX_MSAT + 1, *EXTREMES])
async def test_a_contract_too_large_for_one_claim_is_refused_with_nothing_written(
    scene: Scene, amount_msat: int
) -> None:
    """All guardians swear that it is there; its claim would be more notes than a transaction has room for."""
    evil = scene.add_federation("evil")
    lies = let_lie(scene, evil)
    async with scene.joined() as (gateway, routing):
        await gateway.federations.connect_federation(evil.invite_code().to_text(), recover=False)
        evil_routing = await gateway.payments.routing_info(evil.federation_id.hex())
        assert evil_routing is not None
        named = msgspec.structs.replace(routing, module_public_key=evil_routing.module_public_key)
        user, payment, lie = unfunded(scene, evil, named, amount_msat)
        lies["outgoing_contract_expiration"] = lie
        before = kinds(scene.directory)
        with pytest.raises(InputError, match=r"at most|more than all bitcoin"):
            await handlers.send_payment(gateway, user.body(payment))
        assert kinds(scene.directory) == before
        honest, payment = await scene.funded(routing)
        assert isinstance(await ask(gateway, honest.body(payment)), Paid)


@pytest.mark.slow
async def test_the_largest_contract_is_claimed_in_one_transaction(scene: Scene) -> None:
    """Guardians who vouch for it lose what they sign, and nobody waits for the loop meanwhile."""
    evil = scene.add_federation("evil")
    lies = let_lie(scene, evil)
    async with scene.joined() as (gateway, routing):
        await gateway.federations.connect_federation(evil.invite_code().to_text(), recover=False)
        await gateway.federations.set_exposure_cap(evil.federation_id.hex(), 2 * CLAIM_MAX_MSAT)
        evil_routing = await gateway.payments.routing_info(evil.federation_id.hex())
        assert evil_routing is not None
        named = msgspec.structs.replace(routing, module_public_key=evil_routing.module_public_key)
        user, payment, lie = unfunded(scene, evil, named, CLAIM_MAX_MSAT)
        lies["outgoing_contract_expiration"] = lie
        async with asking(gateway, user.body(payment)) as answers:
            await until(gateway, payment, send.Claiming, send.ClaimRejected)
            await scene.drive(lambda: bool(answers))
        assert isinstance(answers[0], Paid)
        *_, last = (
            event
            for chained in gateway._context.store.rows()
            if isinstance(event := machines().codec.decode(chained.row.event), TxReserved)
        )
        assert 100 <= len(last.reservation.issues) <= MAX_ISSUED_NOTES


@pytest.mark.parametrize("value_sat", [MOST_SAT, 2**64 - 1])
async def test_a_deposit_of_more_than_can_be_is_nothing_or_dropped(
    scene: Scene, value_sat: int
) -> None:
    lies = let_lie(scene, scene.federation)
    listed = {"index": 0, "script": SCRIPT, "value": value_sat, "spent": False, "outpoint": None}
    lies["output_info_slice"] = lambda params: [listed] if params[0] == 0 else []  # type: ignore[index]
    async with scene.joined() as (gateway, routing):
        stream = deposits.stream_of(scene.federation_id)
        for index in (0, 1, 2):
            script = SCRIPT if index == 0 else "0020" + f"{index:02x}" * 32
            await gateway.engine.submit(
                stream, AddressGround(address=DepositAddress(index, script))
            )
        scanned = {job.effect: job for job in gateway.engine.jobs() if job.stream == stream}
        assert "ScanOutputs" in scanned
        if value_sat > MOST_SAT:
            await scene.drive(lambda: _error_of(gateway, stream) is not None)
            assert "more than all bitcoin" in str(_error_of(gateway, stream))
            assert "deposit.found" not in kinds(scene.directory)
        else:
            await scene.drive(lambda: "deposit.dropped" in kinds(scene.directory))
        user, payment = await scene.funded(routing)
        assert isinstance(
            await scene.while_time_passes(lambda: ask(gateway, user.body(payment))), Paid
        )


def _error_of(gateway: object, stream: str) -> str | None:
    jobs = gateway.engine.jobs()  # type: ignore[attr-defined]  # a gateway
    return next((job.last_error for job in jobs if job.stream == stream and job.last_error), None)


@pytest.mark.parametrize("amount_msat", EXTREMES)
async def test_no_request_names_more_than_there_is(scene: Scene, amount_msat: int) -> None:
    """The API's own bound, before anything is looked at."""
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        sent = msgspec.to_builtins(user.body(payment))
        sent["contract"]["amount"] = amount_msat
        receiving = user.receive(IncomingOrder(2_000_000, int(scene.clock.now_s)), routing)
        received = msgspec.to_builtins(user.receive_body(receiving))
        received["amount"] = received["contract"]["commitment"]["amount"] = amount_msat
        spent = {"federation_id": scene.federation_id, "amount": amount_msat}
        for body, shape in (
            (sent, SendPaymentPayload),
            (received, CreateBolt11InvoicePayload),
            (spent, SpendEcashPayload),
        ):
            encoded = msgspec.json.encode(body)
            if amount_msat <= MOST_MSAT:
                assert decode(encoded, shape) is not None
                continue
            with pytest.raises(BodyShapeError):
                decode(encoded, shape)
        with pytest.raises(InputError, match="give it in parts"):
            await gateway.treasury.spend_ecash(scene.federation_id, CLAIM_MAX_MSAT + 1)


async def test_an_invoice_of_more_than_one_transaction_takes_back_is_not_made(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        order = IncomingOrder(2 * CLAIM_MAX_MSAT, int(scene.clock.now_s))
        with pytest.raises(InputError, match="take it in parts"):
            await ordered(scene, gateway, routing, order=order)


async def test_a_quoted_fee_of_more_than_there_is_is_refused(scene: Scene) -> None:
    async with scene.joined() as (gateway, _):
        await give_ecash(scene, gateway)
        quoted = PegOutFees(Feerate(2**63 - 1), 2**63 - 1)
        payload = WithdrawPayload(scene.federation_id, 20_000, "bcrt1q", quoted)
        with pytest.raises(InputError, match="more than all bitcoin"):
            await withdraw(gateway, payload)


async def test_the_loop_goes_on_while_the_largest_numbers_are_looked_at(scene: Scene) -> None:
    """What a stranger names is refused before anything of its size is made: 32 requests at once, and one that pays."""
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        body = msgspec.to_builtins(user.body(payment))
        refused = 0

        async def name(amount_msat: int) -> None:
            nonlocal refused
            spoilt = {**body, "contract": {**body["contract"], "amount": amount_msat}}
            try:
                await ask(gateway, msgspec.json.encode(spoilt))
            except InputError:
                refused += 1

        async with anyio.create_task_group() as tasks:
            for number in range(32):
                tasks.start_soon(name, MOST_MSAT - number)
            assert isinstance(await ask(gateway, user.body(payment)), Paid)
        assert refused == 32
        assert scene.spent_msat() == INVOICE_MSAT + _routing_fee_msat(gateway, stream_of(payment))


def _routing_fee_msat(gateway: object, stream: str) -> int:
    state = gateway.engine.peek(stream)  # type: ignore[attr-defined]  # a gateway
    return int(state.routing_fee_msat)


# --- the operator's requests -----------------------------------------------------------------------------------------

NUMBERS = (-1, 0, 2**31, MOST_SAT + 1, MOST_MSAT + 1, 2**63 - 1, 2**63, 2**64 - 1, 10**30)
PEER = "02" + "11" * 32


def _operator_bodies(federation_id: str) -> dict[str, Any]:
    """By path, a body of every number that the route takes."""
    flat = {"fee_rate": {"sats_per_kvb": 1_000}, "total_weight": 4_000}
    fees = ("lightning_base", "lightning_parts_per_million", "transaction_base")
    coins = {"federation_id": federation_id, "amount": 20_000}
    channel = {"pubkey": PEER, "host": "127.0.0.1:9735", "channel_size_sats": 20_000}
    return {
        "/set_fees": dict.fromkeys((*fees, "transaction_parts_per_million"), 1000),
        "/withdraw": {**coins, "address": ADDRESS, "quoted_fees": flat},
        "/withdraw_to_onchain": coins,
        "/spend_ecash": coins,
        "/list_sent_ecash": {"limit": 10},
        "/create_bolt11_invoice_for_operator": {"amount_msats": 1_000, "expiry_secs": 60},
        "/list_transactions": {"start_secs": 0, "end_secs": 10},
        "/send_onchain": {"address": ADDRESS, "amount": 1_000, "fee_rate_sats_per_vbyte": 2},
        "/open_channel_with_push": {**channel, "push_amount_sats": 0, "fee_rate_sats_per_vbyte": 2},
        "/close_channels_with_peer": {"pubkey": PEER, "sats_per_vbyte": 1},
        "/set_channel_fees": {
            "funding_outpoint": f"{'11' * 32}:0",
            "base_fee_msat": 1,
            "parts_per_million": 1,
        },
        "/payment_log": {
            "federation_id": federation_id,
            "pagination_size": 10,
            "event_kinds": [],
            "end_position": 5,
        },
        "/payment_summary": {"start_millis": 0, "end_millis": 10},
    }


def _with_other_numbers(body: Any) -> Iterator[Any]:
    """The body with one of its numbers replaced."""
    for name, value in body.items():
        if isinstance(value, dict):
            for inner in _with_other_numbers(value):
                yield {**body, name: inner}
        elif isinstance(value, int):
            for number in NUMBERS:
                yield {**body, name: number}


async def _answer(route: Route, encoded: bytes) -> object:
    try:
        return await route.handle(decode(encoded, route.body))
    except GatewayError as error:
        return error


async def test_no_number_of_the_operator_is_an_error_of_ours(scene: Scene) -> None:
    async def stop() -> None:
        """Nobody calls it here."""

    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        bucket = TokenBucket(RateLimit(burst=1))
        table = {route.path: route for route in routes(gateway, canned.facts(), bucket, stop)}
        bodies = _operator_bodies(scene.federation_id)
        refused = 0
        for path, body in bodies.items():
            for spoilt in _with_other_numbers(body):
                encoded = json.dumps(spoilt).encode()
                answer = await scene.while_time_passes(partial(_answer, table[path], encoded))
                if isinstance(answer, GatewayError):
                    refused += 1
                else:
                    assert msgspec.json.encode(answer), path
        assert refused > len(bodies) * len(NUMBERS) // 2
        user, payment = await scene.funded(routing)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)
