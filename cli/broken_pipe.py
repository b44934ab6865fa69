"""Output to a reader that stops reading (`head`, `grep -q`), to a full disk, or to a closed stream."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO

from errors import GatewayError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class OutputError(GatewayError):
    """What was asked for is done or found, and could not be written where it should go."""


def open_standard_streams() -> None:
    """Open those that this process was started without, to nowhere.

    Their numbers would go to the next files and sockets, into which a library that prints by itself would print.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdin = sys.stdin or _nothing("r")
    sys.stdout = sys.stdout or _nothing("w")
    sys.stderr = sys.stderr or _nothing("w")


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """The reader of our output may stop: the block ends there, without a complaint, also out of task groups.

    Raises OutputError when what is printed goes to a disk without space.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _print_nowhere()
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        _print_nowhere()
        raise OutputError(
            f"the answer cannot be written: {error.strerror}; the request may have been carried out"
        ) from error
    except BaseExceptionGroup as group:
        _, others = group.split(BrokenPipeError)
        if others is not None:
            raise
        _print_nowhere()


def _nothing(mode: Literal["r", "w"]) -> TextIO:
    return Path(os.devnull).open(mode)


def _print_nowhere() -> None:
    """What is still buffered would complain once more at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
