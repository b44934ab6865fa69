"""Steps of an installation: a command, its log, and what is said about it."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from devnet.real.peers.catalogue import cache_dir
from errors import UnavailableError


class PeerInstallError(UnavailableError):
    """A peer could not be installed; the text names the log that tells why."""


@contextlib.contextmanager
def step(title: str, duration: str) -> Iterator[Callable[..., None]]:
    """Gives a runner of commands that writes to the step's log; tells how long the step took."""
    log_path = cache_dir() / "log" / f"{title.replace(' ', '-')}.log"
    say(f"{title}: {duration}, log in {log_path}")
    started_s = time.monotonic()
    with log_path.open("w") as log:

        def run(
            command: Sequence[str],
            *,
            folder: Path | None = None,
            environment: dict[str, str] | None = None,
        ) -> None:
            done = subprocess.run(
                command,
                cwd=folder,
                env=os.environ | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
            if done.returncode != 0:
                tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-30:])
                raise PeerInstallError(
                    f"{title}: `{' '.join(command)}` ended with {done.returncode}\n{tail}"
                )

        yield run
    say(f"{title}: took {time.monotonic() - started_s:.0f} s")


def say(text: str) -> None:
    """Tells whoever installs how far it is."""
    sys.stdout.write(f"peers: {text}\n")
    sys.stdout.flush()
