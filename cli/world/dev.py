"""`gatewayd dev`: a funded gateway that has joined federations, with users and nodes to pay and be paid by.

Embedded in this process but for the gateway, or of real programs; each program has a log file of its own.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal, Protocol

import anyio
from anyio.abc import TaskGroup
from cyclopts import App, Parameter

from cli.error_groups import one_error
from cli.numbers import NumberedChoice
from cli.optional import optional_imports
from cli.world.dev_embedded import embedded_dev
from cli.world.folder import world_folder
from cli.world.interrupts import until_interrupted
from cli.world.log_tail import LogTail
from cli.world.screen import Screen
from devnet.gatewayd import PASSWORD, LndAddress, OurGatewayd
from devnet.shell.server import Command, serve_shell
from errors import InputError
from gateway.log import machines

NAMES = ("Alpha", "Beta")
USERS = ("ann", "ben")

dev_app = App(name="dev", help_formatter="plain", result_action="return_value")


class DevWorld(Protocol):
    """What an environment is made of besides its gateway. `examples` are commands to try."""

    examples: tuple[str, ...]

    @property
    def lnd(self) -> LndAddress:
        """The gateway's node."""
        ...

    @property
    def invite_codes(self) -> tuple[str, ...]:
        """Of every federation."""
        ...

    async def fund(self, gateway: OurGatewayd) -> None:
        """Give the gateway, which has joined, ecash of every federation, and let users find it."""
        ...

    def commands(self, gateway: OurGatewayd, tasks: TaskGroup) -> Mapping[str, Command]:
        """What the control socket does, by name."""
        ...

    def programs(self) -> Mapping[str, Sequence[str]]:
        """Command lines of programs to be used by hand, by name."""
        ...

    def logs(self) -> Sequence[Path]:
        """The log file of each program besides the gateway."""
        ...


class GatewayShell:
    """Kills the gateway and starts it again."""

    def __init__(self, gateway: OurGatewayd) -> None:
        self._gateway = gateway

    async def __call__(self, words: Sequence[str]) -> str:
        """Run one command. Raises InputError for another one."""
        match words:
            case ["kill"]:
                self._gateway.program.kill()
                return "killed"
            case ["start"]:
                await self._gateway.start()
                return f"running at {self._gateway.url}"
            case _:
                raise InputError("gateway takes kill, or start")


async def serve(
    folder: Path, screen: Screen, world_of: AbstractAsyncContextManager[DevWorld]
) -> None:
    """Bring everything up, write the file `shell` of the folder, and stay until interrupted.

    The control socket is in a folder of its own: the path of a socket may have 107 bytes, that of a world any number.
    """
    with TemporaryDirectory(prefix="gatewayd-dev-") as socket_folder:
        await _serve(folder, Path(socket_folder, "socket"), screen, world_of)


async def _serve(
    folder: Path, socket: Path, screen: Screen, world_of: AbstractAsyncContextManager[DevWorld]
) -> None:
    async with world_of as world, anyio.create_task_group() as tasks:
        gateway = OurGatewayd(folder / "gateway", world.lnd)
        tasks.start_soon(screen.run)
        try:
            screen.tell(f"gatewayd starts at {gateway.url}, joins, and is given ecash.")
            await gateway.start()
            tasks.start_soon(LogTail(gateway.data_dir, machines(), screen.event).run)
            for invite in world.invite_codes:
                await gateway.cli("connect-fed", invite)
            await world.fund(gateway)
            commands: dict[str, Command] = {
                **world.commands(gateway, tasks),
                "gateway": GatewayShell(gateway),
            }
            await tasks.start(serve_shell, socket, commands)
            script = folder / "shell"
            script.write_text(shell_script(gateway.url, socket, commands, world.programs()))
            _tell(screen, script, world, gateway)
            await until_interrupted()
        finally:
            screen.close()
            await gateway.program.stop()
            tasks.cancel_scope.cancel()


def shell_script(
    gateway_url: str,
    socket: Path,
    commands: Mapping[str, Command],
    programs: Mapping[str, Sequence[str]],
) -> str:
    """Functions of a POSIX shell: `gw` is gateway-cli, the others are named like what they run."""
    shell = [sys.executable, "-m", "devnet.shell.client", str(socket)]
    gateway_cli = [str(Path(sys.executable).with_name("gateway-cli")), "--address", gateway_url]
    functions = {
        "gw": gateway_cli,
        **{name: [*shell, name] for name in sorted(commands)},
        **programs,
    }
    lines = [f"export FM_RPC_PASSWORD={shlex.quote(PASSWORD)}"]
    lines += [f'{name}() {{ {shlex.join(words)} "$@"; }}' for name, words in functions.items()]
    return "\n".join(lines) + "\n"


def _tell(screen: Screen, script: Path, world: DevWorld, gateway: OurGatewayd) -> None:
    screen.tell("Logs:")
    for log in (gateway.program.log_path, *world.logs()):
        screen.detail(str(log))
    screen.tell("Ready until Ctrl-C. In another shell:")
    screen.detail(f". {shlex.quote(str(script))}")
    for example in ("gw info", *world.examples, "gateway kill; gateway start"):
        screen.detail(example)


@dev_app.default
def run_dev(
    *,
    real: Annotated[bool, Parameter(negative="")] = False,
    guardians: Annotated[Literal[1, 4], NumberedChoice] = 1,
    federations: Annotated[Literal[1, 2], NumberedChoice] = 2,
    directory: Path | None = None,
) -> None:
    """Run a development environment until Ctrl-C: a gateway with federations, users, and a Lightning network.

    Prints a file that gives a shell functions for all of them: gw for gateway-cli, mine to find blocks, coins to send
    bitcoin, ann and ben for a user of each federation, carol for a node to pay and be paid by.

    Parameters
    ----------
    real
        Use real bitcoind, LND, fedimintd and fedimint-cli instead of embedded ones. Needs a checkout.
    guardians
        Guardians of each federation.
    federations
        How many federations the gateway joins.
    directory
        Empty folder for data and logs; without it a temporary one is used and removed.
    """
    screen = Screen(sys.stdout)
    names = NAMES[:federations]
    with world_folder(directory, "gatewayd-dev-") as folder, one_error():
        world: AbstractAsyncContextManager[DevWorld]
        if real:
            with optional_imports():
                from cli.world.dev_real import real_dev  # noqa: PLC0415 - not installed everywhere
            screen.tell("bitcoind, two LND and the guardians start, which takes a minute.")
            world = real_dev(folder, names, USERS, guardians=guardians)
        else:
            screen.tell("Guardians, a Lightning network and its chain come to life.")
            world = embedded_dev(folder, names, USERS, guardians=guardians)
        anyio.run(serve, folder, screen, world, backend="asyncio")
