"""Workers and grinders do their work, and none outlives the gateway."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from errors import ConfigError, InputError, UnavailableError
from fedimint.mintv2.tweaks import meets_filter
from gateway.grinder import GrinderProcess
from gateway.workers import WorkerProcesses
from tests.ended import ended

pytestmark = pytest.mark.anyio
FILTER = bytes(range(32))
DEADLINE_S = 30.0
ROOT = Path(__file__).parents[2]


def double(number: int) -> int:
    return 2 * number


def refuse(text: str) -> None:
    raise InputError(text)


def wait_to_be_told(begun: Path, may_end: Path) -> bytes:
    """Pipes that have names: each end waits for the other one."""
    begun.write_bytes(b"begun")
    return may_end.read_bytes()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def gone(pids: set[int]) -> bool:
    """Whether all of them have ended before the deadline."""
    return all(ended(pid, DEADLINE_S) for pid in pids)


@asynccontextmanager
async def grinder_of(pids: set[int]) -> AsyncIterator[GrinderProcess]:
    async with GrinderProcess() as grinder:
        yield grinder
        pids.update(process.pid for process in grinder._processes.values())


# --- the grinder ---


async def test_tweaks_meet_their_filter_and_differ_and_the_process_ends_with_us() -> None:
    pids: set[int] = set()
    async with grinder_of(pids) as grinder:
        other = bytes(32)
        first, second = await grinder.grind(FILTER), await grinder.grind(FILTER)
        third = await grinder.grind(other)
        assert meets_filter(first, FILTER)
        assert meets_filter(second, FILTER)
        assert meets_filter(third, other)
        assert len({first, second, third}) == 3
        assert len(grinder._processes) == 2
    assert len(pids) == 2
    assert gone(pids)


async def test_a_grinder_that_died_is_reported_and_replaced() -> None:
    pids: set[int] = set()
    async with grinder_of(pids) as grinder:
        await grinder.grind(FILTER)
        (process,) = grinder._processes.values()
        process.kill()
        await process.wait()
        with pytest.raises(UnavailableError, match="another is started"):
            await grinder.grind(FILTER)
        assert meets_filter(await grinder.grind(FILTER), FILTER)
    assert process.pid not in pids
    assert gone(pids)


@pytest.mark.parametrize("program", ["/nonexistent", "/bin/false", "/bin/cat"])
async def test_a_grinder_that_cannot_start_is_only_unavailable(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    async with GrinderProcess() as grinder:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", program)
            for _ in range(2):
                with pytest.raises(UnavailableError):
                    await grinder.grind(FILTER)
        assert meets_filter(await grinder.grind(FILTER), FILTER)


async def test_a_question_that_is_given_up_gives_no_answer_to_the_next() -> None:
    async with GrinderProcess() as grinder:
        await grinder.grind(FILTER)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await grinder.grind(FILTER)
        assert meets_filter(await grinder.grind(FILTER), FILTER)


# --- workers ---


async def test_workers_give_results_and_errors() -> None:
    with WorkerProcesses() as workers:
        assert await workers.run(double, 21) == 42
        with pytest.raises(InputError, match="as the function said"):
            await workers.run(refuse, "as the function said")


def test_where_processes_share_no_semaphores_the_start_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_arguments: object, **_named: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", refuse)
    with pytest.raises(ConfigError, match=r"need a writable /dev/shm .*Permission denied"):
        WorkerProcesses()


async def test_a_worker_that_was_killed_is_unavailable_once() -> None:
    with WorkerProcesses() as workers:
        with pytest.raises(UnavailableError, match="a worker process died"):
            await workers.run(die)
        assert await workers.run(double, 4) == 8


async def test_a_caller_that_is_cancelled_leaves_his_worker_at_its_work(tmp_path: Path) -> None:
    """The worker goes on once the caller has left; one that waited for it would never end."""
    begun, may_end = tmp_path / "begun", tmp_path / "may_end"
    os.mkfifo(begun)
    os.mkfifo(may_end)
    with WorkerProcesses() as workers:
        async with anyio.create_task_group() as callers:
            callers.start_soon(workers.run, wait_to_be_told, begun, may_end)
            assert await anyio.to_thread.run_sync(begun.read_bytes) == b"begun"
            callers.cancel_scope.cancel()
        may_end.write_bytes(b"end")
        assert await workers.run(double, 2) == 4


_PARENT = """
import anyio, os, sys
from gateway.grinder import GrinderProcess
from gateway.workers import WorkerProcesses

async def main():
    with WorkerProcesses() as workers:
        async with GrinderProcess() as grinder:
            await grinder.grind(bytes(32))
            worker = await workers.run(os.getpid)
            (process,) = grinder._processes.values()
            print(worker, process.pid, flush=True)
            await anyio.sleep_forever()

if __name__ == "__main__":
    anyio.run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_all_children_end_with_a_parent_that_is_killed(
    tmp_path: Path, number: signal.Signals
) -> None:
    program = tmp_path / "parent.py"
    program.write_text(_PARENT)
    with subprocess.Popen(
        [sys.executable, str(program)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as parent:
        assert parent.stdout is not None
        pids = {int(pid) for pid in parent.stdout.readline().split()}
        try:
            assert len(pids) == 2
            assert not any(ended(pid, 0) for pid in pids)
        finally:
            parent.send_signal(number)
        assert parent.wait(DEADLINE_S) == -number
    assert gone(pids)
