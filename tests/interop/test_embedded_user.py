"""The embedded user in a real federation: its assumptions hold with real guardians."""

import os
import time

import pytest

from devnet.processes import until
from devnet.real.fedimintd import RealFederation
from devnet.real.world import RealWorld
from devnet.users.receiving import Flaw, IncomingOrder, IncomingPayment
from devnet.users.user import EmbeddedUser
from devnet.users.wallet import OwnInput, TransactionRefused
from fedimint import lnv2
from fedimint.codec import secp
from fedimint.codec.addresses import parse_address
from fedimint.codec.wire_types import OutPoint
from fedimint.lnv2.gateway_api import PaymentFee, RoutingInfo
from fedimint.transaction import DynItem
from tests.devnet.joined import JoinedFederation

pytestmark = pytest.mark.anyio

DEPOSIT_SAT = 200_000
WITHDRAWAL_SAT = 20_000
INVOICE_MSAT = 10_000_000
BURIED_BLOCKS = 10
DEADLINE_S = 120
GATEWAY_SECRET = bytes([2]) * 32
ROUTING = RoutingInfo(
    lightning_public_key=secp.public_key(bytes([1]) * 32).hex(),
    lightning_alias="",
    module_public_key=secp.public_key(GATEWAY_SECRET).hex(),
    send_fee_minimum=PaymentFee(2_000, 3_000),
    send_fee_default=PaymentFee(4_000, 6_000),
    expiration_delta_minimum=144,
    expiration_delta_default=1_440,
    receive_fee=PaymentFee(2_000, 3_000),
    receive_enabled=True,
)


async def test_deposits_withdrawals_and_incoming_contracts(
    world: RealWorld, solo_federation: RealFederation
) -> None:
    joined = await JoinedFederation.join(solo_federation.invite_code)
    try:
        gateway, receiver = (EmbeddedUser(joined, os.urandom) for _ in range(2))
        await deposit(world, gateway)
        await withdraw(world, gateway)
        await receive(gateway, receiver)
        await be_cheated(gateway, receiver)
    finally:
        await joined.aclose()


async def deposit(world: RealWorld, user: EmbeddedUser) -> None:
    address = user.onchain.new_address()
    await world.bitcoind.send(address.text("regtest"), DEPOSIT_SAT)
    await world.mine(BURIED_BLOCKS)

    async def is_claimed() -> bool:
        return await user.onchain.claim(address) == DEPOSIT_SAT

    await until("the deposit is claimed", is_claimed, deadline_s=DEADLINE_S)
    assert DEPOSIT_SAT * 1000 - 500_000 < user.balance_msat() < DEPOSIT_SAT * 1000


async def withdraw(world: RealWorld, user: EmbeddedUser) -> None:
    address = await world.bitcoind.new_address()
    script_pubkey = parse_address(address).script_pubkey
    assert len(await user.onchain.withdraw(script_pubkey, WITHDRAWAL_SAT)) == 64

    async def is_paid() -> bool:
        await world.mine(1)
        return await world.bitcoind.received_sat(address) == WITHDRAWAL_SAT

    await until("the withdrawal is mined", is_paid, deadline_s=DEADLINE_S)


async def receive(gateway: EmbeddedUser, receiver: EmbeddedUser) -> None:
    payment = receiver.receive(order(), ROUTING)
    out_point = await fund(gateway, payment)
    assert await receiver.await_funded(payment) == out_point
    await receiver.claim(payment, out_point)
    contract_msat = payment.contract.commitment.amount_msat
    assert contract_msat - 10_000 < receiver.balance_msat() < contract_msat


async def be_cheated(gateway: EmbeddedUser, cheat: EmbeddedUser) -> None:
    """The contract hides another preimage: its key is right, and the money goes back."""
    payment = cheat.receive(order(), ROUTING, Flaw.WRONG_PREIMAGE)
    out_point = await fund(gateway, payment)
    with pytest.raises(TransactionRefused):
        await cheat.claim(payment, out_point)
    item = DynItem(0, lnv2.INPUT.encode(payment.claim(out_point)))
    amount_msat = payment.contract.commitment.amount_msat
    refund = OwnInput(item, amount_msat, 1_000, GATEWAY_SECRET)
    await gateway.wallet.submit([refund], [])
    forged = cheat.receive(order(), ROUTING, Flaw.INVALID_CIPHERTEXT)
    with pytest.raises(TransactionRefused):
        await fund(gateway, forged)


def order() -> IncomingOrder:
    return IncomingOrder(INVOICE_MSAT, int(time.time()))


async def fund(gateway: EmbeddedUser, payment: IncomingPayment) -> OutPoint:
    output = gateway.incoming_output(payment.contract)
    funded = await gateway.wallet.submit([], [output])
    return OutPoint(funded.transaction.txid(), 0)
