"""`/create_bolt11_invoice`: each check, and nothing on record for a request that fails one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from api import payment_handlers as handlers
from backends.simulated.node import Fault
from devnet.users.receiving import Flaw, IncomingOrder
from errors import ConflictError, GatewayError, InputError
from fedimint.codec import bolt11
from fedimint.lnv2.gateway_api import CreateBolt11InvoicePayload
from gateway.application import Gateway
from statemachines import receive
from tests.gateway.receiving import RECEIVED_MSAT, ordered, stream_of
from tests.gateway.scene import Scene, kinds

pytestmark = pytest.mark.anyio

OFF_CURVE = "02" + "00" * 31 + "05"
Body = dict[str, Any]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def ask(gateway: Gateway, body: Body) -> str:
    payload = msgspec.json.decode(msgspec.json.encode(body), type=CreateBolt11InvoicePayload)
    return await handlers.create_bolt11_invoice(gateway, payload)


async def refused(
    scene: Scene, gateway: Gateway, body: Body, match: str, error: type[GatewayError] = InputError
) -> None:
    before, invoices = kinds(scene.directory), set(scene.world.gateway_node.invoices)
    with pytest.raises(error, match=match):
        await ask(gateway, body)
    assert kinds(scene.directory) == before
    assert set(scene.world.gateway_node.invoices) == invoices


def commitment(name: str, value: object) -> Callable[[Body], None]:
    def change(body: Body) -> None:
        body["contract"]["commitment"][name] = value

    return change


def request(name: str, value: object) -> Callable[[Body], None]:
    return lambda body: body.update({name: value})


def one_more(body: Body) -> None:
    body["amount"] += 1


FLAWS = [
    (Flaw.INVALID_CIPHERTEXT, "ciphertext is not valid"),
    (Flaw.WRONG_AMOUNT, r"holds 5000000 msat, 5000000 msat less the fee are 4983000"),
    (Flaw.EXPIRED, "the contract has expired"),
    (Flaw.FOREIGN_REFUND_KEY, "it is another gateway's"),
]
CHANGES = [
    (one_more, "less the fee are 4983001"),
    (request("amount", 2_006), "does not cover the gateway's fee"),
    (request("amount", 0), "does not cover the gateway's fee"),
    (request("expiry_secs", 0), "open for 1 to 86400 seconds"),
    (request("expiry_secs", 86_401), "open for 1 to 86400 seconds"),
    (request("federation_id", "ab" * 32), "No federation available for prefix abababab"),
    (commitment("amount", 4_983_001), "ciphertext is not valid"),
    (commitment("payment_image", {"Point": "02" + "79be667e" * 8}), "."),
    (commitment("expiration", 1 << 64), "."),
    (commitment("claim_pk", OFF_CURVE), "."),
    (commitment("ephemeral_pk", OFF_CURVE), "."),
]


async def test_contracts_of_hostile_receivers_are_refused(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user = scene.world.new_user(0)
        order = IncomingOrder(RECEIVED_MSAT, int(scene.clock.now_s))
        for flaw, match in FLAWS:
            body = msgspec.to_builtins(user.receive_body(user.receive(order, routing, flaw)))
            await refused(scene, gateway, body, match)
        for change, match in CHANGES:
            body = msgspec.to_builtins(user.receive_body(user.receive(order, routing)))
            change(body)
            await refused(scene, gateway, body, match)


async def test_while_receiving_is_off_there_are_no_invoices(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        (status,) = (await gateway.info()).federations
        assert status.config.payment_policies == ()
        await gateway.federations.set_payment_policy(scene.federation_id, receive_enabled=False)
        (status,) = (await gateway.info()).federations
        assert status.config.payment_policies == ("ReceivesDisabled",)
        user = scene.world.new_user(0)
        order = IncomingOrder(RECEIVED_MSAT, int(scene.clock.now_s))
        body = msgspec.to_builtins(user.receive_body(user.receive(order, routing)))
        await refused(scene, gateway, body, "Receiving payments is disabled")


async def test_a_hash_has_one_invoice_whoever_asks_and_in_whichever_federation(
    scene: Scene,
) -> None:
    other = scene.add_federation("other")
    async with scene.joined() as (gateway, routing):
        await gateway.federations.connect_federation(other.invite_code().to_text(), recover=False)
        user, payment, _ = await ordered(scene, gateway, routing)
        body = msgspec.to_builtins(user.receive_body(payment))
        await refused(scene, gateway, body, "choose another preimage", ConflictError)
        there = scene.world.new_user(0, other)
        body = msgspec.to_builtins(there.receive_body(payment))
        await refused(scene, gateway, body, ".", GatewayError)


async def test_an_invoice_that_the_node_refuses_is_given_up_with_its_reason(scene: Scene) -> None:
    """What only the node knows is told to who asked and to the operator, and is not tried without end."""
    async with scene.joined() as (gateway, routing):
        scene.world.gateway_node.script(Fault.REFUSED, call="create_invoice")
        user = scene.world.new_user(0)
        payment = user.receive(IncomingOrder(RECEIVED_MSAT, int(scene.clock.now_s)), routing)
        with (
            capture_logs() as logs,
            pytest.raises(InputError, match="makes no such invoice: as the script says"),
        ):
            await ask(gateway, msgspec.to_builtins(user.receive_body(payment)))
        assert not [job for job in gateway.engine.jobs() if job.stream.startswith("receive/")]
    (told,) = [line for line in logs if line["event"] == "invoice_refused"]
    assert told["reason"] == "as the script says"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"description": {"Direct": "a" * 640}}, "at most 639 bytes, this one 640"),
        ({"description": {"Direct": "\N{HOT BEVERAGE}" * 214}}, "at most 639 bytes, this one 642"),
    ],
)
async def test_what_no_invoice_can_say_is_refused_before_anything_is_written(
    scene: Scene, change: dict[str, object], match: str
) -> None:
    async with scene.joined() as (gateway, routing):
        user = scene.world.new_user(0)
        payment = user.receive(IncomingOrder(RECEIVED_MSAT, int(scene.clock.now_s)), routing)
        body = msgspec.to_builtins(user.receive_body(payment)) | change
        await refused(scene, gateway, body, match)


async def test_the_invoice_is_the_one_ordered(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment, invoice = await ordered(scene, gateway, routing)
        user.check_invoice(payment, invoice)
        fields = bolt11.decode(invoice)
        assert fields.min_final_cltv_delta_blocks == 144
        state = (await gateway.engine.read(stream_of(invoice))).state
        assert isinstance(state, receive.Invoiced)
        assert state.facts.contract_msat == RECEIVED_MSAT - 2_000 - RECEIVED_MSAT * 3_000 // 10**6
