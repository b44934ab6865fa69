"""An environment in which another package has one of our names is refused with a sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

import cli

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["errors", "api"])
def test_a_foreign_module_in_the_place_of_ours_ends_the_start(tmp_path: Path, name: str) -> None:
    foreign = tmp_path / f"{name}.py"
    foreign.write_text("raise AssertionError('loaded')")
    path = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]"
    done = subprocess.run(
        [sys.executable, "-c", f"{path}; import cli"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"{name} is {foreign}, and should be {ROOT / name}" in done.stderr
    assert "uv tool install" in done.stderr
    assert "Traceback" not in done.stderr


def test_our_own_environment_is_in_order() -> None:
    assert cli.shadowed(ROOT) == []


def test_a_module_that_is_missing_is_told_of(tmp_path: Path) -> None:
    assert any(line.startswith("engine is ") for line in cli.shadowed(tmp_path))
