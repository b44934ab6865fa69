"""Withdrawing everything, also when that is nothing."""

from pathlib import Path

import pytest

from errors import ConflictError
from gateway.treasury_views import WithdrawalRequest
from statemachines import withdrawal
from tests.gateway.scene import Scene, kinds

pytestmark = pytest.mark.anyio
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.mark.parametrize(
    ("held_msat", "words"),
    [
        (0, "there is nothing to withdraw: the wallet of this federation is empty"),
        (51_200, "there is nothing to withdraw: the 49152 msat held do not pay for 166 sat"),
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
