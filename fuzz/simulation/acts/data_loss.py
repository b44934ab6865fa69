"""Loss of a simulated gateway's log: its operator has a backup, or only the mnemonic.

Drawn apart from everything else, in every tenth seed, so that all other seeds stay what they are.
"""

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import anyio

from engine.storage.rows import LOG_NAME
from fedimint.mintv2 import recovery
from fuzz.simulation.acts.operating import connect
from fuzz.simulation.harness import Harness
from fuzz.simulation.plans import steps
from gateway.restoring import restore

#: Seeds that end with this digit have a disaster.
_DIGIT = 6
_LOSES_EVERYTHING = 0.15
#: Of a gateway that passes no probe for so long, the backup is taken nevertheless.
_IDLE_S = 10.0


def draw(seed: int) -> tuple[steps.AnyStep, ...]:
    """The disaster of a seed, if it has one."""
    if seed % 10 != _DIGIT:
        return ()
    dice = random.Random(f"disaster {seed}")
    if dice.random() < _LOSES_EVERYTHING:
        return (steps.DirectoryLost(at_s=0.0),)
    return (
        steps.DiskLost(
            at_s=float(dice.choice((0, 0, 1, 5, 20, 40, dice.uniform(0, 60)))),
            probes=dice.choice((1, 2, 3, dice.randint(1, 60), dice.randint(1, 60))),
            lost_after_s=dice.choice((0.1, 1.0, 5.0, dice.uniform(0, 20), dice.uniform(0, 50))),
            down_s=dice.choice((0.0, 1.0, 20.0)),
        ),
    )


@contextmanager
def recoverable() -> Iterator[None]:
    """Tweaks are not ground here (`fuzz/simulation/watched_ports.py`), so who recovers must not look for that.

    Any run may recover: a payment from the node by hand shows the gateway a payment that its log does not know.
    """
    with patch.object(recovery, "meets_filter", lambda _tweak, _filter: True):
        yield


async def lose_disk(harness: Harness, step: steps.DiskLost) -> None:
    """Back up, and restore in the place of a log that went on since."""
    backup = harness.gateway.directory.with_name("backup")
    taken = anyio.Event()

    def back_up() -> None:
        shutil.copytree(harness.gateway.directory, backup)
        taken.set()

    harness.crash.then, harness.crash.passing = back_up, step.probes
    harness.crash.passing_point = step.point
    with anyio.move_on_after(_IDLE_S):
        await taken.wait()
    if not taken.is_set():
        harness.crash.passing = 0
        back_up()
    await anyio.sleep(step.lost_after_s)
    harness.down_s = step.down_s
    await _go_on_from(harness, partial(_restore, harness, backup))


def _restore(harness: Harness, backup: Path) -> None:
    restore(backup / LOG_NAME, harness.gateway.directory, harness.clock)


async def lose_everything(harness: Harness, _step: steps.DirectoryLost) -> None:
    """Not before all is at rest, since payments under way are lost with the only log that knows of them."""
    harness.afterwards.append(partial(_go_on_from, harness, lambda: None))


async def _go_on_from(harness: Harness, fill: Callable[[], None]) -> None:
    """What the log does not serve is joined again, as docs/operations.md says."""
    await harness.replace_directory(fill)
    for federation in harness.joined:
        await connect(harness, federation, recover=True)
        await connect(
            harness, federation
        )  # one that was left before the backup: its ecash is known
