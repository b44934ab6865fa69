"""Records a stored history: `python tests/replay/record.py NAME WORLD`, once for a released version.

`real` needs the real peers. A history that exists is never written again: a program that folds it to
other states is wrong, not the history.
"""

import sys
import tempfile
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[2]))

from engine.storage.reader import open_log
from tests.replay import embedded_history, real_history, restored_history, simulated_history
from tests.replay.stored_history import SUFFIX, store


def _play_real(directory: Path) -> None:
    anyio.run(real_history.play, directory)


_WORLDS = {
    "embedded": embedded_history.play,
    "simulated": simulated_history.play,
    "restored": restored_history.play,
    "real": _play_real,
}


def main(version: str, world: str) -> int:
    """Play the payments of a world and store the log they leave."""
    path = Path(__file__).parent / f"{version}-{world}{SUFFIX}"
    if path.exists():
        print(f"{path.name} is stored already; histories never change", file=sys.stderr)  # noqa: T201 - a script
        return 1
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "data"
        _WORLDS[world](directory)
        with open_log(directory) as log:
            store(path, log.rows())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
