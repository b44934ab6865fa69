"""Shares of processor time by purpose: py-spy samples a process and its children from outside.

A sample belongs to the first of the rules that one of its frames' files matches, from the innermost frame outwards, so
time in a C extension counts for the Python file that called it. Samples of threads that wait are left out: on a busy
machine the sampler takes them for work.
"""

import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RATE_HZ = 250

_RULES = (
    ("grinding", ("fedimint/mintv2/tweaks.py",)),
    ("bls", ("fedimint/crypto/bls.py", "fedimint/crypto/tbs.py", "fedimint/mintv2/notes.py")),
    ("keys", ("fedimint/codec/secp.py", "fedimint/crypto/secrets.py")),
    ("sqlite", ("engine/storage/store.py", "engine/storage/read_model.py")),
    (
        "encoding",
        (
            "fedimint/codec/encoding.py",
            "fedimint/transaction.py",
            "engine/events.py",
            "engine/fold.py",
        ),
    ),
    ("handing over to workers", ("multiprocessing/", "concurrent/futures/")),
    ("lightning node", ("grpc/", "backends/")),
    (
        "guardians",
        (
            "fedimint/client/websocket.py",
            "aiohttp/client",
            "aiohttp/_websocket/",
            "fedimint/client/query.py",
        ),
    ),
    ("http", ("api/", "aiohttp/")),
    ("log lines", ("structlog/", "cli/gatewayd/daemon.py")),
)
_REST = "rest"
#: Where threads wait: for sockets, for each other, for workers and their questions.
_WAITS = ("/selectors.py", "/threading.py", "multiprocessing/synchronize.py", "Connection._recv")


def py_spy() -> str | None:
    """The profiler, beside this interpreter or on PATH."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


@contextmanager
def sampling(process_id: int, profile: Path) -> Iterator[None]:
    """Sample a process and its children for the length of the block into the file `profile`."""
    command = [
        str(py_spy()),
        "record",
        f"--pid={process_id}",
        f"--output={profile}",
        f"--rate={RATE_HZ}",
    ]
    command += [
        "--subprocesses",
        "--format=raw",
        "--full-filenames",
        "--duration=unlimited",
        "--nonblocking",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as profiler:
        try:
            yield
        finally:
            profiler.send_signal(signal.SIGINT)


def shares(profile: Path) -> dict[str, float]:
    """Part of the samples, from 0 to 1, by what they were spent on; the largest first."""
    samples: Counter[str] = Counter()
    for line in profile.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        if not any(wait in stack.rpartition(";")[2] for wait in _WAITS):
            samples[_category(stack)] += int(count)
    total = samples.total() or 1
    return {category: round(count / total, 3) for category, count in samples.most_common()}


def _category(stack: str) -> str:
    for frame in reversed(stack.split(";")):
        for category, files in _RULES:
            if any(file in frame for file in files):
                return category
    return _REST
