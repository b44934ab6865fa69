"""Stages of real peers, one after the other: each is kept as long as its gateway's log tells the whole story."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from devnet.real.world import RealWorld
from tests.interop.parties import Customers
from tests.interop.real_stage import RealStage


class RealStages:
    """The peers stay; a new gateway comes after a test that failed or that lost the log."""

    def __init__(self, world: RealWorld, customers: Sequence[Customers], folder: Path) -> None:
        self._world = world
        self._customers = customers
        self._folder = folder
        self._stages = 0
        self._kept: RealStage | None = None

    @asynccontextmanager
    async def stage(self, *, is_shared: bool = True) -> AsyncIterator[RealStage]:
        """A stage whose gateway runs and has nothing under way; only one that is not shared may lose its log."""
        if not is_shared:
            await self.close()
        stage, self._kept = self._kept or await self._new_stage(), None
        try:
            yield stage
            self._kept = stage if is_shared else None
        finally:
            if self._kept is None:
                await stage.gateway.kill()

    async def close(self) -> None:
        """Kill the gateway that is left."""
        if self._kept is not None:
            await self._kept.gateway.kill()
            self._kept = None

    async def _new_stage(self) -> RealStage:
        self._stages += 1
        folder = self._folder / f"gateway-{self._stages}"
        stage = RealStage(self._world, self._customers, folder)
        await stage.begin()
        await stage.gateway.start()
        return stage
