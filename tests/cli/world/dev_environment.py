"""`gatewayd dev` as a program, and commands of the shell that it offers."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from devnet.processes import Program, run_once, until

READY_S = 300
COMMANDS_S = 120
ENDS_S = 60


def log_of(folder: Path) -> Path:
    """Beside the folder, which the environment makes."""
    return folder.with_suffix(".log")


class DevEnvironment:
    """One environment, ready for commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log(self) -> str:
        """What it printed so far."""
        return log_of(self.folder).read_text()

    async def run(self, script: str) -> str:
        """What the commands print, without the last newline; the first that fails ends them."""
        whole = f". {self.folder / 'shell'}\nset -e\n{script}\n"
        return (await run_once(["sh", "-c", whole], deadline_s=COMMANDS_S)).rstrip("\n")


@asynccontextmanager
async def dev_environment(*flags: str) -> AsyncIterator[DevEnvironment]:
    """Start it in a folder of its own, and end it as Ctrl-C does.

    The folder's name is short wherever tests work: the path of a socket has room for some 100 characters.
    """
    with TemporaryDirectory(dir="/tmp") as name:
        async with _started(Path(name) / "dev", *flags) as environment:
            yield environment


@asynccontextmanager
async def _started(folder: Path, *flags: str) -> AsyncIterator[DevEnvironment]:
    program = Program(
        "gatewayd dev",
        [sys.executable, "-m", "cli.gatewayd.program", "dev", f"--directory={folder}", *flags],
        log_path=log_of(folder),
    )
    program.start()
    try:

        async def is_ready() -> bool:
            return "Ready until Ctrl-C" in program.log_path.read_text()

        await until("it is ready", is_ready, deadline_s=READY_S, programs=[program])
        yield DevEnvironment(folder)
    finally:
        await program.stop(patience_s=ENDS_S)
