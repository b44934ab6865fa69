"""Bounds of what a guardian may send: a burst, then a rate, in frames of any size."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fedimint.client import inflow
from fedimint.client.inflow import (
    BURST_BYTES,
    BYTES_PER_S,
    FRAME_BYTES_AT_LEAST,
    MAX_ANSWER_BYTES,
    MAX_FRAME_BYTES,
    Inflow,
    max_answer_bytes,
)
from tests.fedimint.conftest import Session


def test_what_real_guardians_answered_is_a_tenth_of_what_they_may(
    sessions: dict[str, Session], federations: dict[str, dict[str, Any]]
) -> None:
    """Of one guardian each; with twenty, a config has twenty times the keys."""
    calls = [call for session in sessions.values() for call in session.calls]
    assert len(calls) > 100
    for call in calls:
        most = max_answer_bytes(call.method)
        if call.method != "await_outputs_outcomes":  # of modules that we do not use
            assert (
                len(json.dumps(call.result)) * (20 if call.method == "client_config" else 5) < most
            )
    for told in federations.values():
        assert len(json.dumps(told["version"])) * 10 < max_answer_bytes("version")


class Clock:
    def __init__(self) -> None:
        self.now_s = 7.0

    def __call__(self) -> float:
        return self.now_s


@given(
    st.lists(st.tuples(st.floats(0, 20), st.integers(0, MAX_FRAME_BYTES)), min_size=1, max_size=60)
)
def test_who_keeps_to_the_pauses_reads_a_burst_and_the_rate_at_most(
    frames: list[tuple[float, int]],
) -> None:
    clock = Clock()
    bucket = Inflow(clock)
    began_s, read = clock.now_s, 0
    for idle_s, size in frames:
        clock.now_s += idle_s
        read += max(size, FRAME_BYTES_AT_LEAST)
        pause_s = bucket.pause_s(size)
        assert pause_s >= 0
        clock.now_s += pause_s
        assert read <= BURST_BYTES + (clock.now_s - began_s) * BYTES_PER_S + 1


def test_a_guardian_that_answers_what_it_is_asked_never_waits() -> None:
    """Eight answers as long as the longest, 80 payments a second, for an hour; before, those to a start at once."""
    clock = Clock()
    bucket = Inflow(clock)
    assert [bucket.pause_s(MAX_FRAME_BYTES) for _ in range(16)] == [0.0] * 16
    clock.now_s += 10
    for _ in range(3_600):
        for _ in range(80):
            assert bucket.pause_s(8 * 3_000) == 0.0
        clock.now_s += 1.0


def test_the_pause_is_as_long_as_the_debt_takes() -> None:
    clock = Clock()
    bucket = Inflow(clock)
    assert bucket.pause_s(BURST_BYTES) == 0.0
    assert bucket.pause_s(BYTES_PER_S) == 1.0
    clock.now_s += 0.5
    assert bucket.pause_s(0) == 0.5 + FRAME_BYTES_AT_LEAST / BYTES_PER_S


def test_methods_are_told_apart_with_and_without_a_module() -> None:
    assert max_answer_bytes("client_config") == max_answer_bytes("module_3_client_config")
    assert max_answer_bytes("module_2_recovery_slice") > max_answer_bytes("recovery_slice_hash")
    assert max_answer_bytes("module_2_recovery_slice_hash") == MAX_ANSWER_BYTES
    assert max_answer_bytes("module_") == MAX_ANSWER_BYTES
    assert all(most * 2 <= MAX_FRAME_BYTES for most in inflow.LONGER_ANSWERS_BYTES.values())
