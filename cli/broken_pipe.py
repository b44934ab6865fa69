"""Printing to somebody who stops reading, as `head` and `grep -q` do."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Whoever reads our output may stop: the block ends there, without a complaint, also out of task groups."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _print_nowhere()
    except BaseExceptionGroup as group:
        _, others = group.split(BrokenPipeError)
        if others is not None:
            raise
        _print_nowhere()


def nowhere() -> TextIO:
    """What is written to by a process that was started with a standard stream closed."""
    return Path(os.devnull).open("w")


def _print_nowhere() -> None:
    """What is still buffered would complain once more at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
