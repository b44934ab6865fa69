"""A disk under SQLite that fails, tears, fills up or dies at its n-th operation, and forgets what was not synced.

Its reads may go wrong, too (`faulty_reads.py`).

An apsw VFS over the real one. Beside what programs see it keeps what the platter would hold: writes reach that at the
next sync of their file, and a power cut keeps, drops or garbles each 512-byte sector of those that waited.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from random import Random
from typing import Any

import apsw

from tests.crash.faulty_reads import Reads

SECTOR_BYTES = 512
#: Of the sectors that waited at a power cut, how many reach the disk, and how many of those as something else.
_KEPT_SHARE = 0.5
_GARBLED_SHARE = 0.1


class Fault(Enum):
    """What befalls the n-th operation."""

    FAILS = "it fails; a sync that fails has lost what it should have kept, as on Linux"
    TEARS = "half of a write happens and it fails; a sync happens and fails"
    FULL = "from now on no file can grow"
    DIES = "nothing works from now on"


@dataclass(frozen=True, slots=True)
class _Write:
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Truncate:
    size: int


@dataclass(frozen=True, slots=True)
class _Delete:
    pass


_Waiting = _Write | _Truncate | _Delete


@dataclass(slots=True)
class _Platter:
    """What is safe of one file (None: not even its name), and what waits for a sync, in order."""

    durable: bytes | None
    waiting: list[_Waiting] = field(default_factory=list)

    def sync(self) -> None:
        content = self.durable or b""
        for one in self.waiting:
            content = _apply(content, one) or b""
        self.durable = content
        self.waiting.clear()

    def sync_name(self) -> None:
        """The directory is synced: files that were deleted stay so."""
        deletes = [index for index, one in enumerate(self.waiting) if isinstance(one, _Delete)]
        if deletes:
            self.durable = None
            del self.waiting[: deletes[-1] + 1]


class FaultyDisk:
    """All files that SQLite opens while `mounted`. Operations are writes, syncs and truncations, counted from 1."""

    def __init__(self, fault: Fault = Fault.FAILS, at: int = 0) -> None:
        """The fault befalls operation `at`; 0 is none."""
        self.fault = fault
        self.at = at
        self.operations: list[str] = []
        """What was done, such as `write gateway.sqlite3-wal`."""
        self.struck: str | None = None
        """The operation that the fault befell."""
        self.reads = Reads()
        self._spares = False
        self._platters: dict[str, _Platter] = {}

    def arm(self, fault: Fault, after: int) -> None:
        """Let the fault befall the operation that comes `after` this many from now on."""
        self.fault, self.at, self.struck = fault, len(self.operations) + after, None

    def repair(self) -> None:
        """Nothing befalls it any more; there is space again."""
        self.at, self.struck = 0, None
        self.reads.repair()

    def spare(self, spares: bool) -> None:
        """Whether nothing is counted, and nothing befalls, what is done from now on."""
        if self._is_broken():
            self.repair()
        self._spares = self.reads.spares = spares

    def after_power_cut(self, directory: Path, target: Path, random: Random) -> None:
        """Write into a new folder what a power cut would leave of `directory` now."""
        self._copy(directory, target, lambda platter: _cut(platter, random))

    def after_kill(self, directory: Path, target: Path) -> None:
        """Write into a new folder what the death of the process alone leaves: all that the kernel has."""
        shutil.copytree(directory, target, ignore=shutil.ignore_patterns("*-shm"))
        del self

    def _copy(
        self, directory: Path, target: Path, content_of: Callable[[_Platter], bytes | None]
    ) -> None:
        target.mkdir(mode=0o700)
        names = {path.name for path in directory.iterdir()}
        ours = {Path(name).name for name in self._platters if Path(name).parent == directory}
        for name in names - ours:
            if not name.endswith("-shm"):  # shared memory: gone with the machine
                shutil.copy2(directory / name, target / name)
        for name in sorted(ours):
            content = content_of(self._platters[str(directory / name)])
            if content is not None:
                (target / name).write_bytes(content)

    # --- what the VFS calls ---

    def opened(self, path: str) -> None:
        if path not in self._platters:
            found = Path(path)
            self._platters[path] = _Platter(found.read_bytes() if found.exists() else None)

    def deleted(self, path: str, *, synced: bool) -> None:
        platter = self._platters.get(path)
        if platter is not None:
            platter.waiting.append(_Delete())
            if synced:
                platter.durable = None
                platter.waiting.clear()

    def write(self, path: str, data: bytes, offset: int, size: int) -> bytes:
        """What of the data is to be written before `fail_if_struck`."""
        self._count(f"write {Path(path).name}")
        if self._strikes() and self.fault is Fault.TEARS:
            data = data[: len(data) // 2]
        elif self._strikes() and self.fault is Fault.FAILS:
            data = b""
        if self._is_broken() and self.fault is Fault.FULL and offset + len(data) > size:
            raise apsw.FullError("the disk of the test is full")
        self._wait(path, _Write(offset, data))
        self._die()
        return data

    def truncate(self, path: str, size: int) -> None:
        self._count(f"truncate {Path(path).name}")
        if self._strikes() and self.fault is not Fault.FULL:
            self.fail_if_struck()
        self._wait(path, _Truncate(size))
        self._die()

    def sync(self, path: str) -> None:
        self._count(f"sync {Path(path).name}")
        self._die()
        platter = self._platters[path]
        if self._strikes() and self.fault is Fault.FAILS:
            platter.waiting.clear()
        else:
            is_new = platter.durable is None
            platter.sync()
            if is_new:  # SQLite syncs the directory after it has made a journal or a WAL
                for one in self._platters.values():
                    one.sync_name()
        self.fail_if_struck()

    def fail_if_struck(self) -> None:
        """The error that the operation under way ends with, if it is the one."""
        if self._strikes() and self.fault in {Fault.FAILS, Fault.TEARS}:
            raise apsw.IOError(f"the disk of the test failed: {self.struck}")

    def _wait(self, path: str, one: _Waiting) -> None:
        if not (isinstance(one, _Write) and not one.data):
            self._platters[path].waiting.append(one)

    def _count(self, what: str) -> None:
        self.fail_if_dead()
        if self._spares:
            return
        self.operations.append(what)
        if self._strikes():
            self.struck = what

    def _strikes(self) -> bool:
        return len(self.operations) == self.at

    def _is_broken(self) -> bool:
        return 0 < self.at <= len(self.operations)

    def _die(self) -> None:
        """The operation under way is the last; it may still have reached the platter in part."""
        if self._strikes() and self.fault is Fault.DIES:
            raise apsw.IOError(f"the disk of the test died: {self.struck}")

    def fail_if_dead(self) -> None:
        """What begins on a dead disk does not happen."""
        if self._is_broken() and self.fault is Fault.DIES:
            raise apsw.IOError("the disk of the test is dead")


@contextmanager
def mounted(disk: FaultyDisk) -> Iterator[FaultyDisk]:
    """Every file that SQLite opens in the block lies on the disk."""
    vfs = _Vfs(disk)
    try:
        yield disk
    finally:
        vfs.unregister()


class _Vfs(apsw.VFS):
    def __init__(self, disk: FaultyDisk) -> None:
        self._disk = disk
        super().__init__("faulty", "unix", makedefault=True)

    def excepthook(self, etype: object, evalue: object, etraceback: object) -> bool:
        """What goes wrong while something else is already on its way up is told by that."""
        return True

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's names
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        assert path is not None, "our databases have no temporary files"
        self._disk.opened(path)
        return _File(self._disk, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - same
        self._disk.fail_if_dead()
        super().xDelete(filename, syncdir)
        self._disk.deleted(filename, synced=bool(syncdir))


class _File(apsw.VFSFile):
    def __init__(
        self, disk: FaultyDisk, path: str, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._disk = disk
        self._path = path
        super().__init__("unix", name, flags)
        self._is_writable = bool(flags[0] & apsw.SQLITE_OPEN_READWRITE)

    def excepthook(self, etype: object, evalue: object, etraceback: object) -> bool:
        """As that of the VFS."""
        return True

    def xLock(self, level: int) -> None:  # noqa: N802 - SQLite's name
        """A reader that closes last wants to tidy up and may not: SQLite ignores how, apsw does not."""
        if not self._is_writable and level == apsw.SQLITE_LOCK_EXCLUSIVE:
            raise apsw.BusyError
        super().xLock(level)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - same
        data = super().xRead(amount, offset)
        return self._disk.reads.bring(Path(self._path).name, data, offset)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - same
        written = self._disk.write(self._path, bytes(data), offset, self.xFileSize())
        if written:
            super().xWrite(written, offset)
        self._disk.fail_if_struck()

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - same
        self._disk.truncate(self._path, newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - same
        self._disk.sync(self._path)
        super().xSync(flags)


def _apply(content: bytes | None, one: _Waiting) -> bytes | None:
    match one:
        case _Delete():
            return None
        case _Truncate(size):
            return (content or b"")[:size].ljust(size, b"\0")
        case _Write(offset, data):
            before = (content or b"").ljust(offset, b"\0")
            return before[:offset] + data + before[offset + len(data) :]


def _cut(platter: _Platter, random: Random) -> bytes | None:
    """What is durable, with of each waiting operation what the disk got round to."""
    content = platter.durable
    for one in platter.waiting:
        if not isinstance(one, _Write):
            content = _apply(content, one) if random.random() < _KEPT_SHARE else content
            continue
        for part in _sectors(one):
            if random.random() < _KEPT_SHARE:
                garbled = random.random() < _GARBLED_SHARE
                data = random.randbytes(len(part.data)) if garbled else part.data
                content = _apply(content, _Write(part.offset, data))
    return content


def _sectors(write: _Write) -> Iterator[_Write]:
    """A write cut at the borders of sectors."""
    begin, end = write.offset, write.offset + len(write.data)
    while begin < end:
        stop = min(end, (begin // SECTOR_BYTES + 1) * SECTOR_BYTES)
        yield _Write(begin, write.data[begin - write.offset : stop - write.offset])
        begin = stop
