"""The cost of a guardian that floods its connection: waiting for an honest one, pauses, processor, memory.

The transport that gatewayd uses asks an honest guardian fifty times a second, at rest and while another guardian sends
what costs most to read, each kind for some seconds and connected to again whenever the connection is ended. Guardians
are processes of their own behind loopback sockets. Prints a line of JSON for each kind; the exit status is 1 when one
takes more of a core, or memory grows by more, than the bound.
"""

import asyncio
import base64
import hashlib
import json
import multiprocessing
import resource
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fedimint.client.transport import GUARDIAN_ERRORS
from fedimint.client.websocket import WebSocketConnection

_SECONDS = 10.0
_BETWEEN_S = 0.02
_TICK_S = 0.002
OF_A_CORE = 0.5
MEMORY_MB = 32.0

_CHUNK = 64 * 1024


def _frame(data: bytes, kind: int = 0x81) -> bytes:
    if len(data) < 126:
        return bytes([kind, len(data)]) + data
    return bytes([kind, 127]) + len(data).to_bytes(8) + data


def _answer(number: int, result: str) -> bytes:
    return _frame(f'{{"jsonrpc":"2.0","id":{number},"result":{result}}}'.encode())


#: By kind: what comes once, and what comes again and again.
FLOODS: dict[str, tuple[bytes, bytes]] = {
    "answers of a megabyte, again": (b"", _answer(0, f"[{'0,' * 500_000}0]")),
    "pings": (b"", _frame(b"", 0x89) * (_CHUNK // 2)),
    "pings of 125 bytes": (b"", _frame(b"p" * 125, 0x89) * (_CHUNK // 127)),
    "empty fragments": (b"\x01\x01{", b"\x00\x00" * (_CHUNK // 2)),
    "short frames behind a broken one": (_frame(b"no answer"), _frame(b"") * (_CHUNK // 2)),
    "a broken frame of a megabyte": (b"", _frame(b"[" * 1_000_000)),
}


def _serve(port: Connection, flood: tuple[bytes, bytes] | None) -> None:
    """One connection after the other: answer everything, or the first question and then flood."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port.send(server.getsockname()[1])
        while True:
            guest, _ = server.accept()
            with guest, suppress(OSError):
                guest.settimeout(60.0)
                _upgrade(guest)
                if flood is None:
                    _answer_all(guest)
                else:
                    guest.recv(_CHUNK)
                    guest.sendall(_answer(0, "1") + flood[0])
                    while True:
                        guest.sendall(flood[1])


def _upgrade(guest: socket.socket) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += guest.recv(_CHUNK)
    key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # noqa: S324 - RFC 6455
    guest.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


def _answer_all(guest: socket.socket) -> None:
    """One question at a time, which is how the bench asks."""
    number = 0
    while guest.recv(_CHUNK):
        guest.sendall(_answer(number, "1"))
        number += 1


@contextmanager
def guardian(flood: tuple[bytes, bytes] | None) -> Iterator[str]:
    """A guardian in a process of its own, and its URL."""
    context = multiprocessing.get_context("spawn")
    told, tells = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(tells, flood), daemon=True)
    process.start()
    try:
        yield f"ws://127.0.0.1:{told.recv()}/"
    finally:
        process.terminate()
        process.join()


async def _asked(connection: WebSocketConnection) -> float:
    """Seconds that an answer of the honest guardian takes in the mean."""
    waited_s, answers, end_s = 0.0, 0, time.monotonic() + _SECONDS
    while time.monotonic() < end_s:
        began_s = time.monotonic()
        await connection.request("session_count", None)
        waited_s += time.monotonic() - began_s
        answers += 1
        await asyncio.sleep(_BETWEEN_S)
    return waited_s / answers


async def _provoked(connection: WebSocketConnection) -> None:
    """Ask the flooding guardian, and again whenever that failed, as the gateway does."""
    while True:
        with suppress(*GUARDIAN_ERRORS):
            await connection.request("session_count", None)
        await asyncio.sleep(0.05)


async def _longest_pause(longest_s: list[float]) -> None:
    while True:
        began_s = time.monotonic()
        await asyncio.sleep(_TICK_S)
        longest_s[0] = max(longest_s[0], time.monotonic() - began_s - _TICK_S)


async def measured(honest: str, flooding: str | None) -> dict[str, float]:
    """The mean answer of the honest guardian, the longest pause of the loop, what this process takes of a core and adds
    to its memory.
    """
    asked = WebSocketConnection(honest)
    others = [] if flooding is None else [WebSocketConnection(flooding)]
    longest_s = [0.0]
    tasks = [asyncio.create_task(_longest_pause(longest_s))]
    tasks += [asyncio.create_task(_provoked(other)) for other in others]
    before_mb, cpu_s, began_s = _memory_mb(), time.process_time(), time.monotonic()
    answer_s = await _asked(asked)
    of_a_core = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
    grown_mb = _memory_mb() - before_mb
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for connection in (asked, *others):
        await connection.aclose()
    return {
        "answer_ms": round(answer_s * 1000, 2),
        "longest_pause_ms": round(longest_s[0] * 1000),
        "of_a_core": round(of_a_core, 3),
        "memory_mb": round(grown_mb, 1),
    }


def _memory_mb() -> float:
    """The most that this process ever held; it never falls, so each kind is charged with what it adds."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Measure at rest, then each flood."""
    met = True
    with guardian(None) as honest:
        asyncio.run(measured(honest, None))
        rest = asyncio.run(measured(honest, None))
        print(json.dumps({"bench": "guardian", "flood": "none", **rest, "ok": True}), flush=True)
        for kind, flood in FLOODS.items():
            with guardian(flood) as flooding:
                found = asyncio.run(measured(honest, flooding))
            ok = found["of_a_core"] <= OF_A_CORE and found["memory_mb"] <= MEMORY_MB
            print(json.dumps({"bench": "guardian", "flood": kind, **found, "ok": ok}), flush=True)
            met = met and ok
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
