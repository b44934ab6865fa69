"""How long a payment's HTLC may be locked: never beyond the sender's contract."""

from pathlib import Path

import pytest

from fedimint.lnv2.gateway_api import Forfeited
from statemachines import send
from tests.gateway.scene import INVOICE_MSAT, Scene, ask, asking, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def lag(scene: Scene, blocks: int) -> None:
    """The guardians agree on fewer blocks than the chain has, as when their bitcoin nodes stand still."""
    consensus = scene.federation.consensus
    consensus.block_count = lambda: scene.world.chain.height + 1 - blocks  # type: ignore[method-assign]


async def test_a_federation_behind_the_chain_lends_no_time_to_the_payment(scene: Scene) -> None:
    """Its count will jump: an HTLC by that count could then be settled after the sender took the contract back."""
    async with scene.joined() as (gateway, routing):
        lag(scene, 600)
        held = scene.world.payee.make_invoice(INVOICE_MSAT, is_held=True)
        user, payment = await scene.funded(routing, held.text)
        async with asking(gateway, user.body(payment)):
            flying = await until(gateway, payment, send.InFlight)
            scene.world.payee.settle_held(held.payment_hash)
        assert isinstance(flying, send.InFlight)
        height = scene.world.chain.height
        left_blocks = payment.contract.expiration_block_height - (height + 1)
        assert flying.intent.max_delay_blocks == left_blocks - send.EXPIRATION_DELTA_MINIMUM_BLOCKS


async def test_a_contract_that_is_over_by_the_chain_is_not_paid_for(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        user, payment = await scene.funded(routing)
        scene.world.chain.mine(1_400)
        lag(scene, 1_400)
        answer = await ask(gateway, user.body(payment))
        assert isinstance(answer, Forfeited)
        cancelled = await until(gateway, payment, send.Cancelled)
        assert isinstance(cancelled, send.Cancelled)
        assert cancelled.reason == "TimeoutTooClose"
    assert scene.spent_msat() == 0
