"""The help of the log tools, word for word."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.log.commands import log_app

ROOT = Path(__file__).parents[3]
SNAPSHOTS = ROOT / "tests" / "vectors" / "cli"
TOOLS = sorted(name for name in log_app if not name.startswith("-"))


def test_there_is_a_snapshot_for_each_tool() -> None:
    stored = {path.stem.removeprefix("gatewayd-log-") for path in SNAPSHOTS.glob("gatewayd-log-*")}
    assert stored == set(TOOLS)


@pytest.mark.parametrize("tool", ["", *TOOLS])
def test_help(tool: str) -> None:
    """In a process of its own, since an app that was part of another in the same process shows less of itself."""
    command = [sys.executable, "-m", "cli.gatewayd.program", "log", *tool.split(), "--help"]
    shown = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100"},
    )
    name = "-".join(["gatewayd", "log", *tool.split()])
    assert shown.stdout == (SNAPSHOTS / f"{name}.txt").read_text()
