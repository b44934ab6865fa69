"""The real peers start and work together, as the other tests assume."""

import pytest

from devnet.real.fedimintd import RealFederation
from devnet.real.lnd_node import InvoiceState
from devnet.real.world import RealWorld

pytestmark = pytest.mark.anyio

_DEPOSIT_SAT = 1_000_000


async def test_alice_and_bob_pay_each_other(world: RealWorld) -> None:
    for payer, payee in ((world.alice, world.bob), (world.bob, world.alice)):
        invoice = await payee.add_invoice(1_234_567)
        payment = await payer.pay(invoice.payment_request)
        assert payment.value_msat == 1_234_567
        status = await payee.lookup(invoice.payment_hash)
        assert status.state is InvoiceState.SETTLED
        assert status.amount_paid_msat == 1_234_567


async def test_a_user_pegs_in_at_one_guardian(
    world: RealWorld, solo_federation: RealFederation
) -> None:
    await _user_pegs_in(world, solo_federation)


async def test_a_user_pegs_in_at_four_guardians(
    world: RealWorld, quad_federation: RealFederation
) -> None:
    await _user_pegs_in(world, quad_federation)


async def test_ecash_moves_between_users_while_a_guardian_is_down(
    world: RealWorld, quad_federation: RealFederation
) -> None:
    payer, payee = world.new_user(), world.new_user()
    for user in (payer, payee):
        await user.join(quad_federation.invite_code)
    await payer.peg_in(_DEPOSIT_SAT)
    guardian = quad_federation.guardians[3]
    await guardian.program.stop()
    try:
        await payee.receive_ecash(await payer.send_ecash(1_024_000))
    finally:
        await guardian.restart()
    # The federation's fee per note is taken from what is received.
    assert 0 < await payee.balance_msat() <= 1_024_000


async def test_a_guardian_vets_a_gateway(world: RealWorld, solo_federation: RealFederation) -> None:
    user = world.new_user()
    await user.join(solo_federation.invite_code)
    url = "http://127.0.0.1:1/"
    password = solo_federation.guardians[0].password
    await user.add_gateway(url, guardian_id=0, guardian_password=password)
    assert url in await user.gateways()
    await user.remove_gateway(url, guardian_id=0, guardian_password=password)
    assert url not in await user.gateways()


async def _user_pegs_in(world: RealWorld, federation: RealFederation) -> None:
    user = world.new_user()
    await user.join(federation.invite_code)
    assert await user.balance_msat() == 0
    balance_msat = await user.peg_in(_DEPOSIT_SAT)
    # The deposit minus what chain and federation take for it.
    assert 0.99 * _DEPOSIT_SAT * 1000 < balance_msat < _DEPOSIT_SAT * 1000
