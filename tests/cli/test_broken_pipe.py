"""Both commands end in silence when the reader of their output stops reading, or never did."""

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
            [sys.executable, "-m", f"cli.{program}.program", command],
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
        [sys.executable, "-m", "cli.gatewayd.program", "demo"],
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


@pytest.mark.parametrize(
    ("words", "code"),
    [("gatewayd version-hash", 0), ("gateway_cli version-hash", 0), ("gateway_cli fly", 4)],
)
def test_a_start_without_standard_streams_is_no_error(words: str, code: int) -> None:
    """As some supervisors do, and `>&-` in a shell."""
    program, command = words.split()
    ended = subprocess.run(
        [
            "/bin/sh",
            "-c",
            'exec "$@" <&- >&- 2>&-',
            "sh",
            sys.executable,
            "-m",
            f"cli.{program}.program",
            command,
        ],
        cwd=ROOT,
        check=False,
    )
    assert ended.returncode == code


def test_no_file_gets_the_number_of_a_standard_stream(tmp_path: Path) -> None:
    """What libraries print past Python would go into it: a lock, a socket."""
    script = (
        "import os, sys; from cli.broken_pipe import open_standard_streams; open_standard_streams(); "
        "print('heard by nobody'); sys.stdout.flush(); os.write(1, b'x'); os.write(2, b'x'); "
        f"sys.exit(os.open({str(tmp_path)!r}, os.O_RDONLY) < 3 or sys.stdin.read() != '')"
    )
    ended = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", script],
        cwd=ROOT,
        check=False,
    )
    assert ended.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
@pytest.mark.parametrize(
    ("words", "code"),
    [("gatewayd version-hash", 1), ("gateway_cli version-hash", 1), ("gateway_cli fly", 1)],
)
def test_an_answer_that_finds_no_space_is_told_in_a_sentence(words: str, code: int) -> None:
    program, command = words.split()
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", f"cli.{program}.program", command],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == code
    assert ended.stderr.endswith("the request may have been carried out\n")
    assert len(ended.stderr.splitlines()) == 1
