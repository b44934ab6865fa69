"""How the programs from the Cargo registry are built, with a stand-in for cargo."""

import sys
import tomllib
from pathlib import Path

import pytest

from devnet.real import peers
from devnet.real.peers.__main__ import main
from devnet.real.peers.rust import CRATE_OF_PEER
from devnet.real.peers.steps import PeerInstallError

#: Knows the registry's folder and the version wanted. Its build fails while a file `broken` lies beside the sources.
_CARGO = """\
#!{python}
import json, pathlib, sys, tomllib
registry = pathlib.Path({registry!r})
wanted = tomllib.loads(pathlib.Path("Cargo.toml").read_text())
if sys.argv[1] == "metadata":
    packages = [
        {{"name": name, "version": number, "manifest_path": str(registry / f"{{name}}-{{number}}" / "Cargo.toml")}}
        for name, version in wanted["dependencies"].items()
        for number in ("0.12.0", version.removeprefix("="))
    ]
    print(json.dumps({{"packages": packages}}))
else:
    pathlib.Path("Cargo.lock").touch()
    if (registry / "broken").exists():
        sys.exit("no C compiler")
    target = pathlib.Path(sys.argv[sys.argv.index("--target-dir") + 1]) / "release"
    target.mkdir(parents=True)
    for member in wanted["workspace"]["members"]:
        program = target / pathlib.Path(member, "program").read_text()
        program.write_text(pathlib.Path(member, "Cargo.toml").read_text())
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without peers; the registry has each crate in the version wanted, and in an older one."""
    registry, path = tmp_path / "registry", tmp_path / "path"
    for name, crate in CRATE_OF_PEER.items():
        for version in ("0.12.0", peers.FEDIMINT_VERSION):
            source = registry / f"{crate}-{version}"
            source.mkdir(parents=True)
            (source / "Cargo.toml").write_text(f'version = "{version}"')
            (source / "program").write_text(peers.PEERS[name].file_name)
    path.mkdir()
    cargo = path / "cargo"
    cargo.write_text(_CARGO.format(python=sys.executable, registry=str(registry)))
    cargo.chmod(0o755)
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setenv("FEDIMINT_GATEWAY_PEERS", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_those_wanted_are_built_together_in_the_version_wanted(cache: Path) -> None:
    wanted = ["fedimint-cli", "gateway-cli-rust"]
    assert main(wanted) == 0
    assert peers.missing(list(CRATE_OF_PEER)) == ["fedimintd", "gatewayd-rust"]
    for peer in wanted:
        program = peers.find(peer)
        assert program == cache / "bin" / peers.PEERS[peer].file_name
        assert tomllib.loads(program.read_text()) == {"version": peers.FEDIMINT_VERSION}
        assert program.stat().st_mode & 0o111 == 0o111
    assert not (cache / "target").exists()
    assert not (cache / "workspace").exists()


def test_a_failed_build_is_told_and_can_be_taken_up(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "registry" / "broken"
    broken.touch()
    assert main(["fedimintd"]) == PeerInstallError.exit_code
    assert "no C compiler" in capsys.readouterr().out
    assert peers.missing(list(CRATE_OF_PEER)) == list(CRATE_OF_PEER)
    assert (cache / "workspace" / "Cargo.lock").exists()
    broken.unlink()
    assert main(["fedimintd"]) == 0
    assert peers.missing(["fedimintd"]) == []
