"""Payments per second of our gatewayd in an embedded world, how long each takes, and the gateway's processor time.

The gateway is the process that operators run: HTTP API, workers, synced SQLite, real cryptography. Guardians, its
Lightning node and everybody else live in this process behind loopback sockets, and their processor time is told
apart. What users prepare is prepared before the clock starts: contracts are funded, invoices made. A send lasts from
the request to its answer, a receive from the payer's HTLC to its settlement; a run's processor time ends when every
transaction of it is over. Notes need ground tweaks: the wallet is given enough of them for all runs but the first,
which has the pool that a gateway keeps and shows what grinding does to payments that come faster than tweaks.
Prints a line of JSON for each run and one for the ratios; the exit status is 1 when payments at the same time are
slower than one after the other, or one of them waits far longer than all before it take.
Usage: `bench_payments.py [FOLDER]`.
"""

import json
import math
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import shares
from bench.ahead import add_tweaks
from bench.prepared import Payment, Users
from bench.processor_time import cpu_by_part, difference
from devnet.gatewayd import OurGatewayd
from devnet.processes import until
from devnet.served_world import served_world
from engine.storage.reader import open_log
from engine.storage.streams import open_of_kind

GUARDIANS = 4
PAYMENTS = 40
AT_ONCE = (1, 8, 32)
#: The rate with so many at once, to that of payments one after the other.
LEAST_RATE_RATIO = 0.6
#: The slowest of so many at once, to as many one after the other.
LARGEST_WAIT_RATIO = 2.0
AT_ONCE_UNDER_LOAD = 8
WARM_UP = 8
#: Notes of all runs and the warm-ups, generously.
TWEAKS = 4_000
DEADLINE_S = 180.0
QUIET_S = 1.0
#: Processor seconds within QUIET_S below which the grinders wait to be asked.
RESTING_S = 0.01


class Bench:
    """One gateway, and runs of payments through it."""

    def __init__(self, gateway: OurGatewayd, users: Users) -> None:
        self._gateway = gateway
        self._users = users
        self._kinds: Mapping[str, Callable[[int], Awaitable[Sequence[Payment]]]] = {
            "send": users.sends,
            "receive": users.receives,
        }

    async def warm_up(self, kind: str) -> None:
        """Until every worker has loaded what it needs."""
        await pay(await self._kinds[kind](WARM_UP), AT_ONCE_UNDER_LOAD)
        await self.quiet()

    async def run(self, kind: str, at_once: int) -> dict[str, object]:
        """Prepare payments, make them, and wait for the end of what follows from them."""
        payments = await self._kinds[kind](PAYMENTS)
        await self.quiet()
        before, world_before_s = self._cpu_by_part(), time.process_time()
        began = time.perf_counter()
        lasted_s = await pay(payments, at_once)
        seconds = time.perf_counter() - began
        world_s = time.process_time() - world_before_s
        await until("all is over", self._is_over, deadline_s=DEADLINE_S, pause_s=0.02)
        spent = difference(self._cpu_by_part(), before)
        return {
            "kind": kind,
            "at_once": at_once,
            "per_s": round(PAYMENTS / seconds, 1),
            "p50_ms": round(percentile(lasted_s, 50) * 1000),
            "p99_ms": round(percentile(lasted_s, 99) * 1000),
            "cpu_ms": {part: round(s / PAYMENTS * 1000) for part, s in spent.items()},
            "world_cpu_ms": round(world_s / PAYMENTS * 1000),
        }

    async def shares(self, kind: str, profile: Path) -> dict[str, float]:
        """What the processor time of one more run goes into. Sampling slows it, so it is another."""
        payments = await self._kinds[kind](PAYMENTS)
        await self.quiet()
        with shares.sampling(self._process_id(), profile):
            await pay(payments, AT_ONCE_UNDER_LOAD)
            await until("all is over", self._is_over, deadline_s=DEADLINE_S)
        return shares.shares(profile)

    async def quiet(self) -> None:
        """Wait for the end of all transactions and of all grinding."""
        await until("all is over", self._is_over, deadline_s=DEADLINE_S)
        await until("the grinders rest", self._grinders_rest, deadline_s=DEADLINE_S)

    async def _is_over(self) -> bool:
        """Read from the log, since a question to the gateway would cost it time."""
        with open_log(self._gateway.data_dir) as log:
            return not any(any(open_of_kind(log, kind)) for kind in ("send", "completion", "tx"))

    async def _grinders_rest(self) -> bool:
        before_s = self._cpu_by_part().get("grinder", 0.0)
        await anyio.sleep(QUIET_S)
        return abs(self._cpu_by_part().get("grinder", 0.0) - before_s) < RESTING_S

    def _cpu_by_part(self) -> dict[str, float]:
        return cpu_by_part(self._process_id())

    def _process_id(self) -> int:
        process_id = self._gateway.program.process_id
        assert process_id is not None
        return process_id


async def pay(payments: Sequence[Payment], at_once: int) -> list[float]:
    """Seconds of each payment, so many of them under way at any time."""
    lasted_s: list[float] = []
    left: Iterator[Payment] = iter(payments)

    async def payer() -> None:
        for payment in left:
            began = time.perf_counter()
            await payment()
            lasted_s.append(time.perf_counter() - began)

    async with anyio.create_task_group() as tasks:
        for _ in range(at_once):
            tasks.start_soon(payer)
    return lasted_s


def percentile(values: Sequence[float], percent: int) -> float:
    """By the nearest rank: the 99th of 40 values is the largest."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def show(**result: object) -> None:
    print(json.dumps({"bench": "payments", "guardians": GUARDIANS, **result}), flush=True)


async def measure(folder: Path) -> bool:
    """Run first with the gateway's own tweaks, then with as many as are needed; whether the figures are met."""
    async with served_world(folder / "lnd", ["bench"], guardians=GUARDIANS) as served:
        gateway = OurGatewayd(folder / "gateway", served.lnd)
        await gateway.start()
        try:
            federation = served.world.federation
            await gateway.cli("connect-fed", federation.invite_code().to_text())
            bench = Bench(gateway, await Users.of(served.world, gateway.url))
            await bench.warm_up("send")
            grinding = await bench.run("send", AT_ONCE_UNDER_LOAD)
            show(**grinding, tweaks="as kept", payments=PAYMENTS)
            await gateway.program.stop()
            add_tweaks(gateway.data_dir, federation.federation_id.hex(), TWEAKS)
            await gateway.start()
            return await measure_runs(bench, folder)
        finally:
            await gateway.program.stop()


async def measure_runs(bench: Bench, folder: Path) -> bool:
    """Sends first: they bring the ecash that receives need."""
    met = []
    for kind in ("send", "receive"):
        await bench.warm_up(kind)
        runs = {}
        for at_once in AT_ONCE:
            runs[at_once] = await bench.run(kind, at_once)
            show(**runs[at_once], tweaks="ahead", payments=PAYMENTS)
        met.append(judge(kind, runs))
        if shares.py_spy() is not None:
            show(kind=kind, shares=await bench.shares(kind, folder / f"{kind}.txt"))
    return all(met)


def judge(kind: str, runs: Mapping[int, Mapping[str, Any]]) -> bool:
    """Whether nothing collapses when many come at once."""
    alone_per_s = runs[1]["per_s"]
    rate = {str(n): round(run["per_s"] / alone_per_s, 2) for n, run in runs.items()}
    wait = {
        str(n): round(run["p99_ms"] / 1_000 * alone_per_s / n, 2)
        for n, run in runs.items()
        if n > 1
    }
    ok: bool = min(rate.values()) >= LEAST_RATE_RATIO and max(wait.values()) <= LARGEST_WAIT_RATIO
    bounds = {"least_rate_ratio": LEAST_RATE_RATIO, "largest_wait_ratio": LARGEST_WAIT_RATIO}
    show(kind=kind, **bounds, ok=ok, rate_ratio=rate, wait_ratio=wait)
    return ok


def main(arguments: Sequence[str]) -> int:
    """Measure with the data directory on the disk of a folder."""
    with tempfile.TemporaryDirectory(dir=arguments[0] if arguments else None) as folder:
        return 0 if anyio.run(measure, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
