"""The version hash: of which files, and that each of them counts."""

import shutil
import tomllib
from pathlib import Path

from cli.version import NOT_INSTALLED, PACKAGES, banner, version_hash

ROOT = Path(__file__).parents[2]


def test_the_hash_covers_what_the_wheel_holds() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    wheel = tomllib.loads(text)["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert sorted(wheel["only-include"]) == sorted([*PACKAGES, "errors.py"])
    assert [path.replace("/", ".") for path in wheel["exclude"]] == list(NOT_INSTALLED)


def test_every_name_and_content_counts(tmp_path: Path) -> None:
    (tmp_path / "errors.py").write_text("one")
    shutil.copytree(ROOT / "cli", tmp_path / "cli", ignore=shutil.ignore_patterns("__pycache__"))
    first = version_hash(tmp_path)
    assert len(bytes.fromhex(first)) == 20
    assert version_hash(tmp_path) == first
    (tmp_path / "cli" / "notes.txt").write_text("not a source")
    (tmp_path / "devnet" / "real").mkdir(parents=True)
    (tmp_path / "devnet" / "real" / "peers.py").write_text("not installed")
    assert version_hash(tmp_path) == first
    (tmp_path / "errors.py").write_text("two")
    second = version_hash(tmp_path)
    (tmp_path / "cli" / "version.py").rename(tmp_path / "cli" / "versions.py")
    assert len({first, second, version_hash(tmp_path)}) == 3


def test_the_banner_is_two_words() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert banner("gatewayd") == f"gatewayd {tomllib.loads(text)['project']['version']}"
