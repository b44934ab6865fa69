"""What happens in the real history: the scenarios but recovery, one after the other, with real peers."""

import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from devnet.real.world import real_world
from tests.interop.parties import customers_of
from tests.interop.real_stage import RealStage
from tests.scenarios.scenarios import SCENARIOS, the_words_bring_the_ecash_back

_GUARDIANS = {"solo": 1, "second": 1, "quad": 4}


async def play(directory: Path) -> None:
    """Leave the gateway's data directory at `directory`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with real_world(folder) as world, AsyncExitStack() as joined:
            customers = []
            for federation_name, guardians in _GUARDIANS.items():
                federation = await world.start_federation(federation_name, guardians=guardians)
                customers.append(await joined.enter_async_context(customers_of(world, federation)))
            stage = RealStage(world, customers, folder / "gateway")
            await stage.begin()
            await stage.gateway.start()
            try:
                for scenario in SCENARIOS:
                    if scenario is not the_words_bring_the_ecash_back:
                        await scenario(stage)
            finally:
                await stage.gateway.kill()
            shutil.copytree(stage.gateway.program.data_dir, directory)
