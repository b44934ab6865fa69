"""Backs up a running gateway's log and restores it, as docs/operations.md says."""

import shutil

import apsw

from devnet.gatewayd import OurGatewayd, script
from devnet.processes import run_once
from engine.storage.rows import LOG_NAME, open_reader
from gateway.secret_files import MNEMONIC_NAME

_COMMAND_DEADLINE_S = 120
_BACKUP = "backup"


def back_up(gatewayd: OurGatewayd) -> None:
    """SQLite copies the log, and the mnemonic goes beside it."""
    backup = gatewayd.folder / _BACKUP
    backup.mkdir(mode=0o700)
    source = open_reader(gatewayd.data_dir / LOG_NAME)
    target = apsw.Connection(str(backup / LOG_NAME))
    try:
        with target.backup("main", source, "main") as copying:
            copying.step()
    finally:
        target.close()
        source.close()
    shutil.copy2(gatewayd.data_dir / MNEMONIC_NAME, backup)


async def restore(gatewayd: OurGatewayd) -> None:
    """The data directory of a gateway that is down is lost; the backup takes its place."""
    gatewayd.data_dir.rename(gatewayd.folder / "lost")
    await run_once(
        [script("gatewayd"), "log", "restore", gatewayd.folder / _BACKUP, gatewayd.data_dir],
        deadline_s=_COMMAND_DEADLINE_S,
    )
