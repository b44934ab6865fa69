"""Withdrawals, also of everything and of nothing, and deposits from the node."""

from pathlib import Path

import anyio
import pytest

from errors import ConflictError, UnavailableError
from fedimint.crypto.secrets import DerivableSecret
from fedimint.walletv2.config import WalletV2ClientConfig
from fedimint.walletv2.deposits import GroundAddress
from gateway.application import Gateway
from gateway.conditions import MEASURED_LIMIT_S
from gateway.views import PeginRequest, WithdrawalRequest
from statemachines import withdrawal
from tests.gateway.scene import Hold, Scene, kinds

pytestmark = pytest.mark.anyio
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.mark.parametrize(
    ("held_msat", "words"),
    [
        (0, "there is nothing to withdraw: the wallet of this federation is empty"),
        (51_200, "there is nothing to withdraw: the 50176 msat held do not pay for 166 sat"),
    ],
)
async def test_all_of_nothing_is_told_as_such(scene: Scene, held_msat: int, words: str) -> None:
    async with scene.joined() as (gateway, _):
        if held_msat:
            ecash = scene.federation.issue_ecash(held_msat).to_text()
            await gateway.payments.receive_ecash(ecash)
        with pytest.raises(ConflictError, match=words):
            await gateway.treasury.withdraw(
                WithdrawalRequest(scene.federation_id, ADDRESS, None, None)
            )
        with pytest.raises(ConflictError, match=words):
            await gateway.treasury.withdraw_to_onchain(scene.federation_id, None)
    assert withdrawal.WithdrawalRequested.kind not in kinds(scene.directory)


async def test_coins_do_not_follow_long_after_they_were_asked_for(scene: Scene) -> None:
    """The address was not ground yet; the caller has given up by then, or asked again."""
    hold = Hold()

    async def slow_grind(
        _module: DerivableSecret, _config: WalletV2ClientConfig, start_index: int
    ) -> GroundAddress:
        if start_index:
            await anyio.sleep_forever()  # one address is all that is asked for
        await hold("grind")
        return GroundAddress(start_index, b"\x00\x20" + bytes(32))

    async def asked(gateway: Gateway) -> None:
        with pytest.raises(UnavailableError, match="ask again"):
            await gateway.treasury.pegin_from_onchain(PeginRequest(scene.federation_id, 50_000, 2))

    scene.grind_address = slow_grind
    async with scene.joined() as (gateway, _), anyio.create_task_group() as tasks:
        tasks.start_soon(asked, gateway)
        # Grinding may begin before anybody asks, and before the federation is served, which it is then tried again for.
        await scene.while_time_passes(hold.reached.wait)
        await anyio.wait_all_tasks_blocked()
        scene.clock.advance(MEASURED_LIMIT_S + 1)
        hold.release()
    assert "node_order.ordered" not in kinds(scene.directory)
