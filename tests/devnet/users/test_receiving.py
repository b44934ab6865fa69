"""Receivers of an embedded federation, honest and hostile, with a stand-in for the gateway."""

import hashlib
import random

import anyio
import msgspec
import pytest

from backends.simulated.chain import SimulatedChain
from devnet.guardians.federation import EmbeddedFederation
from devnet.users.receiving import Flaw, IncomingOrder, IncomingPayment
from devnet.users.user import EmbeddedUser
from devnet.users.wallet import OwnInput, TransactionRefused
from errors import InputError, PeerError
from fedimint import lnv2
from fedimint.client.transport import GuardianRefused
from fedimint.codec import bolt11, secp
from fedimint.codec.bolt11 import InvoiceFields
from fedimint.codec.json_types import OutPointJson
from fedimint.codec.wire_types import Network, OutPoint, PeerId
from fedimint.lnv2 import tpe
from fedimint.lnv2.api import Lnv2Api
from fedimint.lnv2.config import LnV2ClientConfig
from fedimint.lnv2.decryption import Decrypted, decrypt
from fedimint.lnv2.gateway_api import CreateBolt11InvoicePayload, PaymentFee, RoutingInfo
from fedimint.lnv2.json import IncomingContractJson
from fedimint.transaction import DynItem, InputRefused, OutputRefused

pytestmark = pytest.mark.anyio

NODE_SECRET = bytes([1]) * 32
GATEWAY_SECRET = bytes([2]) * 32
FUNDS_MSAT = 4_096_000
INVOICE_MSAT = 1_000_000
CONTRACT_MSAT = 1_000_000 - 2_000 - 3_000
START_UNIX_S = 1_000
ORDER = IncomingOrder(INVOICE_MSAT, START_UNIX_S, 600, "a coffee")
ROUTING = RoutingInfo(
    lightning_public_key=secp.public_key(NODE_SECRET).hex(),
    lightning_alias="",
    module_public_key=secp.public_key(GATEWAY_SECRET).hex(),
    send_fee_minimum=PaymentFee(2_000, 3_000),
    send_fee_default=PaymentFee(4_000, 6_000),
    expiration_delta_minimum=144,
    expiration_delta_default=1_440,
    receive_fee=PaymentFee(2_000, 3_000),
    receive_enabled=True,
)


class World:
    """A federation of four, a receiver without money, and a played gateway with notes."""

    def __init__(self) -> None:
        randomness = random.Random(7)
        self.now_unix_s = START_UNIX_S
        self.federation = EmbeddedFederation(
            SimulatedChain(), randomness.randbytes, guardians=4, unix_time_s=lambda: self.now_unix_s
        )
        self.user = EmbeddedUser(self.federation, randomness.randbytes)
        self.gateway = EmbeddedUser(self.federation, randomness.randbytes)
        wallet = self.gateway.wallet
        wallet.add(self.federation.issue_notes(wallet.module, FUNDS_MSAT))
        self.api = Lnv2Api(self.federation.asked_by(), 0)

    async def fund(self, payment: IncomingPayment) -> OutPoint:
        output = self.gateway.incoming_output(payment.contract)
        funded = await self.gateway.wallet.submit([], [output])
        return OutPoint(funded.transaction.txid(), 0)

    async def decrypt(self, payment: IncomingPayment, out_point: OutPoint) -> Decrypted:
        async def keep(peer: PeerId, share: bytes) -> bytes:
            del peer
            return share

        found = self.federation.config.find(LnV2ClientConfig)
        assert found is not None
        shares = await self.api.decryption_key_share(out_point, keep)
        decrypted = decrypt(payment.contract, shares, found[1], threshold=3).decrypted
        assert decrypted is not None
        return decrypted

    async def refund(self, out_point: OutPoint, decryption_key: bytes, amount_msat: int) -> None:
        spent = lnv2.InputV0(lnv2.IncomingInput(out_point, decryption_key))
        item = DynItem(0, lnv2.INPUT.encode(spent))
        await self.gateway.wallet.submit([OwnInput(item, amount_msat, 1_000, GATEWAY_SECRET)], [])


def invoice(
    payment: IncomingPayment, amount_msat: int = INVOICE_MSAT, network: Network = "regtest"
) -> str:
    fields = InvoiceFields(
        network=network,
        amount_msat=amount_msat,
        timestamp_unix_s=START_UNIX_S,
        payment_hash=hashlib.sha256(payment.preimage).digest(),
        payment_secret=bytes(32),
        description=ORDER.description,
    )
    return bolt11.sign(fields, NODE_SECRET).text


async def test_a_funded_contract_is_decrypted_by_the_gateway_and_claimed_by_its_maker() -> None:
    world = World()
    payment = world.user.receive(ORDER, ROUTING)
    contract = payment.contract
    assert contract.commitment.amount_msat == CONTRACT_MSAT
    assert contract.commitment.expiration_unix_s == START_UNIX_S + 600
    assert contract.commitment.refund_pk == secp.public_key(GATEWAY_SECRET)
    assert tpe.verify_ciphertext(contract.ciphertext, contract.commitment_hash())
    out_point = await world.fund(payment)
    assert await world.user.await_funded(payment) == out_point
    decrypted = await world.decrypt(payment, out_point)
    assert decrypted == Decrypted(payment.preimage, payment.decryption_key)
    with pytest.raises(TransactionRefused):
        await world.refund(out_point, decrypted.decryption_key, CONTRACT_MSAT)
    await world.user.claim(payment, out_point)
    assert CONTRACT_MSAT - 10_000 < world.user.balance_msat() < CONTRACT_MSAT
    audit = world.federation.audit()
    assert audit.is_balanced()
    assert audit.contracts_msat == {}


async def test_the_request_says_what_the_contract_says() -> None:
    world = World()
    payment = world.user.receive(ORDER, ROUTING)
    body = msgspec.json.decode(
        msgspec.json.encode(world.user.receive_body(payment)), type=CreateBolt11InvoicePayload
    )
    assert body.federation_id == world.federation.federation_id.hex()
    assert body.contract.decode() == payment.contract
    assert (body.amount, body.expiry_secs) == (INVOICE_MSAT, 600)
    assert body.description.decode() == "a coffee"
    for secret in (payment.preimage, payment.claim_secret, payment.decryption_key):
        assert repr(secret) not in repr(payment)


async def test_only_the_invoice_ordered_is_shown_to_payers() -> None:
    world = World()
    payment, other = (world.user.receive(ORDER, ROUTING) for _ in range(2))
    assert payment.preimage != other.preimage
    world.user.check_invoice(payment, invoice(payment))
    for wrong in (
        invoice(other),
        invoice(payment, INVOICE_MSAT + 1),
        invoice(payment, network="bitcoin"),
    ):
        with pytest.raises(PeerError):
            world.user.check_invoice(payment, wrong)


@pytest.mark.parametrize("amount_msat", [2_000, 3_000])
def test_an_amount_that_fees_eat_up_is_not_ordered(amount_msat: int) -> None:
    with pytest.raises(InputError):
        World().user.receive(IncomingOrder(amount_msat, START_UNIX_S), ROUTING)


async def test_a_receiver_learns_that_nobody_paid() -> None:
    world = World()
    payment = world.user.receive(ORDER, ROUTING)
    answers = []

    async def wait() -> None:
        answers.append(await world.user.await_funded(payment))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        world.now_unix_s = START_UNIX_S + 600
        world.federation.consensus.wake()
    assert answers == [None]
    with pytest.raises(TransactionRefused) as refused:
        await world.fund(payment)
    error = refused.value.rejection.error()
    assert isinstance(error, OutputRefused)
    assert lnv2.OUTPUT_ERROR.decode(error.error.body).name == "ContractExpired"


async def test_a_contract_that_hides_another_preimage_goes_back_to_the_gateway() -> None:
    world = World()
    payment = world.user.receive(ORDER, ROUTING, Flaw.WRONG_PREIMAGE)
    contract = payment.contract
    assert tpe.verify_ciphertext(contract.ciphertext, contract.commitment_hash())
    out_point = await world.fund(payment)
    decrypted = await world.decrypt(payment, out_point)
    assert not lnv2.is_preimage(contract.commitment.payment_image, decrypted.preimage)
    with pytest.raises(TransactionRefused):
        await world.user.claim(payment, out_point)
    await world.refund(out_point, decrypted.decryption_key, CONTRACT_MSAT)
    assert world.federation.audit().contracts_msat == {}
    assert world.federation.audit().is_balanced()


async def test_an_invalid_ciphertext_cannot_be_funded() -> None:
    world = World()
    payment = world.user.receive(ORDER, ROUTING, Flaw.INVALID_CIPHERTEXT)
    with pytest.raises(TransactionRefused) as refused:
        await world.fund(payment)
    error = refused.value.rejection.error()
    assert isinstance(error, OutputRefused)
    assert lnv2.OUTPUT_ERROR.decode(error.error.body).name == "InvalidContract"


def test_the_other_flaws_are_for_the_gateway_to_see() -> None:
    user = World().user
    commitment = user.receive(ORDER, ROUTING, Flaw.WRONG_AMOUNT).contract.commitment
    assert commitment.amount_msat == INVOICE_MSAT
    commitment = user.receive(ORDER, ROUTING, Flaw.EXPIRED).contract.commitment
    assert commitment.expiration_unix_s == START_UNIX_S
    commitment = user.receive(ORDER, ROUTING, Flaw.FOREIGN_REFUND_KEY).contract.commitment
    assert commitment.refund_pk.hex() != ROUTING.module_public_key


async def test_a_claim_with_another_key_is_refused() -> None:
    world = World()
    payment = world.user.receive(ORDER, ROUTING)
    out_point = await world.fund(payment)
    other = world.user.receive(ORDER, ROUTING)
    wrong = msgspec.structs.replace(payment, decryption_key=other.decryption_key)
    with pytest.raises(TransactionRefused) as refused:
        await world.user.claim(wrong, out_point)
    error = refused.value.rejection.error()
    assert isinstance(error, InputRefused)
    assert lnv2.INPUT_ERROR.decode(error.error.body).name == "InvalidDecryptionKey"


async def test_guardians_list_the_contracts_that_wait_for_a_claim() -> None:
    world = World()
    guardian = world.federation.guardians[2]
    method = "module_0_await_incoming_contracts"
    payments = [world.user.receive(ORDER, ROUTING) for _ in range(3)]
    listed = [
        msgspec.json.decode(msgspec.json.encode(IncomingContractJson.of(payment.contract)))
        for payment in payments
    ]
    answers: list[object] = []

    async def wait() -> None:
        answers.append(await guardian.request(method, [0, 5]))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        out_points = [await world.fund(payments[0])]
    assert answers == [[listed[:1], 1]]
    out_points += [await world.fund(payment) for payment in payments[1:]]
    assert await guardian.request(method, [0, 2]) == [listed[:2], 2]
    assert await guardian.request(method, [1, 1024]) == [listed[1:], 3]
    await world.user.claim(payments[1], out_points[1])
    assert await guardian.request(method, [0, 2]) == [[listed[0], listed[2]], 3]
    await world.user.claim(payments[2], out_points[2])
    assert await guardian.request(method, [1, 2]) == [[], 3]
    for count in (0, 1025):
        with pytest.raises(GuardianRefused) as refused:
            await guardian.request(method, [0, count])
        assert refused.value.code == 400


async def test_a_contract_id_that_is_none_is_a_bad_request() -> None:
    guardian = World().federation.guardians[0]
    with pytest.raises(GuardianRefused) as refused:
        await guardian.request("module_0_await_incoming_contract", ["zz", 5])
    assert refused.value.code == 400
    asked = [OutPointJson("00" * 32, 0), 0]
    assert await guardian.request("module_0_await_preimage", asked) is None
