"""Keeps a watch running after errors: it logs them, and only a storage error ends the gateway."""

from structlog.typing import FilteringBoundLogger

from engine.effects import storage_in
from errors import GatewayError


def contain(log: FilteringBoundLogger, event: str, error: Exception, **facts: str) -> None:
    """Log `error` as `event`: our own errors by their sentence, mistakes of the program by their traceback.

    Raises StorageError when there is one in it.
    """
    fatal = storage_in(error)
    if fatal is not None:
        raise fatal from None
    expected = isinstance(error, GatewayError)
    text = str(error) if expected else type(error).__name__
    log.warning(event, error=text, exc_info=None if expected else error, **facts)
