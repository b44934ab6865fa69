"""`gatewayd log restore`: makes a frozen data directory from a backup, on which a gateway may start."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from cli.log.reading import Json, duration_text, time_text
from engine.ports import SystemClock
from gateway.restoring import Restored, restore


def restore_backup(backup: Path, data_dir: Path, /, *, json: Json = False) -> None:
    """Make a data directory of a backup, frozen until its gateway has asked what happened since.

    A gateway started on it follows what is under way and pays, funds and gives out nothing new until its Lightning
    node and every federation have answered; it then continues by itself. Only ever do this when the original log is
    lost or will never be started again.

    Parameters
    ----------
    backup
        A copied data directory, or a copied log alone; it stays as it is.
    data_dir
        The new data directory: a folder that does not exist, or is empty.
    """
    restored = restore(backup, data_dir, SystemClock())
    print(msgspec.json.encode(restored).decode() if json else "\n".join(_text(restored)))


def _text(restored: Restored) -> Iterator[str]:
    age = duration_text((restored.restored_unix_s - restored.backup_unix_s) * 1_000_000)
    yield f"{restored.data_dir} holds the backup, verified and frozen"
    yield f"last event  position {restored.position}, {time_text(restored.backup_unix_s * 1_000_000)}, {age} ago"
    if not restored.has_mnemonic:
        yield "mnemonic    not in the backup: give FM_GATEWAY_MNEMONIC on the first start"
    yield "next        start gatewayd on it; it continues by itself once node and federations have answered"
    yield "never       start the original, or this backup a second time"
