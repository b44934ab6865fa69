"""Every scenario in memory, where time jumps."""

from pathlib import Path

import pytest

from tests.scenarios.interruptions import INTERRUPTIONS
from tests.scenarios.restoring import a_lost_log_goes_on_from_its_backup
from tests.scenarios.scenarios import SCENARIOS, Scenario
from tests.scenarios.simulated import SimulatedStage, play


@pytest.mark.parametrize(
    "scenario",
    [*SCENARIOS, *INTERRUPTIONS, a_lost_log_goes_on_from_its_backup],
    ids=lambda one: one.__name__,
)
def test_scenario(scenario: Scenario, tmp_path: Path) -> None:
    async def from_the_start(stage: SimulatedStage) -> None:
        await stage.gateway.start()
        await scenario(stage)

    play(tmp_path, from_the_start)
