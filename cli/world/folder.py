"""The folder of a demonstration or development environment."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import ConfigError, InputError


@contextmanager
def world_folder(given: Path | None, prefix: str) -> Iterator[Path]:
    """The one given, made if needed, or a temporary one.

    Raises InputError when the one given holds anything, ConfigError when nothing can be written there.
    """
    if given is None:
        try:
            temporary = tempfile.TemporaryDirectory(prefix=prefix)
        except OSError as error:
            raise ConfigError(
                f"no temporary folder can be made ({error.strerror}); name a folder with --directory"
            ) from error
        with temporary as name:
            yield Path(name)
        return
    try:
        given.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_used = any(given.iterdir())
        _try_to_write(given)
    except OSError as error:
        raise ConfigError(f"{given} cannot be used as a folder: {error.strerror}") from error
    if is_used:
        raise InputError(f"{given} is not empty, and the world that its data belongs to is gone")
    yield given.absolute()


def _try_to_write(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"a")
