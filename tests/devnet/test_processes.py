"""Children end when told, when they fail, and when their parent is killed."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devnet.processes import ProcessError, Program, free_port, run_once, until
from errors import UnavailableError

pytestmark = pytest.mark.anyio

_ROOT = Path(__file__).parents[3]

# Opens the FIFO named by its argument, so that a reader sees it come up, and end with it.
_HOLDS_FIFO = 'exec 3>"$0"; exec sleep 1000'
_IGNORES_SIGTERM = f'trap "" TERM; {_HOLDS_FIFO}'

_PARENT = """
import signal, sys
from pathlib import Path
from devnet.processes import Program

fifo, script = Path(sys.argv[1]), sys.argv[2]
Program("holder", ["sh", "-c", script, fifo], log_path=fifo.with_name("log")).start()
signal.pause()
"""


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def _holder(fifo: Path, script: str = _HOLDS_FIFO) -> Program:
    return Program("holder", ["sh", "-c", script, fifo], log_path=fifo.with_name("log"))


async def test_a_stopped_program_is_gone_and_starts_again(fifo: Path) -> None:
    program = _holder(fifo)
    for _ in range(2):
        program.start()
        with fifo.open("rb") as held:
            assert program.is_running
            await program.stop()
            assert held.read() == b""
        assert not program.is_running


async def test_a_program_that_does_not_listen_is_killed(fifo: Path) -> None:
    program = _holder(fifo, _IGNORES_SIGTERM)
    program.start()
    with fifo.open("rb") as held:
        await program.stop(patience_s=0)
        assert held.read() == b""


async def test_a_program_does_not_run_twice(fifo: Path) -> None:
    program = _holder(fifo)
    program.start()
    try:
        with pytest.raises(ProcessError, match="runs already"):
            program.start()
    finally:
        program.kill()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv of util-linux is missing")
def test_nothing_outlives_a_killed_parent(fifo: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _PARENT,
            fifo,
            _IGNORES_SIGTERM,
        ],
        cwd=_ROOT,
    )
    with fifo.open("rb") as held:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert held.read() == b""


async def test_a_failed_command_tells_its_complaint() -> None:
    with pytest.raises(ProcessError, match=r"ended with 3: no luck"):
        await run_once(["sh", "-c", "echo no luck >&2; exit 3"], deadline_s=60)


async def test_a_command_gives_its_output_and_sees_its_environment() -> None:
    output = await run_once(
        ["sh", "-c", "echo $GREETING"], deadline_s=60, environment={"GREETING": "hello"}
    )
    assert output == "hello\n"


async def test_a_command_has_a_deadline() -> None:
    with pytest.raises(ProcessError, match="took longer than 0 s"):
        await run_once(["sleep", "1000"], deadline_s=0)


async def test_until_asks_again_after_no_and_not_yet() -> None:
    answers = iter([None, False, UnavailableError("warming up"), 7])

    async def ask() -> int | bool | None:
        answer = next(answers)
        if isinstance(answer, UnavailableError):
            raise answer
        return answer

    assert await until("seven", ask, deadline_s=60, pause_s=0) == 7


async def test_until_gives_up_at_the_deadline_and_tells_the_last_refusal() -> None:
    async def ask() -> None:
        raise UnavailableError("warming up")

    with pytest.raises(ProcessError, match="seven: not within 0 s; last: "):
        await until("seven", ask, deadline_s=0)


async def test_until_gives_up_when_the_program_has_ended(tmp_path: Path) -> None:
    program = Program("subject", ["sh", "-c", "echo bad flag; exit 1"], log_path=tmp_path / "log")
    program.start()

    async def ask() -> None:
        return None

    with pytest.raises(ProcessError, match=r"subject is not running(.|\n)*bad flag"):
        await until("seven", ask, deadline_s=60, programs=[program])


def test_ports_are_given_once() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
