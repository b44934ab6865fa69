"""Invoices of receivers, from the request to the ecash: what HTLCs are answered, and when nothing is funded."""

from pathlib import Path

import pytest

from backends.lightning import Succeeded
from devnet.receiving import IncomingOrder
from statemachines import receive
from tests.gateway.receiving import RECEIVED_MSAT, give_ecash, ordered, paying, until
from tests.gateway.scene import Scene

pytestmark = pytest.mark.anyio


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_a_contract_of_lnurl_writes_its_fee_where_others_write_their_expiration(
    scene: Scene,
) -> None:
    """2^64-1 less the fee, as recurringd makes them: a number that fits into no signed integer."""
    async with scene.joined() as (gateway, routing):
        await give_ecash(scene, gateway)
        fee_msat, expiry_s = 17_000, 3_600
        order = IncomingOrder(RECEIVED_MSAT, (1 << 64) - 1 - fee_msat - expiry_s, expiry_s)
        user, payment, invoice = await ordered(scene, gateway, routing, order=order)
        async with paying(scene, invoice) as heard:
            await until(gateway, invoice, receive.Received)
        assert isinstance(heard[-1], Succeeded)
        assert heard[-1].preimage == payment.preimage
        out_point = await user.await_funded(payment)
        assert out_point is not None
        await user.claim(payment, out_point)
        assert user.balance_msat() > RECEIVED_MSAT * 9 // 10
