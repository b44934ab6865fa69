"""`python -m devnet.real.peers [name…]`: installs what is missing of these peers, or of those that tests need."""

import contextlib
import fcntl
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from devnet.real.peers.bitcoin import install_bitcoind
from devnet.real.peers.catalogue import PEERS, cache_dir, find, missing
from devnet.real.peers.lnd import install_lnd
from devnet.real.peers.rust import CRATE_OF_PEER, install_rust
from devnet.real.peers.steps import PeerInstallError, say


def main(arguments: Sequence[str]) -> int:
    """Installs the peers named, or those that the tests need; returns the exit code."""
    names = list(arguments) or [peer.name for peer in PEERS.values() if peer.by_default]
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        say(f"no such peer: {', '.join(unknown)}; there are {', '.join(PEERS)}")
        return 2
    try:
        install(names)
    except PeerInstallError as error:
        say(str(error))
        return error.exit_code
    return 0


def install(names: Sequence[str]) -> None:
    """Installs what is missing of the named peers. Raises PeerInstallError.

    LND is built beside the crates at low priority: it fills the moments when cargo has work for one
    core only.
    """
    with _only_one_at_a_time():
        wanted = missing(names)
        for name in names:
            if name not in wanted:
                say(f"{name}: there ({find(name)})")
        with ThreadPoolExecutor(max_workers=1) as beside:
            steps = []
            if "bitcoind" in wanted:
                steps.append(beside.submit(install_bitcoind))
            if {"lnd", "lncli"} & set(wanted):
                steps.append(beside.submit(install_lnd))
            if rust := [name for name in wanted if name in CRATE_OF_PEER]:
                install_rust(rust)
            for started in steps:
                started.result()


@contextlib.contextmanager
def _only_one_at_a_time() -> Iterator[None]:
    root = cache_dir()
    for folder in ("bin", "installed", "log"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
