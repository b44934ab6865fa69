"""Tells a gateway's log from a copy of it: two gateways on one history would both pay.

The first start writes the file number (inode) of the log beside it. A copy of the data directory has that note, but
another number, so no start is made of it by accident; `gatewayd log restore` makes a log of it that may go on.
"""

import os
from pathlib import Path

from engine.opening import make_private
from engine.storage_errors import storage_error
from engine.store import LOG_NAME
from errors import ConfigError

PLACE_NAME = "gateway.place"


def check_place(data_dir: Path) -> None:
    """Raises ConfigError when the log of a data directory was written somewhere else, or nobody knows where.

    Raises FatalError when the disk fails.
    """
    log, note = data_dir / LOG_NAME, data_dir / PLACE_NAME
    try:
        if not log.exists() or not log.stat().st_size:
            return
        noted = note.read_bytes().strip().decode(errors="replace") if note.exists() else "another"
    except OSError as error:
        raise storage_error(note, error) from error
    if noted != _number_of(log):
        raise ConfigError(
            f"{log} is a copy of a gateway's log: two gateways on one history lose money. If the original is "
            "never started again, make a log that may go on: gatewayd log restore COPY NEW_DATA_DIR"
        )


def note_place(data_dir: Path) -> None:
    """Write down that the log of a data directory belongs here; without one, the place of it is made.

    Raises ConfigError when the directory cannot be used, FatalError when the disk is full or fails.
    """
    make_private(data_dir)
    try:
        _note(data_dir / LOG_NAME, data_dir / PLACE_NAME)
    except OSError as error:
        raise storage_error(data_dir / PLACE_NAME, error) from error


def _note(log: Path, note: Path) -> None:
    os.close(os.open(log, os.O_RDWR | os.O_CREAT, 0o600))
    number = _number_of(log)
    if note.exists() and note.read_text().strip() == number:
        return
    unfinished = note.with_suffix(".new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{number}\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(note)


def _number_of(log: Path) -> str:
    return str(log.stat().st_ino)
