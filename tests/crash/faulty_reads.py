"""Reads of a disk of which the n-th fails, comes short, or brings other bytes than were written.

What lies on the disk is whole all the while: when the fault has passed, a read brings it again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from random import Random

import apsw


class ReadFault(Enum):
    """What befalls the n-th read."""

    FAILS = "it fails"
    SHORT = "half of it comes"
    FLIPS = "a byte of it is another one, and nobody says so"


class Reads:
    """The reads of a disk, counted from 1."""

    def __init__(self) -> None:
        self.done: list[str] = []
        """What was read, such as `gateway.sqlite3 4096 +4096`."""
        self.struck: str | None = None
        """The read that the fault befell."""
        self._fault = ReadFault.FAILS
        self._at = 0
        self._counts = True
        self.spares = False
        """Whether nothing befalls them for now."""

    def arm(self, fault: ReadFault, after: int) -> None:
        """Let the fault befall the read that comes `after` this many from now on."""
        self._fault, self._at, self.struck = fault, len(self.done) + after, None

    def repair(self) -> None:
        """Nothing befalls them any more."""
        self._at, self.struck = 0, None

    @contextmanager
    def are_the_tests(self) -> Iterator[None]:
        """What is read in the block is none of the gateway's reads."""
        self._counts = False
        try:
            yield
        finally:
            self._counts = True

    def bring(self, name: str, data: bytes, offset: int) -> bytes:
        """What a program gets for `data`. Raises IOError when the read is to fail."""
        if not data or not self._counts or self.spares:
            return data
        self.done.append(f"{name} {offset} +{len(data)}")
        if len(self.done) != self._at:
            return data
        self.struck = self.done[-1]
        if self._fault is ReadFault.FAILS:
            error = apsw.IOError(f"the disk of the test could not be read: {self.struck}")
            error.extendedresult = apsw.SQLITE_IOERR_READ  # type: ignore[attr-defined] # the stubs lack it
            raise error
        if self._fault is ReadFault.SHORT:
            return data[: len(data) // 2]
        random = Random(self._at)
        flipped = bytearray(data)
        flipped[random.randrange(len(data))] ^= random.randrange(1, 256)
        return bytes(flipped)
