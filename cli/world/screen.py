"""The output of `gatewayd demo` and `dev`: sentences, durable events, and a spinner on terminals."""

import shutil
import time
from typing import TextIO

import anyio

from engine.chain import StoredStep

_BOLD, _DIM, _PLAIN, _CLEAR = "\x1b[1m", "\x1b[2m", "\x1b[0m", "\r\x1b[K"
_FRAMES = "|/-\\"
_FRAME_PAUSE_S = 0.1
_ID_CHARACTERS = 12
_STREAM_CHARACTERS = 24
_KIND_CHARACTERS = 24


class Screen:
    """Plain lines, unless `out` is a terminal."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._began_s = time.monotonic()
        self._frame = 0
        self._doing = ""

    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began_s

    def tell(self, sentence: str) -> None:
        """A sentence of the story, which is also what is being done until the next one."""
        self._doing = sentence
        self._print(sentence, _BOLD)

    def detail(self, text: str) -> None:
        """Something about what is being done."""
        self._print(f"           {text}", "")

    def event(self, step: StoredStep) -> None:
        """One event of the log, with the state it led to."""
        kind, _, name = step.row.stream.partition("/")
        stream = f"{kind}/{name[:_ID_CHARACTERS]}".ljust(_STREAM_CHARACTERS)
        what = step.row.kind.ljust(_KIND_CHARACTERS)
        line = f"{self.elapsed_s():>7.2f} s  #{step.row.position:<4} {stream} {what}"
        self._print(f"{line} → {type(step.state).__name__}", _DIM)

    async def run(self) -> None:
        """Turn the wheel of a terminal until it is closed; elsewhere there is none."""
        while self._is_terminal:
            self._frame += 1
            wheel = _FRAMES[self._frame % len(_FRAMES)]
            line = f"{wheel} {self.elapsed_s():.0f} s  {self._doing}"
            # A line that is broken into two could not be cleared.
            self._out.write(f"{_CLEAR}{line[: shutil.get_terminal_size().columns - 1]}")
            self._out.flush()
            await anyio.sleep(_FRAME_PAUSE_S)

    def close(self) -> None:
        """Leave the last line of a terminal empty, for good; what is told later is told in plain lines."""
        if self._is_terminal:
            self._is_terminal = False
            self._out.write(_CLEAR)
            self._out.flush()

    def _print(self, text: str, style: str) -> None:
        if self._is_terminal:
            text = f"{_CLEAR}{style}{text}{_PLAIN}"
        self._out.write(f"{text}\n")
        self._out.flush()
