"""Toy machines on a disk that fails at every single operation: they continue from what is left."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from random import Random

import apsw
import pytest

from engine.effects import fatal_in
from engine.storage.opening import open_writer
from engine.storage.store import Store
from errors import FatalError
from tests.crash.faulty_disk import Fault, FaultyDisk, mounted
from tests.engine.crash_bench import Bench
from tests.engine.toy import DISK, Order

ORDERS = [(f"transfer/{n}", Order("a", "b", amount)) for n, amount in enumerate((1, 2, 3, 6))]
# A second error while SQLite deals with the first has nobody to be raised to; the first is what counts.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
#: Power cuts from the same moment, each with other sectors.
CUTS = 3


class DiskBench(Bench):
    """Sessions on a faulty disk. What a death leaves is looked at twice: with and without a power cut."""

    deaths = FatalError

    def __init__(self, root: Path, disk: FaultyDisk) -> None:
        super().__init__(root, "asyncio")
        self.disk = disk
        self.left: list[Bench] = []
        self.sentences: list[str] = []
        self.closed_after: int | None = None

    def died_of(self, group: BaseExceptionGroup[BaseException]) -> None:
        error = fatal_in(group)
        assert error is not None
        self.sentences.append(str(error))

    def move_to_what_is_left(self) -> None:
        """Keep what the kernel has, and what a power cut would leave, as often as that may be different."""
        self.disk.after_kill(self.directory, self._go_on().directory)
        for seed in range(CUTS):
            one = self._go_on()
            self.disk.after_power_cut(self.directory, one.directory, Random(self.disk.at + seed))

    def close(self, store: Store) -> None:
        self.closed_after = len(self.disk.operations)
        super().close(store)

    def _go_on(self) -> Bench:
        """A bench with the same world outside and the same promises to callers, on a disk that works."""
        root = self.root / f"left-{len(self.left)}"
        root.mkdir()
        one = Bench(root, self.backend)
        one.outside = deepcopy(self.outside)
        one.asked, one.acknowledged = dict(self.asked), dict(self.acknowledged)
        self.left.append(one)
        return one


@contextmanager
def bench_on(disk: FaultyDisk) -> Iterator[DiskBench]:
    """A bench with a new log. It lies in memory: what a sync is worth is the disk's own affair."""
    with tempfile.TemporaryDirectory(dir=DISK) as folder, mounted(disk):
        yield DiskBench(Path(folder), disk)


def prepare(bench: DiskBench) -> None:
    """A session before, killed near its end: the next start has a WAL to fold in and a payment to go on with."""
    before = Bench(bench.root, bench.backend)
    before.outside, before.asked, before.acknowledged = (
        bench.outside,
        bench.asked,
        bench.acknowledged,
    )
    assert before.session([("transfer/old", Order("c", "b", 6))], crash_at=10)
    assert before.acknowledged
    bench.directory = before.directory


@pytest.mark.parametrize("fault", Fault)
def test_a_new_log_on_a_disk_with_a_fault_at_every_operation(fault: Fault) -> None:
    """Also of its making: the file, its tables, its first read models."""
    at = 0
    is_over = False
    while not is_over:
        at += 1
        with bench_on(FaultyDisk(fault, at)) as bench:
            died = bench.session([*ORDERS, ORDERS[0]])
            is_over = bench.disk.struck is None
            check(bench, died=died)
    # Its making, then a commit of two writes and a sync for each of the decisions, grouped or not, and the end.
    assert at > 30


@pytest.mark.parametrize("fault", Fault)
def test_a_start_after_a_crash_with_a_fault_at_every_operation(fault: Fault) -> None:
    """The checkpoint of what the last process left, the new epoch, and the work that goes on."""
    after = 0
    is_over = False
    while not is_over:
        after += 1
        with bench_on(FaultyDisk()) as bench:
            prepare(bench)
            bench.disk.arm(fault, after)
            died = bench.session(ORDERS)
            is_over = bench.disk.struck is None
            check(bench, died=died)
    assert after > 20


def check(bench: DiskBench, *, died: bool) -> None:
    """A fault ends the process, and what is left goes on as if nothing had been."""
    disk = bench.disk
    noticed = bench.closed_after is None or disk.at <= bench.closed_after
    if disk.fault is not Fault.FULL:  # where nothing grows, a full disk is as good as any
        assert died == (disk.struck is not None and noticed)
    for sentence in bench.sentences:
        assert "the disk is full" in sentence or "the disk failed" in sentence
        assert "start again" in sentence
    disk.repair()
    for one in bench.left:
        assert not one.session([])
        one.check_settled()
    assert bool(bench.left) == died


def test_a_log_that_is_not_synced_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What all of the above is worth: with one promise broken, power cuts find it."""

    def careless(path: Path) -> apsw.Connection:
        connection = open_writer(path)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    monkeypatch.setattr("engine.storage.store.open_writer", careless)
    losses = 0
    for at in range(30, 80):
        with bench_on(FaultyDisk(Fault.DIES, at)) as bench:
            bench.session(ORDERS)
            bench.disk.repair()
            for one in bench.left:
                try:
                    one.session([])
                    one.check_settled()
                except (AssertionError, FatalError):
                    losses += 1
    assert losses > 0


@pytest.mark.parametrize("seed", range(20))
def test_one_fault_after_the_other(seed: int) -> None:
    """Also while the last one is recovered from: each session goes on with something that the one before it left."""
    random = Random(seed)
    deaths = 0
    with bench_on(FaultyDisk()) as bench:
        for number in range(12):
            orders = [
                (f"transfer/{number}-{n}", Order("a", "b", random.randrange(1, 50)))
                for n in range(random.randrange(3))
            ]
            bench.disk.arm(random.choice(list(Fault)), random.randrange(1, 50))
            died = bench.session(orders)
            bench.disk.repair()
            if died:
                deaths += 1
                bench.directory = random.choice(bench.left[-CUTS - 1 :]).directory
        assert not bench.session([])
        bench.check_settled()
    assert deaths > 2
