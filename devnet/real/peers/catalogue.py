"""Which programs count as peers, and where they are."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FEDIMINT_VERSION = "0.13.0"
LND_VERSION = "v0.20.1-beta"


@dataclass(frozen=True)
class Peer:
    """One program: the version wanted, and the file its build leaves in `bin/`."""

    name: str
    version: str
    file_name: str
    may_be_on_path: bool = True
    by_default: bool = True


PEERS = {
    peer.name: peer
    for peer in (
        Peer("bitcoind", "knots-sid", "bitcoind"),
        Peer("lnd", LND_VERSION, "lnd"),
        Peer("lncli", LND_VERSION, "lncli"),
        Peer("fedimintd", FEDIMINT_VERSION, "fedimintd"),
        Peer("fedimint-cli", FEDIMINT_VERSION, "fedimint-cli"),
        # On PATH these two names are this project's own programs.
        Peer("gateway-cli-rust", FEDIMINT_VERSION, "gateway-cli", may_be_on_path=False),
        # Only measured beside ours, and its internal node takes as long to build as a guardian.
        Peer("gatewayd-rust", FEDIMINT_VERSION, "gatewayd", may_be_on_path=False, by_default=False),
    )
}


def cache_dir() -> Path:
    """The folder of the installed programs; it need not exist."""
    named = os.environ.get("FEDIMINT_GATEWAY_PEERS")
    return Path(named) if named else Path.home() / ".cache" / "fedimint-gateway" / "peers"


def find(name: str) -> Path | None:
    """The program of a peer (a key of PEERS), from PATH or the cache folder, or None."""
    peer = PEERS[name]
    if peer.may_be_on_path and (on_path := shutil.which(peer.file_name)):
        return Path(on_path)
    program = cache_dir() / "bin" / peer.file_name
    marker = _marker(peer)
    if program.is_file() and marker.is_file() and marker.read_text() == peer.version:
        return program
    return None


def missing(names: Sequence[str]) -> list[str]:
    """Those of the named peers that are neither on PATH nor in the cache folder."""
    return [name for name in names if find(name) is None]


def mark(name: str) -> None:
    """Notes that the peer's program in the cache folder is whole and of the version wanted."""
    _marker(PEERS[name]).write_text(PEERS[name].version)


def _marker(peer: Peer) -> Path:
    return cache_dir() / "installed" / peer.name
