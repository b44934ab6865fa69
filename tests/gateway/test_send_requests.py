"""`/send_payment`: each check in its order, and nothing on record for a request that fails one."""

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api import payment_handlers as handlers
from devnet.users.user import EmbeddedUser, OutgoingPayment
from errors import GatewayError, InputError, UnavailableError
from fedimint import lnv2
from fedimint.codec import bolt11, secp
from fedimint.codec.json_types import OutPointJson
from fedimint.lnv2 import HashImage, OutgoingContract, PointImage
from fedimint.lnv2.api import OutgoingContractExpiration
from fedimint.lnv2.gateway_api import Forfeited, Paid, PaymentFee, SendPayment
from fedimint.lnv2.json import PaymentImageJson
from gateway.application import Gateway
from gateway.send_requests import verify
from statemachines import send
from tests.gateway.scene import START_UNIX_S, Scene, ask, kinds, stream_of

pytestmark = pytest.mark.anyio

MUTATIONS = 400
OFF_CURVE = "02" + "00" * 31 + "05"
SECRET = bytes(31) + b"\x09"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def body(user: EmbeddedUser, payment: OutgoingPayment) -> dict[str, Any]:
    """The request as JSON builtins, to be spoilt."""
    built: dict[str, Any] = msgspec.to_builtins(user.body(payment))
    return built


def signed(request: dict[str, Any], invoice: str, refund_secret: bytes) -> dict[str, Any]:
    """The request for another invoice, signed for it."""
    auth = secp.sign_schnorr(refund_secret, lnv2.LightningInvoice(invoice).auth_digest())
    return {**request, "invoice": {"Bolt11": invoice}, "auth": auth.hex()}


async def ask_json(gateway: Gateway, request: dict[str, Any]) -> object:
    return await ask(gateway, msgspec.json.encode(request))


async def refused(
    scene: Scene, gateway: Gateway, request: dict[str, Any], match: str, error: type = InputError
) -> None:
    """The request is refused in these words, and neither log nor node know of it."""
    before = kinds(scene.directory)
    with pytest.raises(error, match=match):
        await ask_json(gateway, request)
    assert kinds(scene.directory) == before
    assert not [s for s in gateway.engine.open_streams() if s.startswith("send/")]
    assert scene.spent_msat() == 0


async def test_a_federation_that_is_not_served(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        request = {**body(user, payment), "federation_id": "ab" * 32}
        await refused(scene, gateway, request, "^No federation available for prefix abababab$")


async def test_a_contract_for_another_gateway_comes_before_its_signature(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        request = body(user, payment)
        request["contract"]["claim_pk"] = secp.public_key(SECRET).hex()
        request["auth"] = "00" * 64
        await refused(scene, gateway, request, "it is another gateway's$")


async def test_the_signature_comes_before_joining_a_payment(scene: Scene) -> None:
    """Contract ids are public, and joining a payment yields its preimage."""
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        assert isinstance(await ask(gateway, user.body(payment)), Paid)
        before = kinds(scene.directory)
        forged = secp.sign_schnorr(SECRET, payment.invoice.auth_digest()).hex()
        with pytest.raises(
            InputError, match="auth is not a signature of the contract's refund key"
        ):
            await ask_json(gateway, {**body(user, payment), "auth": forged})
        other = scene.invoice()
        with pytest.raises(InputError, match="auth is not a signature"):
            await ask_json(gateway, {**body(user, payment), "invoice": {"Bolt11": other}})
        assert kinds(scene.directory) == before


async def test_the_node_comes_before_the_federation_is_asked(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        scene.world.gateway_node.is_down = True
        await gateway.info()
        scene.federation.guardians[0].stop()
        await refused(
            scene, gateway, body(user, payment), "no connection to its Lightning", UnavailableError
        )
        scene.federation.guardians[0].start()
        scene.world.gateway_node.is_down = False
        await gateway.info()
        assert isinstance(await ask(gateway, user.body(payment)), Paid)


async def test_a_contract_that_the_federation_does_not_hold(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        request = body(user, payment)
        request["outpoint"] = {"txid": "cd" * 32, "out_idx": 0}
        await refused(scene, gateway, request, "has no contract at this out point: fund it, then")


async def test_a_contract_at_anothers_out_point(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        _, other = await scene.funded(routing)
        request = body(user, payment)
        request["outpoint"]["txid"] = other.out_point.txid.hex()
        await refused(scene, gateway, request, "the contract at this out point is another one")


async def test_a_richer_contract_than_was_funded(scene: Scene) -> None:
    """Same keys, same hash, another amount: the federation's contract counts, not the request's."""
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        request = body(user, payment)
        request["contract"]["amount"] += 1
        await refused(scene, gateway, request, "the contract at this out point is another one")


def invoice_of(scene: Scene, **changes: Any) -> str:
    fields: dict[str, Any] = {
        "network": "regtest",
        "amount_msat": 5_000_000,
        "timestamp_unix_s": START_UNIX_S,
        "payment_hash": bytes(32),
        "payment_secret": bytes(32),
        "description": "x",
    }
    return bolt11.sign(bolt11.InvoiceFields(**(fields | changes)), scene.world.payee.secret).text


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"amount_msat": None}, "the invoice names no amount"),
        ({}, "image is not the invoice's payment hash"),
    ],
)
async def test_an_invoice_that_the_contract_does_not_pay(
    scene: Scene, changes: dict[str, Any], match: str
) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        invoice = invoice_of(scene, **changes)
        request = signed(body(user, payment), invoice, payment.refund_secret)
        await refused(scene, gateway, request, match)


@pytest.mark.parametrize(
    "text", ["", "lnbcrt", "not an invoice", "lnbcrt1" + "q" * 500, "é☃\u0000"]
)
async def test_an_invoice_that_is_none(scene: Scene, text: str) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        request = signed(body(user, payment), text, payment.refund_secret)
        await refused(scene, gateway, request, "invoice|bech32|character|HRP|separator")


async def test_an_invoice_for_nothing_gives_the_money_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients fund a contract for it, and no node pays it: a refusal on record is what helps them."""
    monkeypatch.setattr(bolt11, "_amount_text", lambda _amount_msat: "0n")
    invoice = invoice_of(scene)
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing, invoice)
        answer = await ask(gateway, user.body(payment))
        assert isinstance(answer, Forfeited)
        await user.settle(payment, answer)
    assert not scene.federation.audit().contracts_msat
    assert scene.spent_msat() == 0


async def test_an_invoice_that_never_expires(scene: Scene) -> None:
    """Its last second is beyond 64 bits, and the log has to give it back."""
    async with scene.joined() as (gateway, routing):
        digest = bytes(31) + b"\x01"
        invoice = invoice_of(scene, payment_hash=digest, expiry_s=(1 << 64) - 1)
        user, payment = await scene.funded(routing)
        contract = msgspec.structs.replace(payment.contract, payment_image=HashImage(digest))
        payment = await funded_contract(scene, contract, payment.refund_secret, invoice)
        answer = await ask(gateway, user.body(payment))
        assert isinstance(answer, Forfeited)
    async with scene.serving() as gateway:
        assert await ask(gateway, user.body(payment)) == answer


async def test_a_contract_for_a_point(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        image = PointImage(secp.public_key(SECRET))
        contract = msgspec.structs.replace(payment.contract, payment_image=image)
        payment = await funded_contract(
            scene, contract, payment.refund_secret, payment.invoice.bolt11
        )
        await refused(
            scene, gateway, body(user, payment), "image is not the invoice's payment hash"
        )


async def funded_contract(
    scene: Scene, contract: OutgoingContract, refund_secret: bytes, invoice: str
) -> OutgoingPayment:
    user = scene.world.new_user(40_000 * 512)
    return await user.fund_contract(contract, refund_secret, invoice)


@pytest.mark.parametrize("case", [str.upper, str.lower])
async def test_hex_of_either_case_is_one_payment(scene: Scene, case: Any) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        request = body(user, payment)
        for where, key in ((request, "auth"), (request, "federation_id")):
            where[key] = case(where[key])
        request["outpoint"]["txid"] = case(request["outpoint"]["txid"])
        for key in ("claim_pk", "refund_pk", "ephemeral_pk"):
            request["contract"][key] = case(request["contract"][key])
        first = await ask_json(gateway, request)
        assert isinstance(first, Paid)
        assert await ask(gateway, user.body(payment)) == first
        assert kinds(scene.directory).count("send.accepted") == 1


CONTRACT_SPOILS: list[dict[str, Any]] = [
    {"payment_image": PaymentImageJson(point=OFF_CURVE)},
    {"payment_image": PaymentImageJson(hash="00" * 31)},
    {"payment_image": PaymentImageJson(hash="zz")},
    {"amount": 1 << 64},
    {"amount": -1},
    {"expiration": 1 << 64},
    {"refund_pk": OFF_CURVE},
    {"refund_pk": ""},
    {"refund_pk": "04" + "11" * 64},
    {"ephemeral_pk": OFF_CURVE},
    {"claim_pk": "00" * 33},
]
REQUEST_SPOILS: list[dict[str, Any]] = [
    {"auth": ""},
    {"auth": "00" * 63},
    {"auth": "xy" * 64},
    {"outpoint": OutPointJson("00" * 31, 0)},
    {"outpoint": OutPointJson("not hex", 0)},
    {"outpoint": OutPointJson("00" * 32, 1 << 64)},
    {"outpoint": OutPointJson("00" * 32, -1)},
]


@pytest.mark.parametrize("spoil", CONTRACT_SPOILS + REQUEST_SPOILS, ids=str)
async def test_hostile_values_that_got_past_the_shape(scene: Scene, spoil: dict[str, Any]) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        request = user.body(payment)
        if spoil in REQUEST_SPOILS:
            request = msgspec.structs.replace(request, **spoil)
        else:
            contract = msgspec.structs.replace(request.contract, **spoil)
            request = msgspec.structs.replace(request, contract=contract)
        before = kinds(scene.directory)
        with pytest.raises(InputError):
            await handlers.send_payment(gateway, request)
        assert kinds(scene.directory) == before


def spoilt(request: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """One or two leaves of the request changed: a character, a length, a number, a case, or its absence."""
    changed: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(request))
    for _ in range(chance.randrange(1, 3)):
        where = changed
        key = chance.choice(list(where))
        while isinstance(where.get(key), dict) and where[key]:
            where = where[key]
            key = chance.choice(list(where))
        where[key] = _spoilt_leaf(where.get(key), chance)
    return changed


def _spoilt_leaf(leaf: Any, chance: random.Random) -> Any:
    if isinstance(leaf, int):
        return chance.choice([0, leaf + 1, leaf - 1, (1 << 63) - 1, (1 << 64) - 1, -1, None])
    if not isinstance(leaf, str) or not leaf:
        return chance.choice([None, "", 7])
    at = chance.randrange(len(leaf))
    return chance.choice(
        [
            leaf[:at] + chance.choice("0123456789abcdefq") + leaf[at + 1 :],
            leaf[:-1],
            leaf + "0",
            leaf.upper(),
            "",
            leaf[:at] + "é" + leaf[at + 1 :],
            None,
        ]
    )


async def test_no_spoilt_request_pays_or_raises_what_it_should_not(scene: Scene) -> None:
    """Fixed seeds: the world is dealt once, and each of its requests is one example."""
    outcomes: set[str] = set()
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        genuine = body(user, payment)
        before = kinds(scene.directory)
        for seed in range(MUTATIONS):
            request = spoilt(genuine, random.Random(seed))
            if _same(request, genuine):
                continue
            try:
                await ask_json(gateway, request)
            except (GatewayError, msgspec.ValidationError, msgspec.DecodeError) as error:
                outcomes.add(str(error)[:25])
            else:
                pytest.fail(f"seed {seed} was accepted")
            assert isinstance(gateway.engine.peek(stream_of(payment)), send.New), seed
        assert kinds(scene.directory) == before
        assert isinstance(await ask_json(gateway, genuine), Paid)
    assert len(outcomes) > 8


def _same(request: dict[str, Any], genuine: dict[str, Any]) -> bool:
    """Whether only the case of hex differs, which both sides take for the same."""
    return str(request).lower() == str(genuine).lower()


async def test_a_contract_that_its_own_claim_would_eat_up_covers_nothing(scene: Scene) -> None:
    """With fees of zero the federation's fee on the claim is still the least that a contract must hold."""
    async with scene.joined() as (gateway, routing):
        _, payment = await scene.funded(routing, scene.invoice(amount_msat=400))
        federation = gateway._context.federations.client(scene.federation_id)
        contract = msgspec.structs.replace(payment.contract, amount_msat=400)
        request = SendPayment(
            scene.federation.federation_id, payment.out_point, contract, payment.invoice, b""
        )
        verified = verify(
            request,
            federation,
            OutgoingContractExpiration(contract.contract_id(), 1_000),
            minimum_fee=PaymentFee(0, 0),
            network="regtest",
            own_node=scene.world.gateway_node.public_key,
        )
    assert verified.facts.minimum_msat == federation.facts.module_fees.lnv2.fee_msat(400)
    assert verified.facts.max_fee_msat < 0
