"""Installs the real programs the gateway is tested against, from the ordinary package registries.

Runs on the bare standard library: `python -m devnet.real.peers [name…]`. Programs go to the folder named
by FEDIMINT_GATEWAY_PEERS, by default `~/.cache/fedimint-gateway/peers`. What is on PATH or already
there in the right version is skipped, and an interrupted run is taken up where it stopped.
"""

from devnet.real.peers.catalogue import (
    FEDIMINT_VERSION,
    LND_VERSION,
    PEERS,
    Peer,
    cache_dir,
    find,
    missing,
)

__all__ = [
    "FEDIMINT_VERSION",
    "LND_VERSION",
    "PEERS",
    "Peer",
    "cache_dir",
    "find",
    "missing",
]
