"""The gateway goes on when nobody reads its log or the disk is full, and reports lost lines later."""

import errno
import io
import logging
import os
from collections.abc import Iterator

import pytest
import structlog

from cli.gatewayd.log_output import configure_logging
from cli.gatewayd.log_stream import LogStream


class Full(io.StringIO):
    """A file on a disk that is full for a while."""

    is_full = True

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


@pytest.fixture
def _default_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.usefixtures("_default_logging")
def test_a_reader_who_leaves_ends_neither_our_lines_nor_those_of_libraries() -> None:
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w", buffering=1)
    configure_logging(stream, {})
    structlog.get_logger().info("heard")
    assert os.read(reader, 1_000).count(b"heard") == 1
    os.close(reader)
    structlog.get_logger().info("unheard")
    logging.getLogger("grpc").warning("unheard, too")
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # what is buffered goes there
    stream.close()


def test_a_stream_that_is_closed_takes_lines_all_the_same() -> None:
    closed = io.StringIO()
    closed.close()
    stream = LogStream(closed)
    assert stream.write("line\n") == 5
    stream.flush()
    assert (stream.isatty(), stream.lost_writes) == (False, 1)


def test_what_was_lost_is_told_once_there_is_room_again() -> None:
    file = Full()
    stream = LogStream(file)
    stream.write("one\n")
    stream.write("two\n")
    assert (stream.lost_writes, file.getvalue()) == (2, "")
    file.is_full = False
    stream.write("three\n")
    stream.write("four\n")
    assert file.getvalue().splitlines() == [
        "(what was logged before could not be written: 2 failures)",
        "three",
        "four",
    ]
