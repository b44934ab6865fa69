"""Child processes that end with their parent, and polling for what they do."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import anyio

from errors import UnavailableError

_Answer = TypeVar("_Answer")

_LOG_TAIL_LINES = 30
_POLL_INTERVAL_S = 0.1

_ports_given: set[int] = set()


class ProcessError(UnavailableError):
    """A program ended, failed or did not become ready; the text holds the end of its log."""


class Program:
    """One long-running program with its own log file, stopped and started again at will.

    It leads a process group of its own, and the kernel kills it when this process dies. Start it
    from the main thread: the kernel's rule is about the thread that forked.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log_path: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._command = [str(part) for part in command]
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def process_id(self) -> int | None:
        """Also the id of its process group; None before the first start."""
        return self._process.pid if self._process is not None else None

    @property
    def exit_code(self) -> int | None:
        """As the shell sees it, negative for a signal; None before the first end."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        """Starts the program, appending to its log. Raises ProcessError if it runs already."""
        if self.is_running:
            raise ProcessError(f"{self.name} runs already")
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*_dies_with_parent(), *self._command],
                env=_inherited() | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def stop(self, *, patience_s: float = 10) -> None:
        """Ends the program and what it started: politely first, by SIGKILL after the patience."""
        if self._process is None:
            return
        with anyio.CancelScope(shield=True), anyio.move_on_after(patience_s):
            self._signal(signal.SIGTERM)
            while self.is_running:  # noqa: ASYNC110 - a child's end sets no event
                await anyio.sleep(_POLL_INTERVAL_S)
        self.kill()

    def kill(self) -> None:
        """Ends the program at once, as a crash would."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        # Asked first, so that a group id that was given anew is never hit.
        if self._process is not None and self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def check_running(self) -> None:
        """Raises ProcessError with the end of the log if the program has ended."""
        if not self.is_running:
            raise ProcessError(f"{self.name} is not running; its log ends with:\n{self.log_tail()}")

    def log_tail(self) -> str:
        if not self.log_path.is_file():
            return ""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:])


async def until(
    what: str,
    ask: Callable[[], Awaitable[_Answer | None]],
    *,
    deadline_s: float,
    programs: Sequence[Program] = (),
    pause_s: float = _POLL_INTERVAL_S,
) -> _Answer:
    """Asks again and again until the answer is neither None nor False, and returns it.

    `ask` raises UnavailableError for "not yet". Raises ProcessError naming `what` when the deadline
    passes or when one of the programs ends.
    """
    last_refusal = "no answer yet"
    with anyio.move_on_after(deadline_s):
        while True:
            for program in programs:
                program.check_running()
            try:
                answer = await ask()
            except UnavailableError as error:
                last_refusal = str(error)
            else:
                if answer is not None and answer is not False:
                    return answer
            await anyio.sleep(pause_s)
    tails = "".join(f"\n{program.name}:\n{program.log_tail()}" for program in programs)
    raise ProcessError(f"{what}: not within {deadline_s} s; last: {last_refusal}{tails}")


async def run_once(
    command: Sequence[str | Path],
    *,
    deadline_s: float,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Runs a command to its end and returns its standard output.

    Raises ProcessError with its standard error when it fails or exceeds the deadline.
    """
    parts = [str(part) for part in command]
    title = " ".join([Path(parts[0]).name, *parts[1:]])
    try:
        with anyio.fail_after(deadline_s):
            done = await anyio.run_process(
                [*_dies_with_parent(), *parts],
                stdin=subprocess.DEVNULL,
                check=False,
                env=_inherited() | dict(environment or {}),
            )
    except TimeoutError:
        raise ProcessError(f"`{title}` took longer than {deadline_s} s") from None
    output, complaint = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if done.returncode != 0:
        raise ProcessError(f"`{title}` ended with {done.returncode}: {complaint}{output}")
    return output


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now and that this process has not given out before."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
        if port not in _ports_given:
            _ports_given.add(port)
            return port


def _inherited() -> dict[str, str]:
    """This process's environment without what steers programs of Fedimint: that may be of a real gateway."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FM_")}


def _dies_with_parent() -> list[str]:
    """The prefix of a command that asks the kernel for SIGKILL when the parent dies (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
