"""Clocks, randomness and the two ways to run what blocks."""

import threading
import time

import anyio
import pytest
import trio.testing

from engine.engine import Ports
from engine.ports import SystemClock, SystemRandomness, VirtualClock, in_thread, inline, no_probe


def test_the_virtual_clock_moves_with_the_loop() -> None:
    """Thirty days pass at once under a clock that jumps whenever all tasks wait."""
    clock = VirtualClock(1_000_000)
    days_s = 30 * 86_400

    async def sleep() -> tuple[int, int]:
        before = clock.now_unix_us()
        await clock.sleep(days_s)
        return before, clock.now_unix_us()

    mock = trio.testing.MockClock(autojump_threshold=0)
    before, after = anyio.run(sleep, backend="trio", backend_options={"clock": mock})
    assert before == 1_000_000
    assert after == 1_000_000 + days_s * 1_000_000


@pytest.mark.anyio
async def test_the_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    before = time.time_ns() // 1000
    await clock.sleep(0)
    assert before <= clock.now_unix_us() <= time.time_ns() // 1000


def test_system_randomness_gives_what_was_asked_for() -> None:
    randomness = SystemRandomness()
    assert len(randomness.random_bytes(32)) == 32
    assert randomness.random_bytes(32) != randomness.random_bytes(32)


@pytest.mark.anyio
async def test_blocking_calls_run_inline_or_in_a_thread() -> None:
    ran_in: list[int] = []
    await inline(lambda: ran_in.append(threading.get_ident()))
    await in_thread(lambda: ran_in.append(threading.get_ident()))
    assert ran_in[0] == threading.get_ident() != ran_in[1]


def test_production_has_a_probe_that_does_nothing() -> None:
    probe = Ports(SystemClock(), SystemRandomness()).probe
    assert probe is no_probe
    probe("before x")
