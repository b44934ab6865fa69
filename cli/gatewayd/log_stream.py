"""The stream of log lines: the gateway goes on when the reader is gone or the disk is full.

The reader of a pipe may leave (`tee`, a log shipper), a disk may be full. What a gateway does is in its log file; the
lines tell of it and nothing rests on them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class LogStream:
    """Writes to `stream` as long as that works. What could not be written is counted, and told once it works again."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost_writes = 0

    def isatty(self) -> bool:
        """Whether people read it; a stream that is closed is read by nobody."""
        try:
            return self._stream.isatty()
        except ValueError:
            return False

    def write(self, text: str) -> int:
        """Write, or lose, the text; its length, as of every stream."""
        with self._losing():
            if self.lost_writes:
                self._stream.write(
                    f"(what was logged before could not be written: {self.lost_writes} failures)\n"
                )
                self._stream.flush()
                self.lost_writes = 0
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand on what is buffered."""
        with self._losing():
            self._stream.flush()

    @contextmanager
    def _losing(self) -> Iterator[None]:
        """OSError is what pipes and disks raise, ValueError a stream that was closed."""
        try:
            yield
        except (OSError, ValueError):
            self.lost_writes += 1
