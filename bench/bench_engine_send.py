"""What the engine costs for one whole send, against raw apsw that appends the same rows in the same transactions.

Engine, machines, log and read model are those of production, on a disk with synced commits; node, federation and
workers are stand-ins that answer at once, with facts, bytes and notes as large as real ones. Raw apsw inserts the
finished rows into a table without index, trigger, hash or assertion. By turns, one send after another.
Prints one line of JSON; the exit status is 1 above five times raw apsw. Usage: `bench_engine_send.py [FOLDER]`.
"""

import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.bench_log import RawWriter
from bench.stand_ins import NODE, outgoing, signed, tweak, with_notes
from engine.chain import StoredStep
from engine.effects import EffectContext, Handler
from engine.engine import Engine, Ports
from engine.machine import Effect, Input, State
from engine.ports import SystemClock, SystemRandomness
from engine.storage.store import Store
from fedimint.codec.wire_types import FeeConsensus
from gateway.log import machines, read_models
from migrations import SchemaSteps
from statemachines import send
from statemachines.reserving import FederationFees
from statemachines.send import (
    BudgetMeasured,
    FollowPayment,
    MeasureBudget,
    PayInvoice,
    PaymentSucceeded,
    RequestSend,
    SeenInFlight,
)
from statemachines.transaction import (
    BuildTransaction,
    Built,
    CollectNotes,
    NotesCollected,
    SubmissionAccepted,
    SubmitTransaction,
    wallet_of,
)
from statemachines.wallet import AddTweaks, OpenWallet, Wallet

LARGEST_RATIO = 5.0
WARM_UP, SENDS = 50, 200
FEDERATION = "fe" * 32
WALLET = wallet_of(FEDERATION)
FEES = FederationFees(lnv2=FeeConsensus(1_000, 0), mintv2=FeeConsensus(100, 0))
NOW_UNIX_S = 1_800_000_000
#: Enough for the claim, and for the tidying up that now and then follows one.
TWEAKS_AHEAD = 64

_numbers = itertools.count(1)


class RecordingStore(Store):
    """The production store, remembering what it wrote and in which transactions."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, SchemaSteps(), read_models())
        self.batches: list[list[tuple[object, ...]]] = []

    def append(self, steps: Sequence[StoredStep]) -> None:
        super().append(steps)
        self.batches.append([_columns(step) for step in steps])


def _columns(step: StoredStep) -> tuple[object, ...]:
    row = step.row
    fixed = (row.position, row.append, row.stream, row.version, row.kind, row.event.schema_version)
    return (*fixed, row.epoch, row.recorded_unix_us, row.event.body, bytes(32))


async def _measure(_effect: MeasureBudget, _context: EffectContext) -> Input:
    return BudgetMeasured(node=NODE, remaining_blocks=1_000, now_unix_s=NOW_UNIX_S)


async def _pay(_effect: PayInvoice, _context: EffectContext) -> Input:
    return SeenInFlight()


async def _follow(_effect: FollowPayment, _context: EffectContext) -> Input:
    return PaymentSucceeded(preimage="aa" * 32, routing_fee_msat=1_000)


async def _build(effect: BuildTransaction, _context: EffectContext) -> Input:
    return Built(signed=signed(next(_numbers), effect.reservation), now_unix_s=NOW_UNIX_S)


async def _submit(_effect: SubmitTransaction, _context: EffectContext) -> Input:
    return SubmissionAccepted()


async def _collect(effect: CollectNotes, _context: EffectContext) -> Input:
    return NotesCollected(notes=with_notes(effect.issues, _numbers), lost_msat=0)


HANDLERS: Mapping[type[Effect], Handler] = {
    MeasureBudget: _measure,
    PayInvoice: _pay,
    FollowPayment: _follow,
    BuildTransaction: _build,
    SubmitTransaction: _submit,
    CollectNotes: _collect,
}


def _is_over(state: State) -> bool:
    return not state.spending if isinstance(state, Wallet) else isinstance(state, send.Claimed)


class Sends:
    """One engine that sends, and its rows."""

    def __init__(self, engine: Engine, store: RecordingStore) -> None:
        self._engine = engine
        self._store = store

    async def one(self) -> float:
        """Seconds of one send, from the request to the last row of its claim and what follows from that."""
        await self._fill_tweaks()
        asked = outgoing(next(_numbers), FEDERATION)
        stream = send.stream_of(asked.contract_id)
        self._store.batches.clear()
        began = time.perf_counter()
        await self._engine.submit(stream, RequestSend(facts=asked, other_network=False))
        await self._engine.wait(stream, _is_over)
        await self._engine.wait(WALLET, _is_over)
        return time.perf_counter() - began

    async def _fill_tweaks(self) -> None:
        """Between sends, as the gateway does while nobody waits."""
        wallet = self._engine.peek(WALLET)
        assert isinstance(wallet, Wallet)
        missing = TWEAKS_AHEAD - len(wallet.tweaks)
        await self._engine.submit(
            WALLET, AddTweaks(tweaks=tuple(tweak(next(_numbers), 0) for _ in range(missing)))
        )


async def measure(directory: Path) -> dict[str, float]:
    """Medians over sends; both ways write to one disk, in alternating order."""
    store = RecordingStore(directory / "log")
    engine = Engine(store, machines(), Ports(SystemClock(), SystemRandomness()))
    raw = RawWriter(directory / "raw.sqlite3")
    engine_s, raw_s, rows, commits = [], [], [], []
    async with anyio.create_task_group() as tasks:
        await tasks.start(engine.run, HANDLERS)
        await engine.submit(WALLET, OpenWallet(federation_id=FEDERATION, fees=FEES))
        sends = Sends(engine, store)
        for number in range(WARM_UP + SENDS):
            seconds = await sends.one()
            batches = store.batches.copy()
            raw_seconds = raw.write(batches)
            if number >= WARM_UP:
                engine_s.append(seconds)
                raw_s.append(raw_seconds)
                rows.append(sum(map(len, batches)))
                commits.append(len(batches))
        tasks.cancel_scope.cancel()
    store.close()
    return {
        "ratio": round(statistics.median(e / r for e, r in zip(engine_s, raw_s, strict=True)), 3),
        "engine_ms": round(statistics.median(engine_s) * 1000, 2),
        "raw_ms": round(statistics.median(raw_s) * 1000, 2),
        "rows": statistics.median(rows),
        "commits": statistics.median(commits),
    }


def main(arguments: Sequence[str]) -> int:
    """Measure on the disk of a folder."""
    with tempfile.TemporaryDirectory(dir=arguments[0] if arguments else None) as directory:
        result = anyio.run(measure, Path(directory))
    ok = result["ratio"] <= LARGEST_RATIO
    bounds = {"largest_ratio": LARGEST_RATIO, "ok": ok, "sends": SENDS}
    print(json.dumps({"bench": "engine_send", **bounds, **result}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
