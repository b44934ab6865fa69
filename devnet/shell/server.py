"""The control socket of a development environment: each connection sends one command and gets one answer.

Both are one line of JSON: a list of words, and `{"output": text}` or `{"error": sentence}`. Everyone who can open
the socket may do everything, so it lies in a folder of its owner alone.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import anyio
import anyio.abc
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream

from errors import ConfigError, GatewayError, InputError

Command = Callable[[Sequence[str]], Awaitable[str]]
"""Takes the words after its name and returns what to print. Raises InputError for words that are wrong."""

_LINE_BYTES = 1 << 20


async def serve_shell(
    path: Path,
    commands: Mapping[str, Command],
    *,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve without end. Raises ConfigError when there can be no socket at the path."""
    try:
        listener = await anyio.create_unix_listener(path, mode=0o600)
    except OSError as error:
        raise ConfigError(f"no socket can be made at {path}: {error}") from error

    async def converse(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            try:
                line = await BufferedByteReceiveStream(stream).receive_until(b"\n", _LINE_BYTES)
                await stream.send(await _answer(line, commands) + b"\n")
            except (anyio.BrokenResourceError, anyio.IncompleteRead, anyio.DelimiterNotFound):
                return  # nobody is left to be told

    async with listener:
        task_status.started()
        await listener.serve(converse)


async def _answer(line: bytes, commands: Mapping[str, Command]) -> bytes:
    try:
        name, *words = msgspec.json.decode(line, type=list[str]) or ["help"]
        if name not in commands:
            raise InputError(f"{name} is none of the commands {', '.join(sorted(commands))}")
        output = await commands[name](words)
    except (GatewayError, msgspec.MsgspecError) as error:
        return msgspec.json.encode({"error": str(error)})
    return msgspec.json.encode({"output": output})
