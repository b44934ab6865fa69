"""Grinds in processes of the lowest priority: mintv2 tweaks ahead of need, walletv2 addresses on demand."""

import contextlib
import sys
from subprocess import DEVNULL, PIPE
from typing import Self

import anyio
import anyio.abc

from errors import GatewayError, UnavailableError
from fedimint.crypto.secrets import TWEAK_SIZE, DerivableSecret
from fedimint.mintv2.tweaks import meets_filter
from fedimint.walletv2.config import WalletV2ClientConfig
from fedimint.walletv2.deposits import GroundAddress, decode_answer, first_line


class GrinderProcess:
    """Runs `python -m fedimint.mintv2.tweaks` for each filter it is asked for. Use as an async context manager.

    The process ends when its input does, so it never outlives this one.
    """

    def __init__(self) -> None:
        self._processes: dict[bytes, anyio.abc.Process] = {}
        self._lock = anyio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        for process in self._processes.values():
            await _end(process)

    async def grind(self, tweak_filter: bytes) -> bytes:
        """The next tweak. Raises UnavailableError when the process died; the next call starts another."""
        async with self._lock:
            try:
                tweak = await self._ask(tweak_filter)
            except BaseException:
                # Its answer may still come, and would be taken for the next question's.
                process = self._processes.pop(tweak_filter, None)
                if process is not None:
                    await _end(process)
                raise
        return checked_tweak(tweak, tweak_filter)

    async def _ask(self, tweak_filter: bytes) -> bytes:
        try:
            process = self._processes.get(tweak_filter) or await self._start(tweak_filter)
            return bytes.fromhex(await _ask(process, ""))
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream, ValueError) as error:
            raise UnavailableError(
                "the process that grinds tweaks ended or could not be started; another is started"
            ) from error

    async def _start(self, tweak_filter: bytes) -> anyio.abc.Process:
        process = self._processes[tweak_filter] = await _run("fedimint.mintv2.tweaks")
        assert process.stdin is not None
        await process.stdin.send(tweak_filter.hex().encode() + b"\n")
        return process


def checked_tweak(tweak: bytes, tweak_filter: bytes) -> bytes:
    """The tweak itself. Raises UnavailableError for one whose note would be lost to recovery."""
    if len(tweak) != TWEAK_SIZE or not meets_filter(tweak, tweak_filter):
        raise UnavailableError("the grinder made a tweak that recovery would not find")
    return tweak


async def grind_address(
    module: DerivableSecret, config: WalletV2ClientConfig, start_index: int
) -> GroundAddress:
    """The first address from `start_index` upwards. Raises UnavailableError when the process died; ask again.

    The secret goes to the process by its input, where nobody else sees it.
    """
    process = await _run("fedimint.walletv2.deposits")
    try:
        return decode_answer(await _ask(process, f"{first_line(module, config)}{start_index}"))
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream, GatewayError) as error:
        raise UnavailableError(
            "the process that grinds addresses ended; another is started"
        ) from error
    finally:
        await _end(process)


async def _end(process: anyio.abc.Process) -> None:
    with anyio.CancelScope(shield=True):
        with contextlib.suppress(ProcessLookupError):  # it ended by itself, as at Ctrl-C
            process.kill()
        await process.aclose()


async def _run(module: str) -> anyio.abc.Process:
    return await anyio.open_process(
        [sys.executable, "-m", module], stdin=PIPE, stdout=PIPE, stderr=DEVNULL
    )


async def _ask(process: anyio.abc.Process, question: str) -> str:
    """The line that answers this one."""
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.send(f"{question}\n".encode())
    line = b""
    while not line.endswith(b"\n"):
        line += await process.stdout.receive(1_000)
    return line.decode()
