"""Makes a backup into a frozen log: offline, or at a start when the node shows that the log is old."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from engine.engine import Engine, Ports
from engine.fold import Machines
from engine.machine import State
from engine.ports import Clock, SystemRandomness
from engine.storage import streams
from engine.storage.lock import LOCK_NAME
from engine.storage.place import note_place
from engine.storage.rows import LOG_NAME
from engine.storage.store import Store
from errors import FatalError, InputError, NotFoundError
from gateway.log import machines, read_models
from gateway.secret_files import API_FILES, MNEMONIC_NAME
from migrations import SchemaSteps
from statemachines import identity, send
from statemachines.federation import Joined, Left

#: Sends of which the lost events may have known more than the node will ever tell.
_HELD_BACK = (send.Accepted, send.Dispatching, send.Unanswered)


class Restored(msgspec.Struct, frozen=True):
    """A directory that a gateway may be started on, frozen. What happened after `backup_unix_s` is in no log."""

    data_dir: str
    position: int
    backup_unix_s: int
    restored_unix_s: int
    epoch: int
    has_mnemonic: bool


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
    with _not_running(source), _new_directory(data_dir):
        _copy(log, data_dir / LOG_NAME)
        for suffix in ("-wal", "-journal"):
            if (beside := log.with_name(log.name + suffix)).exists():
                _copy(beside, data_dir / f"{LOG_NAME}{suffix}")
        if backup.is_dir():
            for file in sorted(backup.iterdir()):
                if file.name == MNEMONIC_NAME or file.name.startswith(API_FILES):
                    _copy(file, data_dir / file.name)
        return _freeze(data_dir, clock)


def _freeze(data_dir: Path, clock: Clock) -> Restored:
    try:
        store = Store(data_dir, SchemaSteps(), read_models())
        try:
            restoration = freeze(store, machines(), Ports(clock, SystemRandomness()))
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


@contextmanager
def _not_running(directory: Path) -> Iterator[None]:
    """A gateway holds its directory's lock for life: none runs, and none starts in the block."""
    lock = directory / LOCK_NAME
    if not lock.exists():
        yield
        return
    descriptor = os.open(lock, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"a gatewayd is running on {directory}: this is no backup. Two gateways on one history lose money"
            ) from error
        yield
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


def freeze(store: Store, machines: Machines, ports: Ports) -> identity.Restoration:
    """Verify and replay the log of `store`, and write that it was restored; one append, no effect leaves.

    Raises InputError for a log without events, or with events that this program cannot read, FatalError for one that
    cannot be trusted.
    """
    newest_unix_us = streams.recorded_unix_us(store, store.head.position)
    if newest_unix_us is None:
        raise InputError("the backup holds no events: start an empty data directory instead")
    engine = Engine(store, machines, ports)
    _refuse_unread(engine)
    restore = restoration_of(
        engine,
        position=store.head.position,
        backup_unix_s=newest_unix_us // 1_000_000,
        now_unix_s=ports.clock.now_unix_us() // 1_000_000,
    )
    engine.deliver(identity.STREAM, restore)
    engine.write_decided()
    founded = engine.peek(identity.STREAM)
    assert isinstance(founded, identity.Founded)
    assert founded.restoration is not None
    return founded.restoration


def restoration_of(
    engine: Engine,
    *,
    position: int,
    backup_unix_s: int,
    now_unix_s: int,
    evidence: str = "",
    judged_unix_s: int = 0,
) -> identity.Restore:
    """The input that freezes this log as it is now, a backup that ended at `position`."""
    states = engine.open_streams()
    sends = (s.facts.contract_id for s in states.values() if isinstance(s, _HELD_BACK))
    return identity.Restore(
        position=position,
        backup_unix_s=backup_unix_s,
        now_unix_s=now_unix_s,
        federations=tuple(sorted(_federations(states))),
        sends=tuple(sorted(sends)),
        evidence=evidence,
        judged_unix_s=judged_unix_s,
    )


def _refuse_unread(engine: Engine) -> None:
    """Raises InputError for what this program cannot read: it could not be held back, and a later one would go on."""
    for one in engine.faults.quarantined():
        if not one.is_readable:
            raise InputError(
                f"the backup holds what this program cannot read, at {one.stream}: {one.fault}; restore it with the "
                "version that wrote it, or a later one"
            )


def _federations(states: dict[str, State]) -> set[str]:
    return {s.facts.federation_id for s in states.values() if isinstance(s, Joined | Left)}
