"""Installs the real programs the gateway is tested against, from the ordinary package registries.

Runs on the bare standard library: `python -m devnet.real.peers [name…]`. Programs go to the folder named
by FEDIMINT_GATEWAY_PEERS, by default `~/.cache/fedimint-gateway/peers`. What is on PATH or already
there in the right version is skipped, and an interrupted run is taken up where it stopped.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from errors import UnavailableError

FEDIMINT_VERSION = "0.13.0"
LND_VERSION = "v0.20.1-beta"
LND_TAGS = "signrpc walletrpc chainrpc invoicesrpc routerrpc peersrpc monitoring kvdb_sqlite"

# LND's JSON output needs this fork; a replace directive of LND itself does not reach a module
# that only requires it.
LND_GO_MOD = f"""\
module peers

go 1.24

require github.com/lightningnetwork/lnd {LND_VERSION}

replace google.golang.org/protobuf => \
github.com/lightninglabs/protobuf-go-hex-display v1.33.0-hex-display
"""
BUILD_PACKAGES = (
    "build-essential",
    "clang",
    "cmake",
    "libclang-dev",
    "libssl-dev",
    "pkg-config",
    "protobuf-compiler",
)

# Test peers need to be built soon, not to run fast; the defaults of these crates double the time.
CARGO_SETTINGS = {
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
    "CARGO_PROFILE_RELEASE_DEBUG": "0",
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "1",
}


class PeerInstallError(UnavailableError):
    """A peer could not be installed; the text names the log that tells why."""


@dataclass(frozen=True)
class Peer:
    """One program: the version wanted, and the file its build leaves in `bin/`."""

    name: str
    version: str
    file_name: str
    may_be_on_path: bool = True
    by_default: bool = True


@dataclass(frozen=True)
class Crate:
    """One program from the Cargo registry."""

    peer: str
    crate: str
    duration: str


PEERS = {
    peer.name: peer
    for peer in (
        Peer("bitcoind", "knots-sid", "bitcoind"),
        Peer("lnd", LND_VERSION, "lnd"),
        Peer("lncli", LND_VERSION, "lncli"),
        Peer("fedimintd", FEDIMINT_VERSION, "fedimintd"),
        Peer("fedimint-cli", FEDIMINT_VERSION, "fedimint-cli"),
        # On PATH these two names are this project's own programs.
        Peer("gatewayd-rust", FEDIMINT_VERSION, "gatewayd", may_be_on_path=False, by_default=False),
        Peer(
            "gateway-cli-rust",
            FEDIMINT_VERSION,
            "gateway-cli",
            may_be_on_path=False,
            by_default=False,
        ),
    )
}

CRATES = (
    Crate("fedimintd", "fedimintd", "about 20 minutes on two cores"),
    Crate("fedimint-cli", "fedimint-cli", "about 13 minutes on two cores"),
    Crate("gatewayd-rust", "fedimint-gateway-server", "about 20 minutes on two cores"),
    Crate("gateway-cli-rust", "fedimint-gateway-client", "about 10 minutes on two cores"),
)


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


def install(names: Sequence[str]) -> None:
    """Installs what is missing of the named peers. Raises PeerInstallError.

    LND is built beside the crates at low priority: it fills the moments when cargo has work for one
    core only.
    """
    with _only_one_at_a_time():
        wanted = missing(names)
        for name in names:
            if name not in wanted:
                _say(f"{name}: there ({find(name)})")
        crates = [crate for crate in CRATES if crate.peer in wanted]
        if crates:
            _install_build_packages()
        with ThreadPoolExecutor(max_workers=1) as beside:
            steps = []
            if "bitcoind" in wanted:
                steps.append(beside.submit(_install_bitcoind))
            if {"lnd", "lncli"} & set(wanted):
                steps.append(beside.submit(_install_lnd))
            for crate in crates:
                _install_crate(crate)
            for step in steps:
                step.result()
        if not missing([crate.peer for crate in CRATES if crate.peer in names]):
            shutil.rmtree(cache_dir() / "target", ignore_errors=True)


def _install_build_packages() -> None:
    """Gets what the crates' C and C++ parts need, from Debian's packages."""
    if shutil.which("cargo") is None:
        raise PeerInstallError("cargo is not on PATH; install Rust's toolchain first")
    if shutil.which("dpkg-query") is None:
        _say(f"not a Debian system; see to it that these are installed: {BUILD_PACKAGES}")
        return
    lacking = [package for package in BUILD_PACKAGES if not _is_installed(package)]
    if not lacking:
        return
    if os.geteuid() != 0:
        raise PeerInstallError(f"as root, run: apt-get install {' '.join(lacking)}")
    with _step("build packages", "about a minute") as run:
        environment = {"DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update"], environment=environment)
        run(
            ["apt-get", "install", "-y", "--no-install-recommends", *lacking],
            environment=environment,
        )


def _is_installed(package: str) -> bool:
    query = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status}", package],
        capture_output=True,
        text=True,
        check=False,
    )
    return query.stdout == "installed"


def _install_crate(crate: Crate) -> None:
    """Builds one crate; RocksDB is compiled for the first only and linked from then on.

    Snappy must not be treated alike: compiling it is what makes cargo link the C++ library.
    """
    root = cache_dir()
    environment = dict(CARGO_SETTINGS)
    rocksdb = root / "lib" / "librocksdb.a"
    if rocksdb.is_file():
        environment |= {
            "ROCKSDB_LIB_DIR": str(rocksdb.parent),
            "ROCKSDB_STATIC": "1",
        }
    command = ["cargo", "install", crate.crate, "--version", PEERS[crate.peer].version]
    with _step(crate.peer, crate.duration) as run:
        run(
            [*command, "--root", str(root), "--target-dir", str(root / "target")],
            environment=environment,
        )
        built = next((root / "target").glob(f"*/build/librocksdb-sys-*/out/{rocksdb.name}"), None)
        if built is not None and not rocksdb.is_file():
            rocksdb.parent.mkdir(exist_ok=True)
            partial = rocksdb.with_suffix(".partial")
            shutil.copyfile(built, partial)
            partial.rename(rocksdb)
    _mark(crate.peer)


def _install_lnd() -> None:
    """Builds lnd and lncli in a small module of its own, without cgo."""
    if shutil.which("go") is None:
        raise PeerInstallError("go is not on PATH; install Go 1.24 or later first")
    root = cache_dir()
    module = root / "lnd-module"
    module.mkdir(exist_ok=True)
    (module / "go.mod").write_text(LND_GO_MOD)
    programs = [f"github.com/lightningnetwork/lnd/cmd/{name}" for name in ("lnd", "lncli")]
    versions = [f"{program}@{LND_VERSION}" for program in programs]
    with _step("lnd and lncli", "about 5 minutes on two cores") as run:
        run(["go", "get", *versions], folder=module)
        run(
            [
                "nice",
                "go",
                "build",
                "-trimpath",
                "-tags",
                LND_TAGS,
                "-o",
                f"{root}/bin/",
                *programs,
            ],
            folder=module,
            environment={"CGO_ENABLED": "0"},
        )
    shutil.rmtree(module)
    _mark("lnd")
    _mark("lncli")


def _install_bitcoind() -> None:
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
    with _step("bitcoind", "less than a minute") as run:
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
    _mark("bitcoind")


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


def _marker(peer: Peer) -> Path:
    return cache_dir() / "installed" / peer.name


def _mark(name: str) -> None:
    _marker(PEERS[name]).write_text(PEERS[name].version)
    _say(f"{name}: installed")


@contextlib.contextmanager
def _only_one_at_a_time() -> Iterator[None]:
    root = cache_dir()
    for folder in ("bin", "installed", "log"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _step(title: str, duration: str) -> Iterator[Callable[..., None]]:
    """Gives a runner of commands that writes to the step's log; tells how long the step took."""
    log_path = cache_dir() / "log" / f"{title.replace(' ', '-')}.log"
    _say(f"{title}: {duration}, log in {log_path}")
    started_s = time.monotonic()
    with log_path.open("w") as log:

        def run(
            command: Sequence[str],
            *,
            folder: Path | None = None,
            environment: dict[str, str] | None = None,
        ) -> None:
            done = subprocess.run(
                command,
                cwd=folder,
                env=os.environ | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
            if done.returncode != 0:
                tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-30:])
                raise PeerInstallError(
                    f"{title}: `{' '.join(command)}` ended with {done.returncode}\n{tail}"
                )

        yield run
    _say(f"{title}: took {time.monotonic() - started_s:.0f} s")


def _say(text: str) -> None:
    sys.stdout.write(f"peers: {text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Installs the peers named, or those that the tests need; returns the exit code."""
    names = list(arguments) or [peer.name for peer in PEERS.values() if peer.by_default]
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        _say(f"no such peer: {', '.join(unknown)}; there are {', '.join(PEERS)}")
        return 2
    try:
        install(names)
    except PeerInstallError as error:
        _say(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
