"""Shows on the terminal how far the reading of a long log is."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from engine.progress import Progress, told


@contextmanager
def progress_on_terminal() -> Iterator[None]:
    """Show it on standard error while something is read in the block; without a terminal nothing is shown."""
    width = 0

    def show(progress: Progress) -> None:
        nonlocal width
        line = f"reading the log: {progress}"
        width = max(width, len(line))
        print(f"\r{line:{width}}", end="", file=sys.stderr, flush=True)

    if not sys.stderr.isatty():
        yield
        return
    try:
        with told(show):
            yield
    finally:
        if width:
            print(f"\r{'':{width}}\r", end="", file=sys.stderr, flush=True)
