"""One error out of the groups that task groups raise."""

from collections.abc import Iterator
from contextlib import contextmanager

from errors import GatewayError


@contextmanager
def one_error() -> Iterator[None]:
    """Raise the first GatewayError of a group by itself; errors of one moment have one cause in practice.

    A group that holds anything else leaves as it is. Not written with `except*`, which wraps what is raised
    in it into a group before Python 3.11.4, as Debian 12 has it.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        _, others = group.split(GatewayError)
        if others is not None:
            raise
        raise _first(group) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
