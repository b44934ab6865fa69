"""The restored history: a gateway whose disk is lost amid payments goes on from its backup."""

import shutil
import tempfile
from pathlib import Path

from tests.scenarios.restoring import a_lost_log_goes_on_from_its_backup
from tests.scenarios.simulated import SimulatedStage
from tests.scenarios.simulated import play as play_on_stage


def play(directory: Path) -> None:
    """Leave the data directory that was made of the backup at `directory`."""
    with tempfile.TemporaryDirectory() as folder:
        play_on_stage(Path(folder), _play)
        latest = max(Path(folder).glob("data-*"), key=lambda path: path.name)
        shutil.copytree(latest, directory)


async def _play(stage: SimulatedStage) -> None:
    await stage.gateway.start()
    await a_lost_log_goes_on_from_its_backup(stage)
    await stage.gateway.kill()
