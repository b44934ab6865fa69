"""Processor time of our gatewayd for one real send, and how long the send takes, with one and with four guardians.

Real guardians, Lightning nodes and fedimint-cli. The kernel counts the time of each thread, so nothing is profiled:
the main thread (HTTP, guardians, Lightning node, decisions), the other threads (SQLite, handing over to workers), the
workers (keys, signatures, BLS) and the grinder, which runs at the lowest priority for later sends. What the time
is spent on is then sampled by py-spy over as many further sends (`bench/shares.py`). A send ends when
nothing is under way and the tweaks are filled up. Prints a line of JSON for each federation, and passes if the sends
succeed: there is no bound, but the Rust gatewayd's figures beside ours.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import shares
from bench.processor_time import cpu_by_part, difference
from devnet.gatewayd import OurGatewayd
from devnet.processes import until
from devnet.real import peers
from devnet.real.fedimint_cli import FedimintCli, SendOutcome
from devnet.real.world import NEEDED_PEERS, RealWorld, real_world
from engine.storage.reader import open_log
from engine.storage.streams import open_of_kind

WARM_UP, SENDS = 2, 6
AMOUNT_MSAT = 1_234_567
DEPOSIT_SAT = 1_000_000
DEADLINE_S = 120
QUIET_S = 1.0
#: Processor seconds within QUIET_S below which the grinder waits to be asked.
RESTING_S = 0.01
IDLE_S = 5.0
#: The Rust gatewayd 0.13.0, measured on a machine of this kind: milliseconds and seconds, by guardians.
RUST = {1: {"rust_cpu_ms": 240, "rust_wall_s": 0.93}, 4: {"rust_cpu_ms": 296, "rust_wall_s": 1.69}}


class Sender:
    """A user who pays through one gateway, and what that costs the gateway."""

    def __init__(self, world: RealWorld, gateway: OurGatewayd, user: FedimintCli) -> None:
        self._world = world
        self._gateway = gateway
        self._user = user

    async def send(self) -> float:
        """Seconds of one send as the user sees it; returns once the gateway is quiet again."""
        invoice = await self._world.bob.add_invoice(AMOUNT_MSAT)
        began = time.perf_counter()
        result = await self._user.pay(invoice.payment_request, gateway_url=self._gateway.url)
        seconds = time.perf_counter() - began
        assert result.outcome is SendOutcome.SUCCESS
        await self.quiet()
        await self._user.settle()
        return seconds

    async def quiet(self) -> None:
        """Wait for the end of all transactions, and of the grinding that refills the tweaks."""
        await until("all is over", self._is_over, deadline_s=DEADLINE_S)
        await until("the grinder rests", self._grinder_rests, deadline_s=DEADLINE_S)

    async def _is_over(self) -> bool:
        """Read from the log, since a question to the gateway would cost it time."""
        with open_log(self._gateway.data_dir) as log:
            return not any(any(open_of_kind(log, kind)) for kind in ("send", "tx"))

    async def _grinder_rests(self) -> bool:
        before_s = self._cpu_by_part().get("grinder", 0.0)
        await anyio.sleep(QUIET_S)
        return self._cpu_by_part().get("grinder", 0.0) - before_s < RESTING_S

    async def cost(self) -> dict[str, object]:
        """Milliseconds for one send by part, and the seconds that the user waited."""
        for _ in range(WARM_UP):
            await self.send()
        before = self._cpu_by_part()
        await anyio.sleep(IDLE_S)
        idle_s = sum(difference(self._cpu_by_part(), before).values())
        before = self._cpu_by_part()
        walls = [await self.send() for _ in range(SENDS)]
        spent = difference(self._cpu_by_part(), before)
        return {
            "shares": await self._shares(),
            "cpu_ms": {part: round(seconds / SENDS * 1000) for part, seconds in spent.items()},
            "wall_s": round(statistics.median(walls), 2),
            "idle_cpu_ms_per_s": round(idle_s / IDLE_S * 1000, 1),
        }

    def _cpu_by_part(self) -> dict[str, float]:
        process_id = self._gateway.program.process_id
        assert process_id is not None
        return cpu_by_part(process_id)

    async def _shares(self) -> dict[str, float]:
        """What the processor time of as many further sends was spent on. Sampling slows them, so they are others."""
        process_id = self._gateway.program.process_id
        if process_id is None or shares.py_spy() is None:
            return {}
        profile = self._gateway.folder / "profile.txt"
        with shares.sampling(process_id, profile):
            for _ in range(SENDS):
                await self.send()
        return shares.shares(profile)


async def measure(world: RealWorld, guardians: int) -> Mapping[str, object]:
    """A gateway of its own in a new federation."""
    federation = await world.start_federation(f"of-{guardians}", guardians=guardians)
    user = world.new_user()
    await user.join(federation.invite_code)
    await user.peg_in(DEPOSIT_SAT)
    gateway = OurGatewayd(world.folder / f"gateway-{guardians}", world.alice)
    await gateway.start()
    try:
        await gateway.cli("connect-fed", federation.invite_code)
        sender = Sender(world, gateway, user)
        await sender.quiet()
        return await sender.cost()
    finally:
        await gateway.program.stop()
        await federation.stop()


async def bench() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with real_world(Path(folder)) as world:
            for guardians, rust in RUST.items():
                result = await measure(world, guardians)
                what = {"bench": "send", "guardians": guardians, "sends": SENDS}
                print(json.dumps({**what, **result, **rust}), flush=True)


def main() -> int:
    """Measure, or say which peers are missing."""
    lacking = peers.missing(NEEDED_PEERS)
    if lacking:
        print(f"not installed: {', '.join(lacking)}; `nox -s peers` installs them", file=sys.stderr)
        return 0
    anyio.run(bench)
    return 0


if __name__ == "__main__":
    sys.exit(main())
