"""The whole gateway on a faulty disk: every scenario ends with right books.

A scenario is played on one stage again and again, with one fault a play, the n-th operation from its beginning for
numbers that are spread over all of them. What a fault leaves is, by turns, what the kernel has and what a power cut
leaves of it; a gateway that ended is started again at once, on a disk that works.
"""

import shutil
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from random import Random

import apsw
import pytest

from engine.chain import Row, verified
from engine.effects import fatal_in
from engine.storage.rows import LOG_NAME, add_functions, read_rows
from errors import FatalError
from fuzz.simulation.simulated_gateway import DieAt, Life
from fuzz.simulation.virtual_time import SimulatedCrash
from statemachines import send
from tests.crash.effort import FAULTS_IN_A_SCENARIO
from tests.crash.faulty_disk import Fault, FaultyDisk, mounted
from tests.crash.faulty_reads import ReadFault
from tests.scenarios.interruptions import INTERRUPTIONS
from tests.scenarios.scenarios import SCENARIOS, Scenario
from tests.scenarios.simulated import SEED, SimulatedStage, play

# As for the toy machines: an error on top of another one has nobody to be raised to.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

#: The first runs of a scenario fill the wallet with tweaks and notes besides, and write up to three times as much.
FILLING_RUNS = 3


class Undertaker:
    """Looks at what a fault has left, and lets the gateway go on with it."""

    def __init__(self, stage: SimulatedStage, disk: FaultyDisk) -> None:
        self.sentences: list[str] = []
        self._stage = stage
        self._disk = disk
        self._random = Random(SEED)
        stage.gateway.deaths = (FatalError, SimulatedCrash)
        stage.gateway.comes_back = True
        stage.gateway.buried = self.bury
        self._start, self._rows = stage.gateway.start, stage.gateway.rows
        stage.gateway.rows = self.rows  # type: ignore[method-assign] # of this stage alone
        stage.gateway.start = self.start  # type: ignore[method-assign] # of this stage alone

    async def start(self, *, crash_at: str | None = None, node_is_down: bool = False) -> None:
        """A life that is to end at a point is spared: the scenario changes its world then, for what is done by then."""
        self._stage.gateway.comes_back = crash_at is None
        self._disk.spare(crash_at is not None)
        await self._start(crash_at=crash_at, node_is_down=node_is_down)

    def rows(self) -> Sequence[Row]:
        with self._disk.reads.are_the_tests():
            return self._rows()

    def bury(self, life: Life, ends: BaseExceptionGroup[BaseException]) -> None:
        """Nothing acknowledged is missing, nothing has left that is not committed."""
        error = fatal_in(ends)
        if error is None:
            assert isinstance(life.probe, DieAt)
            return
        self.sentences.append(str(error))
        gateway, disk = self._stage.gateway, self._disk
        directory = gateway.directory
        has_power_cut = self._random.random() < 0.5
        gateway.move()
        if has_power_cut:
            disk.after_power_cut(directory, gateway.directory, self._random)
        else:
            disk.after_kill(directory, gateway.directory)
        disk.repair()
        shutil.rmtree(directory)
        self._check(life, gateway.directory)

    def _check(self, life: Life, left: Path) -> None:
        # A copy, and writable: a log that died in its making may have neither tables nor a file, but something to undo.
        copied = Path(shutil.copytree(left, left.with_name(f"{left.name}-looked-at")))
        connection = apsw.Connection(str(copied / LOG_NAME), vfs="unix")
        add_functions(connection)
        try:
            is_made = connection.execute("PRAGMA user_version").fetchone() != (0,)
            rows = list(read_rows(connection)) if is_made else []
        finally:
            connection.close()
            shutil.rmtree(copied)
        assert is_made or life.gateway is None
        assert len(list(verified(rows))) == len(rows)
        if life.gateway is not None:
            durable = life.gateway._context.store.head
            assert durable.position == 0 or rows[durable.position - 1].hash == durable.hash
        self._check_payments([chained.row for chained in rows])

    def _check_payments(self, rows: list[Row]) -> None:
        """Whatever the node was asked to pay since this log began has its intent in there."""
        dispatched = {row.stream for row in rows if row.kind == send.SendDispatching.kind}
        intents = b"".join(
            row.event.body
            for row in rows
            if row.kind == send.SendAccepted.kind and row.stream in dispatched
        )
        for payment_hash, record in self._stage.world.gateway_node._records.items():
            if rows and record.begun_unix_s * 1_000_000 >= rows[0].recorded_unix_us:
                assert payment_hash.hex().encode() in intents


def _spread(
    operations: int, reads: int, seed: int
) -> Iterator[tuple[Fault, int] | tuple[ReadFault, int]]:
    """As many faults as are to be played, of all kinds by turns, over all that is done to the disk in a scenario."""
    begin = Random(seed).random()
    kinds = cycle([*Fault, ReadFault.FAILS])
    for number in range(FAULTS_IN_A_SCENARIO):
        share = (begin + number) / FAULTS_IN_A_SCENARIO
        match next(kinds):
            case Fault() as fault:
                yield fault, 1 + int(share * operations)
            case fault:
                yield fault, 1 + int(share * reads)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("scenario", [*SCENARIOS, *INTERRUPTIONS], ids=lambda one: one.__name__)
def test_scenario(scenario: Scenario, tmp_path: Path) -> None:
    disk = FaultyDisk()
    undertakers: list[Undertaker] = []

    async def again_and_again(stage: SimulatedStage) -> None:
        undertaker = Undertaker(stage, disk)
        undertakers.append(undertaker)
        await stage.gateway.start()
        for _ in range(FILLING_RUNS):
            await scenario(stage)
        operations, reads = len(disk.operations), len(disk.reads.done)
        await scenario(stage)
        operations, reads = len(disk.operations) - operations, len(disk.reads.done) - reads
        for fault, after in _spread(operations, reads, seed=len(scenario.__name__)):
            match fault:
                case Fault():
                    disk.arm(fault, after)
                case ReadFault():
                    disk.reads.arm(fault, after)
            await scenario(stage)
            disk.repair()

    with mounted(disk):
        play(tmp_path, again_and_again)
    (undertaker,) = undertakers
    # A full disk is noticed only by what grows, and a fault may come when all is over.
    assert len(undertaker.sentences) > FAULTS_IN_A_SCENARIO // 2
    for sentence in undertaker.sentences:
        assert "the disk is full" in sentence or "the disk failed" in sentence
