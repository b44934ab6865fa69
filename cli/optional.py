"""Says what is missing when a command needs more than this installation has."""

from collections.abc import Iterator
from contextlib import contextmanager

from cli.version import NOT_INSTALLED
from errors import ConfigError


@contextmanager
def optional_imports() -> Iterator[None]:
    """For a block that imports. Raises ConfigError, which says how to get what is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name in NOT_INSTALLED:
            why = "this command needs a checkout of the repository"
            raise ConfigError(f"{why}: an installed gateway has no {error.name}") from None
        raise ConfigError(
            f"this command needs {error.name}: install fedimint-gateway[fuzz]"
        ) from None
