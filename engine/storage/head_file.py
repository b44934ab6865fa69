"""The position of the newest commit, in a file of its own: shows that the end of a log is missing.

SQLite takes a WAL that lost its end, or that is gone, for one that was never longer. The position here is noted after
the commit and not synced: it may lag behind the log after a power cut, and is never ahead of one that is whole.
"""

import os
from pathlib import Path
from zlib import crc32

import msgspec

from engine.chain import Head
from engine.storage.errors import storage_error

HEAD_NAME = "gateway.head"
#: Two positions, a hash and a checksum, always of one length, so that writing it anew needs no space.
_LINE_BYTES = 20 + 1 + 64 + 1 + 20 + 1 + 8 + 1


class Noted(msgspec.Struct, frozen=True):
    """The newest commit, and the position up to which the chain of the file was checked."""

    head: Head
    checked: int


class HeadFile:
    """The file of an open log; its directory is locked."""

    def __init__(self, directory: Path) -> None:
        """Raises FatalError when the file cannot be opened."""
        self._path = directory / HEAD_NAME
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise storage_error(self._path, error) from error

    def read(self) -> Noted | None:
        """What was noted last. None in a new directory, or when a power cut tore it."""
        line = os.pread(self._descriptor, _LINE_BYTES, 0)
        text, _, checksum = line.rstrip(b"\n").rpartition(b" ")
        if len(line) != _LINE_BYTES or checksum != b"%08x" % crc32(text):
            return None
        position, digest, checked = text.decode().split()
        return Noted(Head(int(position), bytes.fromhex(digest)), int(checked))

    def write(self, head: Head, checked: int) -> None:
        """Note that the log is durable up to `head`. Raises FatalError when it cannot be written."""
        text = b"%020d %s %020d" % (head.position, head.hash.hex().encode(), checked)
        try:
            os.pwrite(self._descriptor, b"%s %08x\n" % (text, crc32(text)), 0)
        except OSError as error:
            raise storage_error(self._path, error) from error

    def close(self) -> None:
        os.close(self._descriptor)
