"""Our own gatewayd as the gateway of a stage: a process with its data directory, killed and started at will."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from devnet.gatewayd import OurGatewayd
from devnet.real.lnd_node import LndNode
from engine.chain import Row, verified
from engine.storage.reader import open_log
from gateway.secret_files import MNEMONIC_NAME
from tests.scenarios import backups
from tests.scenarios.stage import Answer


class RealGateway:
    """A `Host`."""

    def __init__(self, folder: Path, node: LndNode) -> None:
        self.program = OurGatewayd(folder, node)

    async def start(self, *, crash_at: str | None = None, node_is_down: bool = False) -> None:
        await self.program.start(crash_at=crash_at, node_is_down=node_is_down)

    async def kill(self) -> None:
        self.program.program.kill()

    async def died(self) -> None:
        await self.program.died()

    async def start_over(self) -> None:
        lost, directory = self.program.folder / "lost", self.program.data_dir
        directory.rename(lost)
        directory.mkdir(mode=0o700)
        shutil.copy2(lost / MNEMONIC_NAME, directory)

    async def back_up(self) -> None:
        backups.back_up(self.program)

    async def restore(self) -> None:
        await backups.restore(self.program)

    async def call(self, method: str, path: str, body: bytes | None = None) -> Answer:
        answer = await self.program.call(method, path, body)
        return Answer(answer.status, answer.body)

    def rows(self) -> Sequence[Row]:
        with open_log(self.program.data_dir) as log:
            return list(verified(log.rows()))
