"""Grinding in a thread, here by Python's search: the first tweak from a fresh start, and an end when given up."""

import threading

import anyio
import anyio.to_thread
import pytest

from errors import UnavailableError
from fedimint.mintv2 import tweaks
from gateway.grinder_thread import GrinderThread

pytestmark = pytest.mark.anyio
FILTER = bytes(range(32))


async def test_each_tweak_is_the_first_from_a_start_of_its_own() -> None:
    starts = iter([b"\x01" * 16, b"\xff" * 16])
    grinder = GrinderThread(tweaks.find, lambda _size: next(starts))
    for start in (b"\x01" * 16, b"\xff" * 16):
        assert await grinder.grind(FILTER) == tweaks.grind(FILTER, start)


async def test_a_tweak_that_recovery_would_not_find_is_refused() -> None:
    grinder = GrinderThread(lambda _filter, start, _tries: start, bytes)
    with pytest.raises(UnavailableError, match="recovery would not find"):
        await grinder.grind(FILTER)


async def test_a_search_that_fails_is_tried_again_by_the_next_question() -> None:
    def find(tweak_filter: bytes, start: bytes, tries: int) -> bytes | None:
        if fails:
            raise UnavailableError(fails.pop())
        return tweaks.find(tweak_filter, start, tries)

    fails = ["broken"]
    grinder = GrinderThread(find, bytes)
    with pytest.raises(UnavailableError, match="broken"):
        await grinder.grind(FILTER)
    assert await grinder.grind(FILTER) == tweaks.grind(FILTER, bytes(16))


async def test_a_thread_ends_after_the_call_in_which_it_was_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, may_go_on, has_ended = threading.Event(), threading.Event(), threading.Event()
    calls = 0

    def find(_filter: bytes, _start: bytes, _tries: int) -> bytes | None:
        nonlocal calls
        calls += 1
        begun.set()
        may_go_on.wait()
        return None if calls < 3 else bytes(16)

    def grind_and_tell(tweak_filter: bytes, start: bytes, by: tweaks.FindTweak) -> bytes:
        try:
            return grind(tweak_filter, start, by)
        finally:
            has_ended.set()

    grind = tweaks.grind
    monkeypatch.setattr(tweaks, "grind", grind_and_tell)
    grinder = GrinderThread(find, bytes)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(grinder.grind, FILTER)
        await anyio.to_thread.run_sync(begun.wait)
        tasks.cancel_scope.cancel()
    may_go_on.set()
    await anyio.to_thread.run_sync(has_ended.wait)
    assert calls == 1
