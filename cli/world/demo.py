"""`gatewayd demo`: a gateway makes payments of every kind in an embedded world, and its books are audited.

The gateway is the one that `gatewayd lnd` starts, in a process of its own with a data directory of its own. It cannot
tell guardians, Lightning node and chain of this world from real ones but by their addresses.
"""

import sys
from pathlib import Path
from typing import Annotated

import anyio
import msgspec
from cyclopts import App, Parameter

from cli.error_groups import one_error
from cli.world.demo_books import Books, audit
from cli.world.demo_story import NAMES, Story
from cli.world.folder import world_folder
from cli.world.interrupts import until_interrupted
from cli.world.log_tail import LogTail
from cli.world.screen import Screen
from devnet.gatewayd import PASSWORD, OurGatewayd, script
from devnet.served_world import served_world
from gateway.log import machines

demo_app = App(name="demo", help_formatter="plain", result_action="return_value")


def run(directory: Path, screen: Screen, *, keep: bool = False) -> Books:
    """Play the story. Raises FatalError when anything does not add up, UnavailableError when it does not end."""
    with one_error():
        return anyio.run(_play, directory, screen, keep, backend="asyncio")


async def _play(directory: Path, screen: Screen, keep: bool) -> Books:
    of = machines()
    screen.tell(f"Two federations, {' and '.join(NAMES)}, and a Lightning network come to life.")
    async with served_world(directory / "lnd", NAMES) as served, anyio.create_task_group() as tasks:
        gateway = OurGatewayd(directory / "gateway", served.lnd)
        tail = LogTail(gateway.data_dir, of, screen.event)
        tasks.start_soon(screen.run)
        try:
            screen.tell(f"gatewayd starts as a process of its own, at {gateway.url}")
            await gateway.start()
            tasks.start_soon(tail.run)
            story = Story(served, gateway, tail, screen)
            await story.play()
            screen.tell("The log, verified and replayed, is compared with everybody else's books.")
            books = audit(story, gateway.data_dir, of)
            _show(books, screen)
            if keep:
                await _keep(gateway, screen)
        finally:
            screen.close()
            await gateway.program.stop()
            tasks.cancel_scope.cancel()
    return books


def _show(books: Books, screen: Screen) -> None:
    for line in books.lines:
        screen.detail(f"{line.what:<30} {line.logged_msat:>15,} = {line.counted_msat:,} msat")
    screen.detail(f"{'fees earned':<30} {books.earned_msat:>15,} msat")
    screen.tell(
        f"{books.events} events in {screen.elapsed_s():.0f} s; chain verified up to {books.log_head}"
    )


async def _keep(gateway: OurGatewayd, screen: Screen) -> None:
    screen.tell("The gateway stays until Ctrl-C. To ask it, in another shell:")
    screen.detail(f"export FM_RPC_PASSWORD={PASSWORD}")
    screen.detail(f"{script('gateway-cli')} --address {gateway.url} info")
    screen.detail(f"{script('gatewayd')} log verify {gateway.data_dir}")
    await until_interrupted()


@demo_app.default
def print_demo(
    *,
    directory: Path | None = None,
    keep: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Watch a gateway pay, crash, receive, deposit, swap and withdraw in a world of its own, and audit its books.

    Parameters
    ----------
    directory
        Empty folder for the gateway's data and log; without it a temporary one is used and removed.
    keep
        Leave the gateway running until Ctrl-C, and tell how to reach it.
    json
        Print the audit as one JSON document, the last line.
    """
    screen = Screen(sys.stdout)
    with world_folder(directory, "gatewayd-demo-") as folder:
        books = run(folder, screen, keep=keep)
    if json:
        print(msgspec.json.encode(books).decode())
