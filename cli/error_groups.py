"""One error out of the groups that task groups raise."""

from collections.abc import Iterator
from contextlib import contextmanager

from errors import GatewayError


@contextmanager
def one_error() -> Iterator[None]:
    """Raise the first GatewayError of a group by itself; errors of one moment have one cause in practice."""
    try:
        yield
    except* GatewayError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
