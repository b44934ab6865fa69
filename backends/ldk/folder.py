"""The folder of the node: opened by one process at a time, of whichever program."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import ConfigError

#: The Rust gateway locks it before it opens anything (fedimint-db-locked/src/lib.rs), so either waits for the other.
LOCK_NAME = "gatewayd.db.lock"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep every other gateway from the node's folder while the block lasts.

    Two nodes on one folder lose channels, and LDK does not look. Raises ConfigError when another process has it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be locked ({error.strerror}): another gateway, perhaps the Rust one, runs on the "
                "Lightning node of this directory; stop it first"
            ) from error
        yield
    finally:
        os.close(descriptor)
