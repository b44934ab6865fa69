"""Toy machines on a disk of which every single read fails once: no decision rests on wrong bytes.

A read that fails ends the process with a sentence, and the next one, whose reads work, goes on with everything. A read
that brings other bytes, or half of them, may do harm that nobody sees at once, when the page is written back with them;
then the next start refuses, which is as much as can be promised of it.
"""

import pytest

from engine.storage.errors import DamagedError
from tests.crash.faulty_disk import FaultyDisk
from tests.crash.faulty_reads import ReadFault
from tests.crash.test_toy_on_faulty_disk import ORDERS, bench_on, prepare
from tests.engine.crash_bench import Bench

# As for writes: a second error while SQLite deals with the first has nobody to be raised to.
pytestmark = [
    pytest.mark.crash,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
#: Of all reads, how many may do harm that is found at the next start only.
HARMED_SHARE = 0.15


class Plays:
    """One fault after the other, each on a disk of its own, until a play has none left."""

    def __init__(self, fault: ReadFault, *, after_a_crash: bool) -> None:
        self.sentences: list[str] = []
        self.reads = 0
        self.refused = 0
        self._after_a_crash = after_a_crash
        while self._play(fault):
            self.reads += 1

    def _play(self, fault: ReadFault) -> bool:
        with bench_on(FaultyDisk()) as bench:
            if self._after_a_crash:
                prepare(bench)
            reads = bench.disk.reads
            reads.arm(fault, self.reads + 1)
            died = bench.session([*ORDERS, ORDERS[0]])
            struck = reads.struck
            bench.disk.repair()
            assert struck is not None or not died
            self.sentences += bench.sentences
            if not died:
                bench.move_to_what_is_left()
            self._go_on(bench.left[0])
            return struck is not None

    def _go_on(self, left: Bench) -> None:
        try:
            assert not left.session([])
            left.check_settled()
        except* DamagedError:
            self.refused += 1


@pytest.mark.parametrize("after_a_crash", [False, True])
@pytest.mark.parametrize("fault", ReadFault)
def test_a_fault_at_every_read(fault: ReadFault, *, after_a_crash: bool) -> None:
    plays = Plays(fault, after_a_crash=after_a_crash)
    for sentence in plays.sentences:
        assert "start again" in sentence or "continue from a backup" in sentence
    assert plays.reads > 20
    assert plays.refused <= (0 if fault is ReadFault.FAILS else plays.reads * HARMED_SHARE)
