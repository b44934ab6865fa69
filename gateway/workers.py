"""Worker processes for work that holds the interpreter's lock, such as BLS. They end with their parent."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Self, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

from errors import ConfigError, UnavailableError

#: Threads that wait for workers; further callers wait without one.
WAITING_MAX = 32

T = TypeVar("T")
Args = TypeVarTuple("Args")


class WorkerProcesses:
    """As many workers as there are cores, each started when first needed. Use as a context manager."""

    def __init__(self) -> None:
        """Raises ConfigError where processes cannot share semaphores."""
        try:
            self._pool = _new_pool()
        except (OSError, ImportError) as error:
            raise ConfigError(
                f"worker processes need a writable /dev/shm for their semaphores ({error}): mount a tmpfs of a few "
                "megabytes there, as docker does by default"
            ) from error
        # Of its own, so that no burst of work keeps the journal from a thread.
        self._waiting = anyio.CapacityLimiter(WAITING_MAX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, function: Callable[[*Args], T], *arguments: *Args) -> T:
        """The function's result or error. Raises UnavailableError when its worker died; run it again.

        A caller that is cancelled leaves at once; the worker finishes for nobody.
        """
        pool = self._pool
        try:
            return await anyio.to_thread.run_sync(
                lambda: pool.submit(function, *arguments).result(),
                abandon_on_cancel=True,
                limiter=self._waiting,
            )
        except BrokenProcessPool as error:
            if self._pool is pool:
                self._pool = _new_pool()
            raise UnavailableError("a worker process died; its work is done again") from error


def _new_pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        mp_context=multiprocessing.get_context("spawn"), initializer=_prepare_worker
    )


def _prepare_worker() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
