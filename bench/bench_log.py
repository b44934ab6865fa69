"""Events per second of the log, against raw apsw that writes the same rows in groups of the same size.

Raw apsw inserts the same rows into the log's own table, with its unique index and triggers, and hashes, asserts and
folds nothing. The log names streams, hashes every row into the chain, asserts epoch and head, and folds the index of
streams and the open states. Both start from encoded events, deflate them, and sync every commit (WAL,
synchronous=FULL) to one disk, by turns.
Prints one line of JSON; the exit status is 1 when the log has less than half of raw apsw's rate at any group size.
Usage: `bench_log.py [FOLDER]`, a folder on the disk to measure.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import apsw

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.stand_ins import digits
from engine.chain import Row, StoredStep
from engine.events import Event
from engine.fold import Machines
from engine.machine import Machine, State
from engine.storage.open_states import OpenStates
from engine.storage.packing import Packing, dictionary_of
from engine.storage.read_model import StreamIndex
from engine.storage.schema import LOG_TABLES
from engine.storage.store import WAL_PAGES, Store
from migrations import SchemaSteps

LEAST_RATIO = 0.5
#: Group size to commits per turn: enough to even a disk out, few enough to finish in a minute.
GROUPS = {1: 30, 10: 30, 100: 20}
TURNS = 25
EVENTS_PER_STREAM = 8
PAYMENTS_AT_ONCE = 50


class Moved(Event, frozen=True):
    """As big as the event of a real payment, about 390 bytes encoded."""

    kind: ClassVar[str] = "bench.moved"
    contract_id: str
    payment_hash: str
    amount_msat: int
    fee_msat: int
    note: str


class Moving(State, frozen=True):
    amount_msat: int


class Done(State, frozen=True):
    amount_msat: int
    payment_hash: str


MACHINES = Machines(
    [
        Machine(
            kind="send",
            initial=Moving(amount_msat=0),
            states=(Moving, Done),
            inputs=(),
            rules={},
            evolvers={Moved: lambda state, _event: state},
            final=frozenset({Done}),
        )
    ]
)


def event(number: int) -> Moved:
    return Moved(
        contract_id=digits("contract id", number, 64),
        payment_hash=digits("hash", number, 64),
        amount_msat=number * 1000,
        fee_msat=number,
        note=digits("note", number, 160),
    )


def step(number: int, moved: Moved, epoch: int) -> StoredStep:
    """Event `number` of the log, counted from 1: payments interleave, each ends with its eighth event."""
    wave, place = divmod(number - 1, EVENTS_PER_STREAM * PAYMENTS_AT_ONCE)
    version, payment = divmod(place, PAYMENTS_AT_ONCE)
    stream = wave * PAYMENTS_AT_ONCE + payment
    row = Row(
        number,
        number,
        f"send/{stream:064x}",
        version + 1,
        MACHINES.codec.encode(moved),
        epoch,
        number,
    )
    final = version + 1 == EVENTS_PER_STREAM
    state = (
        Done(amount_msat=number, payment_hash=moved.payment_hash)
        if final
        else Moving(amount_msat=number)
    )
    return StoredStep(row, moved, state, final)


def raw_rows(first: int, count: int) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for number in range(first, first + count):
        row = step(number, event(number), 1).row
        rows.append(
            (
                row.position,
                row.append,
                row.stream,
                row.version,
                row.kind,
                1,
                1,
                row.recorded_unix_us,
                row.event.body,
                bytes(32),
            )
        )
    return rows


class RawWriter:
    """apsw alone: the log's own table with its index, one transaction per group; no hashing, no read model.

    Bodies are deflated as the log's are.
    """

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path))
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        self._connection.execute(LOG_TABLES)
        self._packing = Packing(dictionary_of([Moved]))
        self._numbers: dict[object, int] = {}
        self._next = 1

    def turn(self, group: int, commits: int) -> float:
        """Seconds for `commits` groups."""
        batches = [raw_rows(self._next + n * group, group) for n in range(commits)]
        self._next += group * commits
        return self.write(batches)

    def write(self, batches: Sequence[Sequence[tuple[object, ...]]]) -> float:
        """Seconds for these rows of the log's columns, one transaction per batch."""
        began = time.perf_counter()
        for batch in batches:
            rows = [self._as_stored(row) for row in batch]
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT INTO log VALUES (?,?,?,?,?,?,?,?,?,?)", rows)
            self._connection.execute("COMMIT")
        return time.perf_counter() - began

    def _as_stored(self, row: tuple[object, ...]) -> tuple[object, ...]:
        position, append, stream, *fixed, body, digest = row
        assert isinstance(body, bytes)
        number = self._numbers.setdefault(stream, len(self._numbers))
        return (position, append, number, *fixed, self._packing.pack(body), digest)


class LogWriter:
    """The gateway's own store, with its index of streams and its open states."""

    def __init__(self, directory: Path) -> None:
        self._store = Store(directory, SchemaSteps(), [StreamIndex(), OpenStates(MACHINES, 1)])
        self._store.rebuild(self._store.outdated_read_models(), iter(()))
        self._next = 1

    def turn(self, group: int, commits: int) -> float:
        """Seconds for `commits` groups."""
        batches = []
        for _ in range(commits):
            numbers = range(self._next, self._next + group)
            batches.append([step(n, event(n), self._store.epoch) for n in numbers])
            self._next += group
        began = time.perf_counter()
        for batch in batches:
            self._store.append(batch)
        return time.perf_counter() - began


def measure(directory: Path, group: int, commits: int) -> dict[str, float]:
    """Medians over turns taken in alternating order."""
    raw, log = RawWriter(directory / "raw.sqlite3"), LogWriter(directory / "log")
    # Until both reuse their WAL: growing the file costs more than writing over it.
    raw.turn(100, 60)
    log.turn(100, 60)
    raw_s, log_s = [], []
    for turn in range(TURNS):
        if turn % 2:
            log_s.append(log.turn(group, commits))
            raw_s.append(raw.turn(group, commits))
        else:
            raw_s.append(raw.turn(group, commits))
            log_s.append(log.turn(group, commits))
    events = group * commits
    return {
        "ratio": round(statistics.median(r / s for r, s in zip(raw_s, log_s, strict=True)), 3),
        "log_events_per_s": round(events / statistics.median(log_s)),
        "raw_events_per_s": round(events / statistics.median(raw_s)),
    }


def main(arguments: Sequence[str]) -> int:
    folder = arguments[0] if arguments else None
    results = {}
    for group, commits in GROUPS.items():
        with tempfile.TemporaryDirectory(dir=folder) as directory:
            results[str(group)] = measure(Path(directory), group, commits)
    ok = all(result["ratio"] >= LEAST_RATIO for result in results.values())
    print(json.dumps({"bench": "log", "least_ratio": LEAST_RATIO, "ok": ok, "groups": results}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
