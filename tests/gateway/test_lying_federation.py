"""A federation of lying guardians causes little work, and others are served meanwhile."""

from pathlib import Path

import anyio
import msgspec
import pytest

from devnet.guardians.federation import EmbeddedFederation
from devnet.users.user import EmbeddedUser, OutgoingPayment
from errors import GatewayError
from fedimint.client.transport import MAX_ERROR_CHARS, GuardianRefused
from fedimint.codec.encoding import BYTES
from fedimint.lnv2.gateway_api import Paid, RoutingInfo
from gateway.application import Gateway
from statemachines import send
from tests.gateway.lying import let_lie
from tests.gateway.receiving import give_ecash, ordered, paying
from tests.gateway.scene import INVOICE_MSAT, Scene, ask, stream_of, until

pytestmark = pytest.mark.anyio
ENDPOINTS = (
    *("session_count", "submit_transaction", "await_transaction", "consensus_block_count"),
    *("outgoing_contract_expiration", "await_preimage", "await_incoming_contract"),
    *("decryption_key_share", "signature_shares", "output_info_slice", "transaction_id"),
    *("pending_transaction_chain", "receive_fee", "send_fee", "federation_wallet"),
)
ANSWERS: tuple[object, ...] = (
    None,
    0,
    2**64 - 1,
    10**400,
    "ff" * 30_000,
    [["00" * 32, 2**64 - 1]] * 500,
    {"index": 2**64 - 1, "value": 2**64 - 1},
)
#: Rows that an hour of lies may write: what was under way is tried again, and nothing grows.
ROWS_MAX = 40
HOUR_S = 3_600.0


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def _user_of(
    scene: Scene, gateway: Gateway, federation: EmbeddedFederation
) -> tuple[RoutingInfo, EmbeddedUser, OutgoingPayment]:
    """A federation joined, and somebody in it with a contract for an invoice that its payee holds."""
    await gateway.federations.connect_federation(federation.invite_code().to_text(), recover=False)
    told = await gateway.payments.routing_info(federation.federation_id.hex())
    routing = msgspec.convert(msgspec.to_builtins(told), RoutingInfo)
    user = scene.world.new_user(2 * INVOICE_MSAT // 512 * 512, federation)
    held = scene.world.payee.make_invoice(INVOICE_MSAT, is_held=True)
    return routing, user, await user.fund(held.text, routing)


def _rows(gateway: Gateway) -> int:
    return gateway._context.store.head.position


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: repr(answer)[:20])
async def test_an_hour_of_lies_about_everything_is_little_work_and_ends_nothing(
    scene: Scene, answer: object
) -> None:
    """They begin when a payment is in flight, one is about to be received, and an address is watched."""
    evil = scene.add_federation("evil")
    lies = let_lie(scene, evil)
    async with scene.joined() as (gateway, honest_routing):
        routing, user, payment = await _user_of(scene, gateway, evil)
        await give_ecash(scene, gateway, federation=evil)
        _, _, invoice = await ordered(scene, gateway, routing, federation=evil)
        async with anyio.create_task_group() as callers:
            callers.start_soon(_ask_and_hear, gateway, user, payment)
            await until(gateway, payment, send.InFlight)
            lies |= {name: lambda _params: answer for name in ENDPOINTS}
            async with paying(scene, invoice):
                before = _rows(gateway)
                end_s = scene.clock.now_s + HOUR_S
                await scene.drive(lambda: scene.clock.now_s >= end_s, step_s=30.0)
                assert _rows(gateway) - before <= ROWS_MAX
                honest, theirs = await scene.funded(honest_routing)
                paid = await scene.while_time_passes(lambda: ask(gateway, honest.body(theirs)))
                assert isinstance(paid, Paid)
                assert (await gateway.info()).state == "Running"
                assert all(len(problem) < 2_000 for problem in (await gateway.info()).problems)
                callers.cancel_scope.cancel()


async def _ask_and_hear(gateway: Gateway, user: EmbeddedUser, payment: OutgoingPayment) -> None:
    try:
        await ask(gateway, user.body(payment))
    except GatewayError as error:
        pytest.fail(f"a payment in flight is answered by an error: {error}")


async def test_an_error_of_a_hundred_kilobytes_is_kept_to_its_beginning(scene: Scene) -> None:
    """A threshold of guardians agrees on it, so the claim is over; its text is in the log, and shown."""
    outcome = BYTES.encode(b"\x00" + b"\xff" * 100_000).hex()
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        scene.federation.faults(0).lie = lambda method, result: (
            [outcome] if method == "submit_transaction" else result
        )
        assert isinstance(await ask(gateway, user.body(payment)), Paid)
        state = await until(gateway, payment, send.ClaimRejected)
        assert isinstance(state, send.ClaimRejected)
        longest = max(
            len(chained.row.event.body)
            for chained in gateway._context.store.rows()
            if chained.row.kind in {"tx.rejected", "send.claim_rejected"}
        )
        assert MAX_ERROR_CHARS < longest < 2 * MAX_ERROR_CHARS
        assert stream_of(payment) not in gateway.engine.open_streams()


def test_errors_of_guardians_are_cut_when_they_are_made() -> None:
    assert len(GuardianRefused(500, "x" * 10**6).message) == MAX_ERROR_CHARS
