"""The programs from the Cargo registry, built in one workspace.

Built one by one, each would compile most of what the others need anew, with other features. The
registry's sources are unpacked, since only a member of a workspace is built as its program.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from devnet.real.peers.catalogue import PEERS, cache_dir, mark
from devnet.real.peers.steps import PeerInstallError, say, step

CRATE_OF_PEER = {
    "fedimintd": "fedimintd",
    "fedimint-cli": "fedimint-cli",
    "gatewayd-rust": "fedimint-gateway-server",
    "gateway-cli-rust": "fedimint-gateway-client",
}

BUILD_PACKAGES = (
    "build-essential",
    "clang",
    "cmake",
    "libclang-dev",
    "libssl-dev",
    "pkg-config",
    "protobuf-compiler",
)

# Where one program needs another's library, it takes the member, or that would be compiled twice.
_WORKSPACE = """\
[workspace]
members = [{members}]
resolver = "3"

# Test peers need to be built soon, not to run fast; the defaults double the time.
[profile.release]
codegen-units = 16
opt-level = 1

[patch.crates-io]
{patches}
"""

# Asks cargo for the sources; what it says of them tells where they are.
_SOURCES = """\
[package]
name = "sources"
version = "0.0.0"
edition = "2024"

[workspace]

[dependencies]
{dependencies}
"""


def install_rust(names: Sequence[str]) -> None:
    """Builds peers of CRATE_OF_PEER. Raises PeerInstallError."""
    _install_build_packages()
    workspace = cache_dir() / "workspace"
    target = cache_dir() / "target"
    with step("fedimint", "about 40 minutes on two cores") as run:
        _unpack(names, workspace)
        run(
            ["cargo", "build", "--release", "--bins", "--target-dir", str(target)], folder=workspace
        )
    for name in names:
        file_name = PEERS[name].file_name
        partial = cache_dir() / "bin" / f"{file_name}.partial"
        shutil.copyfile(target / "release" / file_name, partial)
        partial.chmod(0o755)
        partial.rename(partial.with_suffix(""))
        mark(name)
    shutil.rmtree(target)
    shutil.rmtree(workspace)


def _unpack(names: Sequence[str], workspace: Path) -> None:
    """Makes the workspace of the crates' sources; what an interrupted run has resolved stays."""
    sources = _sources(names, workspace.with_name("sources"))
    for crate, source in sources.items():
        shutil.rmtree(workspace / crate, ignore_errors=True)
        shutil.copytree(source, workspace / crate)
    text = _WORKSPACE.format(
        members=", ".join(f'"{crate}"' for crate in sources),
        patches="\n".join(f'{crate} = {{ path = "{crate}" }}' for crate in sources),
    )
    (workspace / "Cargo.toml").write_text(text)


def _sources(names: Sequence[str], scratch: Path) -> dict[str, Path]:
    """The folder of each crate's source in cargo's own cache."""
    (scratch / "src").mkdir(parents=True, exist_ok=True)
    (scratch / "src" / "lib.rs").touch()
    versions = {CRATE_OF_PEER[name]: PEERS[name].version for name in names}
    lines = (f'{crate} = "={version}"' for crate, version in versions.items())
    (scratch / "Cargo.toml").write_text(_SOURCES.format(dependencies="\n".join(lines)))
    asked = subprocess.run(
        ["cargo", "metadata", "--format-version=1"],
        cwd=scratch,
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode != 0:
        raise PeerInstallError(
            f"cargo cannot get the sources of {', '.join(versions)}:\n{asked.stderr}"
        )
    shutil.rmtree(scratch)
    return {
        package["name"]: Path(package["manifest_path"]).parent
        for package in json.loads(asked.stdout)["packages"]
        if versions.get(package["name"]) == package["version"]
    }


def _install_build_packages() -> None:
    """Gets what the crates' C and C++ parts need, from Debian's packages."""
    if shutil.which("cargo") is None:
        raise PeerInstallError("cargo is not on PATH; install Rust's toolchain first")
    if shutil.which("dpkg-query") is None:
        say(f"not a Debian system; see to it that these are installed: {BUILD_PACKAGES}")
        return
    lacking = [package for package in BUILD_PACKAGES if not _is_installed(package)]
    if not lacking:
        return
    if os.geteuid() != 0:
        raise PeerInstallError(f"as root, run: apt-get install {' '.join(lacking)}")
    with step("build packages", "about a minute") as run:
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
