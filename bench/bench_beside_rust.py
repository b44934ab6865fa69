"""Payments through our gatewayd and through the Rust one, in one run: same guardian, same nodes, same users.

One gateway runs at a time. Its users have funded their contracts and have their invoices before the clock starts. Its
own ecash comes as an operator's deposit does, as few large notes. A send lasts from the request to its answer, a
receive from the payer's HTLC to the preimage; a run's processor time ends when the gateway rests, so that what it
grinds for later counts. Prints a line of JSON for each run, and the ratios of ours to Rust's; the exit status is 1
when a ratio misses its bound. The ratios of processor time say something only of a Rust gateway that was built with
its own release profile, which `nox -s peers` does not: `GATEWAYD_RUST` names another program.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.bench_payments import pay, percentile
from bench.prepared import Payment
from bench.processor_time import children, cpu_by_part
from devnet.gateway_client import GatewayClient
from devnet.gatewayd import OurGatewayd
from devnet.processes import until
from devnet.real import peers
from devnet.real.rust_gatewayd import RustGatewayd
from devnet.real.world import NEEDED_PEERS, RealWorld, real_world
from devnet.users.receiving import IncomingOrder
from devnet.users.user import EmbeddedUser
from fedimint.lnv2.gateway_api import Paid, RoutingInfo
from fedimint.mintv2 import Ecash
from tests.devnet.joined import JoinedFederation

#: Payments of a run, by how many of them are under way at once.
RUNS = {1: 8, 8: 24, 32: 64}
WARM_UP = 2
SENT_MSAT, RECEIVED_MSAT = 1_234_567, 1_000_000
DEPOSIT_SAT = 3_000_000
GATEWAYS_MSAT = 512 * 2**11 * 400
SENDERS_MSAT = 512 * 2**11 * 250
DEADLINE_S = 180
#: Slower than either gateway's limit of invoices per second.
INVOICE_PAUSE_S = 0.22
QUIET_S = 1.0
RESTING_S = 0.03
#: Most of ours to Rust's, and for payments a second the least.
MOST = {"cpu_ms": 0.6, "p50_ms": 1.0, "p99_ms": 1.0, "memory_mib": 1.0}
LEAST_PER_S = {("send", 32): 1.5, ("receive", 32): 5.0}


class Customers:
    """One sender with ecash, one receiver, and the payer's node."""

    def __init__(
        self, world: RealWorld, gateway: OurGatewayd, sender: EmbeddedUser, receiver: EmbeddedUser
    ) -> None:
        self._world = world
        self._client = GatewayClient(gateway.url)
        self._sender, self._receiver = sender, receiver

    async def sends(self, count: int, routing: RoutingInfo) -> list[Payment]:
        """Contracts are funded; what is left is `/send_payment`."""
        return [await self._send(routing) for _ in range(count)]

    async def receives(self, count: int, routing: RoutingInfo) -> list[Payment]:
        """Invoices are made; what is left is to pay them."""
        return [await self._receive(routing) for _ in range(count)]

    async def _send(self, routing: RoutingInfo) -> Payment:
        invoice = (await self._world.bob.add_invoice(SENT_MSAT)).payment_request
        body = self._sender.body(await self._sender.fund(invoice, routing))

        async def send() -> None:
            assert isinstance(await self._client.send(body), Paid), "a send was given back"

        return send

    async def _receive(self, routing: RoutingInfo) -> Payment:
        order = IncomingOrder(RECEIVED_MSAT, int(time.time()))
        body = self._receiver.receive_body(self._receiver.receive(order, routing))
        invoice = await self._client.create_invoice(body)
        await anyio.sleep(INVOICE_PAUSE_S)

        async def receive() -> None:
            await self._world.bob.pay(invoice, deadline_s=DEADLINE_S)

        return receive


class Bench:
    """Runs of payments through one gateway."""

    def __init__(self, name: str, gateway: OurGatewayd, customers: Customers) -> None:
        self._name = name
        self._gateway = gateway
        self._prepare: Mapping[str, Callable[[int, RoutingInfo], Awaitable[Sequence[Payment]]]] = {
            "send": customers.sends,
            "receive": customers.receives,
        }

    async def run(
        self, kind: str, at_once: int, count: int, routing: RoutingInfo
    ) -> dict[str, float]:
        payments = await self._prepare[kind](count, routing)
        await self.quiet()
        before_s = self._cpu_s()
        began = time.perf_counter()
        lasted_s = await pay(payments, at_once)
        seconds = time.perf_counter() - began
        await self.quiet()
        return {
            "per_s": round(count / seconds, 2),
            "p50_ms": round(percentile(lasted_s, 50) * 1000),
            "p99_ms": round(percentile(lasted_s, 99) * 1000),
            "cpu_ms": round((self._cpu_s() - before_s) / count * 1000),
            "memory_mib": self._memory_mib(),
        }

    async def all_runs(self, routing: RoutingInfo) -> dict[tuple[str, int], dict[str, float]]:
        """Sends first: they bring the gateway ecash, as they do in life."""
        results = {}
        for kind in self._prepare:
            await self.run(kind, WARM_UP, WARM_UP, routing)
            for at_once, count in RUNS.items():
                results[kind, at_once] = await self.run(kind, at_once, count, routing)
                show(gateway=self._name, kind=kind, at_once=at_once, **results[kind, at_once])
        return results

    async def quiet(self) -> None:
        """Wait until the gateway spends next to no processor time, whatever it did."""
        await until(f"{self._name} rests", self._rests, deadline_s=DEADLINE_S)

    async def _rests(self) -> bool:
        before_s = self._cpu_s()
        await anyio.sleep(QUIET_S)
        return self._cpu_s() - before_s < RESTING_S

    def _cpu_s(self) -> float:
        return sum(cpu_by_part(self._process_id()).values())

    def _memory_mib(self) -> int:
        """What only the gateway and its children hold."""
        process_ids = [self._process_id(), *children(self._process_id())]
        rollups = (Path(f"/proc/{one}/smaps_rollup").read_text() for one in process_ids)
        lines = (line for rollup in rollups for line in rollup.splitlines())
        return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) // 1024

    def _process_id(self) -> int:
        process_id = self._gateway.program.process_id
        assert process_id is not None
        return process_id


def show(**result: object) -> None:
    print(json.dumps({"bench": "beside_rust", **result}), flush=True)


async def measure(
    world: RealWorld, name: str, gateway: OurGatewayd
) -> dict[tuple[str, int], dict[str, float]]:
    """A federation of its own for each gateway, so that neither finds the other's history."""
    federation = await world.start_federation(f"of-{name}", guardians=1)
    rich = world.new_user()
    await rich.join(federation.invite_code)
    await rich.peg_in(DEPOSIT_SAT)
    joined = await JoinedFederation.join(federation.invite_code)
    await gateway.start()
    try:
        await gateway.cli("connect-fed", federation.invite_code)
        await gateway.cli("ecash", "receive", "--notes", await rich.send_ecash(GATEWAYS_MSAT))
        sender, receiver = (EmbeddedUser(joined, os.urandom) for _ in range(2))
        await sender.wallet.receive(Ecash.parse(await rich.send_ecash(SENDERS_MSAT)))
        bench = Bench(name, gateway, Customers(world, gateway, sender, receiver))
        routing = await GatewayClient(gateway.url).routing_info(joined.federation_id)
        return await bench.all_runs(routing)
    finally:
        await gateway.program.stop()
        await joined.aclose()
        await federation.stop()


def judge(
    ours: Mapping[tuple[str, int], Mapping[str, float]],
    rust: Mapping[tuple[str, int], Mapping[str, float]],
) -> bool:
    """Whether every ratio is within its bound."""
    met = True
    for run, theirs in rust.items():
        ratios = {key: round(ours[run][key] / value, 2) for key, value in theirs.items() if value}
        ok = all(ratios[key] <= most for key, most in MOST.items())
        ok &= ratios["per_s"] >= LEAST_PER_S.get(run, 0)
        show(kind=run[0], at_once=run[1], ratio=ratios, ok=ok)
        met &= ok
    return met


async def bench(rust_path: Path) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        async with real_world(Path(folder)) as world:
            our_own = OurGatewayd(world.folder / "ours", world.alice)
            ours = await measure(world, "ours", our_own)
            theirs = RustGatewayd(rust_path, world.folder / "rust", world.alice, world.bitcoind)
            return judge(ours, await measure(world, "rust", theirs))


def main() -> int:
    """Measure, or say which peers are missing."""
    named = os.environ.get("GATEWAYD_RUST")
    lacking = peers.missing([*NEEDED_PEERS, *([] if named else ["gatewayd-rust"])])
    if lacking:
        command = f"python -m devnet.real.peers {' '.join(lacking)}"
        print(f"not installed; this does it: {command}", file=sys.stderr)
        return 0
    rust_path = Path(named) if named else peers.find("gatewayd-rust")
    assert rust_path is not None
    return 0 if anyio.run(bench, rust_path) else 1


if __name__ == "__main__":
    sys.exit(main())
