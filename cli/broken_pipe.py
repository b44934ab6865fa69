"""Printing to somebody who stops reading, as `head` and `grep -q` do."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Whoever reads our output may stop: the block ends there, without a complaint."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered would complain once more at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
