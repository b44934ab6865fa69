"""`gatewayd log restore`: a backup becomes a data directory that a gateway may be started on, frozen."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from cli.log_place import note_place
from cli.log_reading import Json, duration_text, program, time_text
from engine.engine import Ports
from engine.lock import LOCK_NAME
from engine.ports import Clock, SystemClock, SystemRandomness
from engine.store import LOG_NAME, Store
from errors import FatalError, InputError, NotFoundError
from gateway.restoring import freeze
from gateway.secret_files import MNEMONIC_NAME

#: How the files of federations' API secrets begin.
_API_FILES = "api-secret-"


class Restored(msgspec.Struct, frozen=True):
    """What `restore --json` prints. What happened after `backup_unix_s` is in no log."""

    data_dir: str
    position: int
    backup_unix_s: int
    restored_unix_s: int
    epoch: int
    has_mnemonic: bool


def restore_backup(backup: Path, data_dir: Path, /, *, json: Json = False) -> None:
    """Make a data directory of a backup, frozen until its gateway has asked what happened since.

    A gateway started on it follows what is under way and pays, funds and gives out nothing new until its Lightning
    node and every federation have answered; it then goes on by itself. Only ever do this when the original log is
    lost or will never be started again.

    Parameters
    ----------
    backup
        A copied data directory, or a copied log alone; it stays as it is.
    data_dir
        The new data directory: a folder that does not exist, or is empty.
    json
        Print one JSON document.
    """
    restored = restore(backup, data_dir, SystemClock())
    print(msgspec.json.encode(restored).decode() if json else "\n".join(_text(restored)))


def restore(backup: Path, data_dir: Path, clock: Clock) -> Restored:
    """Copy, verify and freeze.

    Raises NotFoundError without a log, InputError when the backup is in use or broken or the folder is; nothing is
    left of the new data directory then.
    """
    source = backup if backup.is_dir() else backup.parent
    log = backup / LOG_NAME if backup.is_dir() else backup
    if not log.is_file():
        raise NotFoundError(f"there is no log at {log}")
    if data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise InputError(f"{data_dir} is not empty: name a folder that is not there yet")
    _refuse_running(source)
    with _new_directory(data_dir):
        _copy(log, data_dir / LOG_NAME)
        for suffix in ("-wal", "-journal"):
            if (beside := log.with_name(log.name + suffix)).exists():
                _copy(beside, data_dir / f"{LOG_NAME}{suffix}")
        if backup.is_dir():
            for file in sorted(backup.iterdir()):
                if file.name == MNEMONIC_NAME or file.name.startswith(_API_FILES):
                    _copy(file, data_dir / file.name)
        return _freeze(data_dir, clock)


def _freeze(data_dir: Path, clock: Clock) -> Restored:
    from migrations import SchemaSteps  # noqa: PLC0415 - only what writes needs it

    machines, read_models = program()
    try:
        store = Store(data_dir, SchemaSteps(), read_models)
        try:
            restoration = freeze(store, machines, Ports(clock, SystemRandomness()))
        finally:
            store.close()
    except FatalError as error:
        raise InputError(f"the backup cannot be trusted: {error}") from error
    note_place(data_dir)
    return Restored(
        data_dir=str(data_dir),
        position=restoration.position,
        backup_unix_s=restoration.backup_unix_s,
        restored_unix_s=restoration.restored_unix_s,
        epoch=store.epoch,
        has_mnemonic=(data_dir / MNEMONIC_NAME).exists(),
    )


def _refuse_running(directory: Path) -> None:
    """A gateway holds its directory's lock for life."""
    lock = directory / LOCK_NAME
    if not lock.exists():
        return
    descriptor = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise InputError(
            f"a gatewayd is running on {directory}: this is no backup. Two gateways on one history lose money"
        ) from error
    finally:
        os.close(descriptor)


@contextmanager
def _new_directory(path: Path) -> Iterator[None]:
    """A directory that disappears again when what fills it fails."""
    existed = path.exists()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for file in path.iterdir():
            file.unlink()
        if not existed:
            path.rmdir()
        raise


def _copy(source: Path, target: Path) -> None:
    """Copy a file, readable by us alone."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out, source.open("rb") as file:
        shutil.copyfileobj(file, out)
        out.flush()
        os.fsync(out.fileno())


def _text(restored: Restored) -> Iterator[str]:
    age = duration_text((restored.restored_unix_s - restored.backup_unix_s) * 1_000_000)
    yield f"{restored.data_dir} holds the backup, verified and frozen"
    yield f"last event  position {restored.position}, {time_text(restored.backup_unix_s * 1_000_000)}, {age} ago"
    if not restored.has_mnemonic:
        yield "mnemonic    not in the backup: give FM_GATEWAY_MNEMONIC on the first start"
    yield "next        start gatewayd on it; it goes on by itself once node and federations have answered"
    yield "never       start the original, or this backup a second time"
