"""Tells a gateway's log from a copy of it, since two gateways on one history would both pay.

The first start writes the file number (inode) of the log beside it. A copy of the data directory has that note, but
another number, so no start is made of it by accident; `gatewayd log restore` makes a log of it that may go on.

A copy that is written back into the files of its original keeps their numbers (`cp -a`, `rsync --inplace`). So each
start and each stop makes an empty file of a new name, a witness, and the note says which one there may be: a copy
brings its own note back, and the newer witness is still there. Nothing that an operator does to a directory in good
faith (owners, modes, links, moving it) touches that, unlike times of files. What deletes what the copy does not have,
and a snapshot of a whole file system, no file can tell: the Lightning node does (`gateway/witness.py`).
"""

import os
import secrets
from pathlib import Path

from engine.storage.errors import storage_error
from engine.storage.lock import DirectoryLock
from engine.storage.opening import make_private
from engine.storage.rows import LOG_NAME
from errors import ConfigError

PLACE_NAME = "gateway.place"
#: How the names of witnesses begin.
WITNESS_NAME = "gateway.witness-"


def check_place(data_dir: Path) -> bool:
    """Whether a data directory has a log yet.

    Raises ConfigError when its log was written somewhere else, at another time, or nobody knows; FatalError when the
    disk fails.
    """
    log, note = data_dir / LOG_NAME, data_dir / PLACE_NAME
    try:
        if not log.exists() or not log.stat().st_size:
            return False
        number, *names = _noted(note) or ["another"]
        found = _witnesses(data_dir)
        is_here = number == _number_of(log) and bool(found) and found <= set(names)
    except OSError as error:
        raise storage_error(note, error) from error
    if not is_here:
        raise ConfigError(
            f"{log} is a copy of a gateway's log: two gateways on one history lose money, and so does one on a "
            "history that is not the newest. If the original is lost or will never be started again, make a log that "
            "may continue: gatewayd log restore COPY NEW_DATA_DIR"
        )
    return True


def note_place(data_dir: Path) -> None:
    """Write down that the log of a data directory belongs here and now; without one, the place of it is made.

    Raises ConfigError when the directory cannot be used or is in use, FatalError when the disk is full or fails.
    """
    make_private(data_dir)
    lock = DirectoryLock(data_dir)
    try:
        renew_place(data_dir)
    finally:
        lock.release()


def renew_place(data_dir: Path) -> None:
    """As `note_place`, for the holder of the directory's lock."""
    try:
        _note(data_dir / LOG_NAME, data_dir / PLACE_NAME)
    except OSError as error:
        raise storage_error(data_dir / PLACE_NAME, error) from error


def _note(log: Path, note: Path) -> None:
    """A crash in between leaves no witness that is not noted."""
    os.close(os.open(log, os.O_RDWR | os.O_CREAT, 0o600))
    number, old = _number_of(log), _witnesses(log.parent)
    new = f"{WITNESS_NAME}{secrets.token_hex(8)}"
    _write(note, number, new, *sorted(old))
    os.close(os.open(log.parent / new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for name in old:
        (log.parent / name).unlink()
    _write(note, number, new)


def _write(note: Path, *words: str) -> None:
    unfinished = note.with_suffix(".new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{' '.join(words)}\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(note)


def _noted(note: Path) -> list[str]:
    return note.read_bytes().decode(errors="replace").split() if note.exists() else []


def _witnesses(data_dir: Path) -> set[str]:
    return {path.name for path in data_dir.glob(f"{WITNESS_NAME}*")}


def _number_of(log: Path) -> str:
    return str(log.stat().st_ino)
