"""Takes one error out of the groups that task groups raise."""

from collections.abc import Iterator
from contextlib import contextmanager

from engine.effects import fatal_in
from errors import GatewayError


@contextmanager
def one_error() -> Iterator[None]:
    """Raise the first GatewayError of a group by itself; errors of one moment have one cause in practice.

    A FatalError is the cause of whatever came up with it. Without one, a group that holds anything else leaves
    as it is. Not written with `except*`, which wraps what is raised in it into a group before Python 3.11.4, as
    Debian 12 has it.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        fatal = fatal_in(group)
        if fatal is not None:
            raise fatal from group
        _, others = group.split(GatewayError)
        if others is not None:
            raise
        raise _first(group) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
