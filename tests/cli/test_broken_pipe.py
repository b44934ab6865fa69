"""Both commands end in silence when whoever reads their output stops reading."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.broken_pipe import reader_may_leave
from errors import InputError

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


def test_a_reader_who_leaves_in_the_middle_of_a_demonstration_is_no_error() -> None:
    """Events are printed by a task, whose error comes in a group."""
    demo = subprocess.Popen(
        [sys.executable, "-m", "cli.gatewayd", "demo"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert demo.stdout is not None
    assert demo.stderr is not None
    demo.stdout.readline()
    demo.stdout.close()
    complaint = demo.stderr.read()
    demo.stderr.close()
    assert (demo.wait(), complaint) == (0, b"")


def test_what_else_goes_wrong_is_told() -> None:
    group = ExceptionGroup("tasks", [BrokenPipeError(), InputError("wrong")])
    with pytest.raises(ExceptionGroup), reader_may_leave():
        raise group
