"""The folder of a demonstration or development environment."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import InputError


@contextmanager
def world_folder(given: Path | None, prefix: str) -> Iterator[Path]:
    """The one given, made if needed, or a temporary one. Raises InputError when the one given holds anything."""
    if given is None:
        with tempfile.TemporaryDirectory(prefix=prefix) as temporary:
            yield Path(temporary)
        return
    given.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(given.iterdir()):
        raise InputError(f"{given} is not empty, and the world that its data belongs to is gone")
    yield given.absolute()
