"""bitcoind, from Debian's packages."""

import shutil
import subprocess
from pathlib import Path

from devnet.real.peers.catalogue import cache_dir, mark
from devnet.real.peers.steps import PeerInstallError, step


def install_bitcoind() -> None:
    """Unpacks bitcoind and its libraries from Debian's sid beside the system, changing none of it.

    apt gets a private world: one source, its own lists, and a status file that says nothing is
    installed, so that every library comes along, also the C library.
    """
    root = cache_dir()
    world = root / "bitcoin-apt"
    unpacked = root / "bitcoin"
    for folder in (world, unpacked):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (world / "lists" / "partial", world / "cache" / "archives" / "partial", unpacked):
        folder.mkdir(parents=True)
    (world / "status").touch()
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (world / "sources.list").write_text(f"deb [signed-by={keyring}] {_debian_mirror()} sid main\n")
    options = {
        "Dir::Etc::sourcelist": world / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": world / "lists",
        "Dir::State::status": world / "status",
        "Dir::Cache": world / "cache",
        "Acquire::Languages": "none",
    }
    apt = ["apt-get", *(f"-o{key}={value}" for key, value in options.items())]
    with step("bitcoind", "less than a minute") as run:
        run([*apt, "update"])
        run([*apt, "-y", "--download-only", "--no-install-recommends", "install", "bitcoin-knots"])
        for package in sorted((world / "cache" / "archives").glob("*.deb")):
            if not package.name.startswith(("systemd", "libsystemd-shared", "debconf")):
                run(["dpkg", "-x", str(package), str(unpacked)])
        program = root / "bin" / "bitcoind"
        program.write_text(_bitcoind_script(unpacked))
        program.chmod(0o755)
        run([str(program), "-version"])
    shutil.rmtree(world)
    mark("bitcoind")


def _debian_mirror() -> str:
    """The address from which this machine gets Debian's packages. Raises PeerInstallError if it has none."""
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)"],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.split() for line in targets.stdout.splitlines()]
    mirrors = [line[2] for line in lines if len(line) == 3 and line[:2] == ["Debian", "Debian"]]
    if not mirrors:
        raise PeerInstallError("apt knows no mirror of Debian yet; as root, run: apt-get update")
    return mirrors[0]


def _bitcoind_script(unpacked: Path) -> str:
    """A starter that runs bitcoind under the C library it came with."""
    loader = next(unpacked.glob("usr/lib*/ld-linux*.so.*"))
    libraries = next(unpacked.glob("usr/lib/*-linux-gnu"))
    return (
        "#!/bin/sh\n"
        f"exec '{loader}' --library-path '{libraries}' '{unpacked / 'usr/bin/bitcoind'}' \"$@\"\n"
    )
