"""Both commands end in silence when whoever reads their output stops reading."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "code"),
    [("gatewayd version-hash", 0), ("gateway_cli version-hash", 0), ("gateway_cli fly", 4)],
)
def test_a_reader_who_leaves_is_no_error(words: str, code: int) -> None:
    program, command = words.split()
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", f"cli.{program}", command],
            cwd=ROOT,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (code, "")
