"""Pasted text of the operator is cleaned everywhere, and only what was meant is paid."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from errors import InputError
from fedimint.codec import bolt11
from fedimint.mintv2 import Ecash
from gateway.application import Gateway
from gateway.views import WithdrawalRequest
from statemachines import operator_payment, withdrawal
from statemachines.node_order import SendCoins
from tests.gateway.scene import INVOICE_MSAT, Scene, kinds
from tests.log_bytes import log_bytes

pytestmark = pytest.mark.anyio
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
COINS_SAT = 102_400
PAID_SAT = 20_000


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@asynccontextmanager
async def rich(scene: Scene) -> AsyncIterator[Gateway]:
    """A gateway with ecash of a federation that has as much bitcoin."""
    async with scene.joined() as (gateway, _):
        scene.federation.endow(COINS_SAT)
        await gateway.payments.receive_ecash(
            scene.federation.issue_ecash(COINS_SAT * 1_000).to_text()
        )
        yield gateway


def broken(text: str) -> str:
    """As mail breaks a long line."""
    return f"  {text[:40]}\r\n    {text[40:]}\n"


def withdrawals(scene: Scene) -> int:
    return kinds(scene.directory).count(withdrawal.WithdrawalRequested.kind)


async def test_an_invite_code(scene: Scene) -> None:
    async with scene.serving() as gateway:
        joined = await gateway.federations.connect_federation(
            f"fedimint:{broken(scene.invite())}", recover=False
        )
    assert joined.federation_id == scene.federation_id
    assert joined.config.invite_code == scene.invite()


async def test_ecash_goes_out_and_comes_back(scene: Scene) -> None:
    async with rich(scene) as gateway:
        text = await gateway.treasury.spend_ecash(scene.federation_id, 1_024)
        assert await gateway.payments.receive_ecash(broken(text)) == Ecash.parse(text).amount_msat()


async def test_the_invoice_of_a_uri_is_recorded_without_what_stood_around(scene: Scene) -> None:
    invoice = scene.invoice()
    async with scene.serving() as gateway:
        paid = await gateway.node.pay_operator_invoice(f"LIGHTNING:{broken(invoice.upper())}")
        again = await gateway.node.pay_operator_invoice(
            f"bitcoin:{ADDRESS}?amount={INVOICE_MSAT / 100_000_000_000:.8f}&lightning={invoice}"
        )
        payment_hash = bolt11.decode(invoice).payment_hash.hex()
        state = gateway.engine.peek(operator_payment.stream_of(payment_hash))
    assert again == paid
    assert isinstance(state, operator_payment.Paid)
    assert state.facts.invoice == invoice.upper()


async def test_no_invoice_is_refused_by_its_name(scene: Scene) -> None:
    async with scene.serving() as gateway:
        with pytest.raises(InputError, match="no invoice, but a Lightning address"):
            await gateway.node.pay_operator_invoice("user@example.org")


@pytest.mark.parametrize(
    "pasted", [broken(ADDRESS), f'"{ADDRESS}"', f"bitcoin:{ADDRESS}?amount=0.00020000&label=a b"]
)
async def test_an_address_to_withdraw_to(scene: Scene, pasted: str) -> None:
    async with rich(scene) as gateway:
        await gateway.treasury.withdraw(
            WithdrawalRequest(scene.federation_id, pasted, PAID_SAT, None)
        )
    log = log_bytes(scene.directory)
    assert f'"address":"{ADDRESS}"'.encode() in log
    assert b"label" not in log


async def test_a_uri_that_asks_for_another_amount_pays_nothing(scene: Scene) -> None:
    uri = f"bitcoin:{ADDRESS}?amount=0.0002"
    async with rich(scene) as gateway:
        for amount_sat, given in ((PAID_SAT * 1_000, "20000000 sat were"), (None, "all there is")):
            words = f"the URI asks for 20000 sat, but {given}"
            with pytest.raises(InputError, match=words):
                await gateway.treasury.withdraw(
                    WithdrawalRequest(scene.federation_id, uri, amount_sat, None)
                )
            with pytest.raises(InputError, match=words):
                await gateway.node.send_onchain(SendCoins(uri, amount_sat, 2))
    assert withdrawals(scene) == 0
    assert "node_order.requested" not in kinds(scene.directory)


async def test_coins_of_the_node_go_to_a_pasted_address(scene: Scene) -> None:
    scene.world.gateway_node.fund_onchain(COINS_SAT)
    scene.world.chain.mine()
    async with scene.serving() as gateway:
        await gateway.node.send_onchain(SendCoins(f"bitcoin:{broken(ADDRESS)}", 50_000, 2))
    assert f'"address":"{ADDRESS}"'.encode() in log_bytes(scene.directory)


async def test_where_nothing_is_sent_the_amount_of_a_uri_means_nothing(scene: Scene) -> None:
    async with scene.joined() as (gateway, _):
        await gateway.treasury.recheck_address(scene.federation_id, f"bitcoin:{ADDRESS}?amount=0.5")
