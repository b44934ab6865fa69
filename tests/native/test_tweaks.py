"""The native search for tweaks: the answers of `fedimint.mintv2.tweaks`, without the interpreter's lock."""

import os
import sys
import threading
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cli.gatewayd.grinding import native_find
from fedimint.mintv2 import tweaks
from gateway.grinder_thread import GrinderThread

if "FEDIMINT_GATEWAY_REQUIRE_NATIVE" not in os.environ:
    pytest.importorskip(
        "fedimint_gateway_native.accel",
        reason="the native part is not built here (`nox -s native`, `uv sync --extra native`)",
    )

FILTER = bytes(range(32))
LARGEST = 2**128 - 1
#: Enough of them overlap the largest tweak, after which comes zero.
STARTS = st.integers(0, LARGEST) | st.integers(LARGEST - 100_000, LARGEST)
SWITCHES_MAX = 10_000


def start_of(number: int) -> bytes:
    return number.to_bytes(16, "big")


@settings(max_examples=25)
@example(FILTER, LARGEST)
@example(bytes(32), 0)
@given(st.binary(min_size=32, max_size=32), STARTS)
def test_both_find_the_same_tweak_after_the_same_tries(tweak_filter: bytes, first: int) -> None:
    find = native_find()
    start = start_of(first)
    found = tweaks.grind(tweak_filter, start)
    before = (int.from_bytes(found, "big") - first) % 2**128
    assert find(tweak_filter, start, before) is None
    assert find(tweak_filter, start, before + 1) == found
    assert find(tweak_filter, start, 2**32 - 1) == found
    assert tweaks.grind(tweak_filter, start, find) == found


@settings(max_examples=5)
@given(st.binary(min_size=32, max_size=32), STARTS)
def test_who_waits_finds_the_same_at_the_own_priority(tweak_filter: bytes, first: int) -> None:
    find = tweaks.quickest()
    assert find is tweaks.find_natively
    start = start_of(first)
    assert tweaks.grind(tweak_filter, start, find) == tweaks.grind(
        tweak_filter, start, native_find()
    )
    with pytest.raises(ValueError, match=r"^a tweak filter has 32 bytes, a start 16$"):
        find(tweak_filter, start[1:], 1)


@given(st.binary(min_size=32, max_size=32), STARTS, st.integers(0, 300))
def test_both_say_alike_that_there_is_none(tweak_filter: bytes, first: int, tries: int) -> None:
    start = start_of(first)
    assert native_find()(tweak_filter, start, tries) == tweaks.find(tweak_filter, start, tries)


@pytest.mark.parametrize(
    ("filter_size", "start_size"), [(31, 16), (33, 16), (32, 15), (32, 17), (0, 0)]
)
def test_wrong_sizes_are_refused_without_repeating_them(filter_size: int, start_size: int) -> None:
    with pytest.raises(ValueError, match=r"^a tweak filter has 32 bytes, a start 16$"):
        native_find()(bytes(filter_size), bytes(start_size), 1)


@pytest.mark.parametrize("tries", [-1, 2**32])
def test_tries_without_bound_are_refused(tries: int) -> None:
    with pytest.raises(OverflowError):
        native_find()(FILTER, start_of(0), tries)


def test_other_threads_run_during_a_search() -> None:
    """With nobody asked to give the lock back, they run only while the search has given it back itself."""
    find, seen = native_find(), threading.Event()
    is_searching = False

    def search() -> None:
        nonlocal is_searching
        for number in range(SWITCHES_MAX):
            is_searching = True
            find(FILTER, start_of(number << 64), tweaks.TRIES_PER_CALL)
            is_searching = False
            if seen.is_set():
                break

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1_000_000)
    try:
        searcher = threading.Thread(target=search)
        searcher.start()
        while searcher.is_alive() and not seen.is_set():
            if is_searching:
                seen.set()
            time.sleep(0)  # gives the lock back
        searcher.join()
    finally:
        sys.setswitchinterval(interval_s)
    assert seen.is_set()


@pytest.mark.anyio
async def test_the_grinder_makes_tweaks_that_meet_their_filter_and_differ() -> None:
    grinder = GrinderThread(native_find(), os.urandom)
    ground = [await grinder.grind(FILTER) for _ in range(8)]
    assert len(set(ground)) == 8
    assert all(tweaks.meets_filter(tweak, FILTER) for tweak in ground)
