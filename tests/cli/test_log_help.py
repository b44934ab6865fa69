"""The help of the log tools, word for word."""

from pathlib import Path

import pytest

from cli.gatewayd import main
from cli.log_tools import log_app

SNAPSHOTS = Path(__file__).parents[1] / "vectors" / "cli"
TOOLS = sorted(name for name in log_app if not name.startswith("-"))


def test_there_is_a_snapshot_for_each_tool() -> None:
    stored = {path.stem.removeprefix("gatewayd-log-") for path in SNAPSHOTS.glob("gatewayd-log-*")}
    assert stored == set(TOOLS)


@pytest.mark.parametrize("tool", ["", *TOOLS])
def test_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["log", *tool.split(), "--help"]) == 0
    name = "-".join(["gatewayd", "log", *tool.split()])
    assert capsys.readouterr().out == (SNAPSHOTS / f"{name}.txt").read_text()
