"""Which programs count as peers, and wrong arguments of the installer."""

from pathlib import Path

import pytest

from devnet.real import peers
from devnet.real.peers.__main__ import main
from devnet.real.peers.steps import PeerInstallError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    for name in ("bin", "installed"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setenv("FEDIMINT_GATEWAY_PEERS", str(folder))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return folder


def _put(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.touch()
    path.chmod(0o755)
    return path


def _mark(cache: Path, name: str, version: str) -> None:
    (cache / "installed" / name).write_text(version)


def test_a_program_in_the_wanted_version_is_found(cache: Path) -> None:
    program = _put(cache / "bin" / "lnd")
    _mark(cache, "lnd", peers.LND_VERSION)
    assert peers.find("lnd") == program
    assert peers.missing(["lnd", "lncli"]) == ["lncli"]


@pytest.mark.parametrize("version", [None, "v0.1.0"])
def test_a_half_or_otherwise_installed_program_is_missing(cache: Path, version: str | None) -> None:
    _put(cache / "bin" / "lnd")
    if version is not None:
        _mark(cache, "lnd", version)
    assert peers.find("lnd") is None


def test_a_marker_alone_is_not_a_program(cache: Path) -> None:
    _mark(cache, "lnd", peers.LND_VERSION)
    assert peers.find("lnd") is None


def test_a_program_on_path_comes_first(cache: Path, tmp_path: Path) -> None:
    _put(cache / "bin" / "lnd")
    _mark(cache, "lnd", peers.LND_VERSION)
    on_path = _put(tmp_path / "path" / "lnd")
    assert peers.find("lnd") == on_path


def test_our_own_programs_are_not_taken_for_the_rust_ones(cache: Path, tmp_path: Path) -> None:
    _put(tmp_path / "path" / "gatewayd")
    assert peers.find("gatewayd-rust") is None
    program = _put(cache / "bin" / "gatewayd")
    _mark(cache, "gatewayd-rust", peers.FEDIMINT_VERSION)
    assert peers.find("gatewayd-rust") == program


def test_nothing_is_done_for_what_is_there(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _put(cache / "bin" / "lnd")
    _mark(cache, "lnd", peers.LND_VERSION)
    assert main(["lnd"]) == 0
    assert f"lnd: there ({cache / 'bin' / 'lnd'})" in capsys.readouterr().out


def test_a_missing_toolchain_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lnd"]) == PeerInstallError.exit_code
    assert "go is not on PATH" in capsys.readouterr().out


def test_an_unknown_peer_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lndd"]) == 2
    assert "no such peer: lndd" in capsys.readouterr().out
