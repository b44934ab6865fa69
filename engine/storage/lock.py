"""The exclusive lock on a data directory: one process writes, until it ends."""

import fcntl
import os
from pathlib import Path

from errors import ConfigError

LOCK_NAME = "gateway.lock"


class DirectoryLock:
    """Holds `gateway.lock` of a directory from construction to `release` or process death."""

    def __init__(self, directory: Path) -> None:
        """Raises ConfigError at once when another process holds the lock, or nobody can; it never waits."""
        path = directory / LOCK_NAME
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._fd)
            raise ConfigError(
                f"another gatewayd is running on {directory}: stop it first, or choose another data directory"
            ) from error
        except OSError as error:
            os.close(self._fd)
            raise _unusable(path, error) from error

    def release(self) -> None:
        """Give the lock up; the file stays."""
        os.close(self._fd)


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path} cannot be locked ({error.strerror}): give this user the directory on a writable file system "
        "that supports locks"
    )
