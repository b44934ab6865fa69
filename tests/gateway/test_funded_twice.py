"""One contract funded at two out points: it is paid once, with one id."""

from pathlib import Path

import pytest

from fedimint.lnv2.gateway_api import Forfeited, Paid
from statemachines import send
from tests.gateway.scene import (
    INVOICE_MSAT,
    USER_MSAT,
    Scene,
    ask,
    kinds,
    until,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_it_is_paid_once_and_only_the_first_is_claimed(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, first = await scene.funded(routing)
        again = scene.world.new_user(USER_MSAT)
        second = await again.fund_contract(
            first.contract, first.refund_secret, first.invoice.bolt11
        )
        answer = await ask(gateway, user.body(first))
        assert isinstance(answer, Paid)
        claimed = await until(gateway, first, send.Claimed)
        assert isinstance(claimed, send.Claimed)
        assert await ask(gateway, again.body(second)) == answer
        assert scene.spent_msat() == INVOICE_MSAT + claimed.routing_fee_msat
        assert set(scene.federation.audit().contracts_msat) == {second.out_point}
    assert kinds(scene.directory).count("send.dispatching") == 1


async def test_once_forfeited_it_is_forfeited_for_ever_and_never_paid(scene: Scene) -> None:
    """The signature is over the contract, so its holder takes every later funding back."""
    async with scene.joined() as (gateway, routing):
        user, first = await scene.funded(routing, scene.invoice(expiry_s=0))
        answer = await ask(gateway, user.body(first))
        assert isinstance(answer, Forfeited)
        await user.settle(first, answer)
        again = scene.world.new_user(USER_MSAT)
        second = await again.fund_contract(
            first.contract, first.refund_secret, first.invoice.bolt11
        )
        assert await ask(gateway, again.body(second)) == answer
        await again.settle(second, answer)
        assert not scene.federation.audit().contracts_msat
    assert scene.spent_msat() == 0
    assert "send.dispatching" not in kinds(scene.directory)
