"""Gates and buckets: no caller takes all places or all tokens."""

import anyio
import anyio.abc
import pytest

from api.gates import FairGate, Gate, RateLimit, TokenBucket
from errors import BusyError

pytestmark = pytest.mark.anyio


def test_a_gate_counts_also_what_fails() -> None:
    gate = Gate("things", 1)
    with pytest.raises(KeyError), gate.hold("a"):
        raise KeyError
    with gate.hold("a"):
        assert gate.held == 1
        with pytest.raises(BusyError, match="Too many things at once"), gate.hold("b"):
            pytest.fail("one too many")
    assert gate.held == 0


class Holders:
    """Who stands in a gate, and who was sent away, in the order in which it happened."""

    def __init__(self, gate: Gate, tasks: anyio.abc.TaskGroup) -> None:
        self.gate = gate
        self.tasks = tasks
        self.inside: list[str] = []
        self.refused: list[str] = []

    async def come(self, *names: str) -> None:
        """`a1` is the caller a, for the first time."""
        for name in names:
            self.tasks.start_soon(self._stand, name)
            await anyio.wait_all_tasks_blocked()

    async def _stand(self, name: str) -> None:
        try:
            with self.gate.hold(name[0]):
                self.inside.append(name)
                try:
                    await anyio.sleep_forever()
                finally:
                    self.inside.remove(name)
        except BusyError:
            self.refused.append(name)


async def test_whoever_holds_most_places_gives_one_up() -> None:
    gate = FairGate("requests", 3)
    async with anyio.create_task_group() as tasks:
        holders = Holders(gate, tasks)
        await holders.come("a1", "a2", "a3", "b1")
        assert (holders.inside, holders.refused) == (["a2", "a3", "b1"], ["a1"])
        await holders.come("a4")
        assert (holders.inside, holders.refused) == (["a2", "a3", "b1"], ["a1", "a4"])
        await holders.come("c1")
        assert (holders.inside, holders.refused) == (["a3", "b1", "c1"], ["a1", "a4", "a2"])
        await holders.come("d1")
        assert holders.inside == ["b1", "c1", "d1"]
        assert gate.free == 0
        tasks.cancel_scope.cancel()
    assert gate.free == 3


async def test_where_work_goes_on_by_itself_who_holds_most_takes_their_own_place() -> None:
    async with anyio.create_task_group() as tasks:
        holders = Holders(FairGate("payments", 2, yields=True), tasks)
        await holders.come("a1", "b1", "a2")
        assert (holders.inside, holders.refused) == (["b1", "a2"], ["a1"])
        await holders.come("a3")
        assert (holders.inside, holders.refused) == (["a2", "a3"], ["a1", "b1"])
        tasks.cancel_scope.cancel()


async def test_who_is_sent_away_is_told_that_what_was_begun_goes_on() -> None:
    gate, told = FairGate("payments", 1), []

    async def first() -> None:
        with pytest.raises(BusyError) as refusal, gate.hold("a"):
            await anyio.sleep_forever()
        told.append(str(refusal.value))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await anyio.wait_all_tasks_blocked()
        with gate.hold("b"):
            await anyio.wait_all_tasks_blocked()
            assert told == [
                "Too many payments at once; requests already begun continue, please ask again"
            ]
    assert gate.held == 0


def test_a_bucket_lets_a_burst_through_and_then_what_drips_in() -> None:
    now_s = 100.0
    bucket = TokenBucket(RateLimit(burst=3, per_second=2), now_s=lambda: now_s)
    for _ in range(3):
        bucket.take("a")
    with pytest.raises(BusyError, match=r"^Too many requests, please try again later$"):
        bucket.take("a")
    now_s += 0.25
    with pytest.raises(BusyError):
        bucket.take("a")
    now_s += 0.25  # what a refused caller waited for is not lost
    bucket.take("a")
    now_s += 1000
    for _ in range(3):
        bucket.take("a")
    with pytest.raises(BusyError):
        bucket.take("a")


def taken_by(bucket: TokenBucket, caller: str, *, tries: int) -> int:
    """How many of these tries are let through."""
    count = 0
    for _ in range(tries):
        try:
            bucket.take(caller)
        except BusyError:
            continue
        count += 1
    return count


def test_who_asks_without_end_keeps_nobody_out_and_no_more_comes_in_than_the_limit() -> None:
    now_s = 0.0
    bucket = TokenBucket(RateLimit(burst=10, per_second=1), now_s=lambda: now_s)
    flood = taken_by(bucket, "flood", tries=100)
    others = 0
    for second in range(1000):
        now_s += 1
        flood += taken_by(bucket, "flood", tries=100)
        if second % 4 == 0:
            others += taken_by(bucket, f"other {second}", tries=1)
    assert others == 250
    assert flood == 10 + 1000 - 250
    assert bucket.callers < 100


def test_what_takes_many_tokens_takes_all_of_them_at_most() -> None:
    now_s = 0.0
    bucket = TokenBucket(RateLimit(burst=4, per_second=1), now_s=lambda: now_s)
    bucket.take("a", 1_000)
    with pytest.raises(BusyError):
        bucket.take("a")
    bucket.take("b", 4)  # their share, which all wait for now
    with pytest.raises(BusyError):
        bucket.take("c")
    now_s += 4
    bucket.take("c")
