"""The cost of the worst that the API lets strangers do: bytes of log, memory and processor time.

The gateway is the process that operators run, in an embedded world behind loopback sockets. Each abuse is done a
number of times; what it costs for each request is counted, and reckoned for an hour at the limit that stands before
it. Some have no limit but the caller's own money or the processor: those say what the caller pays, or how many
requests fill one core. Prints a line of JSON for each; the exit status is 1 when one of them costs more than its
bound. Usage: `bench_strangers.py [FOLDER]`.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from api import limits
from api.gates import RateLimit
from bench.processor_time import cpu_by_part, difference
from devnet.embedded_world import EmbeddedWorld
from devnet.gateway_client import GatewayClient
from devnet.gatewayd import OurGatewayd
from devnet.processes import until
from devnet.served_world import served_world
from devnet.users.receiving import IncomingOrder
from engine.storage.reader import open_log
from fedimint.lnv2.gateway_api import RoutingInfo, SendPaymentPayload
from fedimint.mintv2 import Ecash, SpendableNote

_HOUR_S = 3_600
_TOO_MANY = 429
_DEADLINE_S = 300.0
_NOTE_MSAT = 1 << 14
_USER_MSAT = 40_000 * 512
_INVOICES, _NOTES, _CONTRACTS, _QUESTIONS = 600, 100, 40, 500
#: Bounds for an hour of the worst stranger at the default limits.
LOG_MB_PER_HOUR = 150.0
CPU_S_PER_HOUR = 1_200.0
MEMORY_KB_PER_INVOICE = 60.0


@dataclass(frozen=True)
class Cost:
    """Of all requests of an abuse together; log and memory in bytes."""

    log: int
    memory: int
    cpu_s: float
    seconds: float


class Gateway:
    """The gateway under attack, as seen from outside."""

    def __init__(self, program: OurGatewayd) -> None:
        self._program = program

    async def cost(self, abuse: Callable[[], Awaitable[None]]) -> Cost:
        """Until nothing is under way any more but unpaid invoices."""
        await until("all is over", self._is_over, deadline_s=_DEADLINE_S)
        log, memory, cpu, began = self._log(), self._memory(), self._cpu(), time.perf_counter()
        await abuse()
        await until("all is over", self._is_over, deadline_s=_DEADLINE_S)
        spent = difference(self._cpu(), cpu)
        return Cost(
            self._log() - log,
            self._memory() - memory,
            sum(s for part, s in spent.items() if part != "grinder"),
            time.perf_counter() - began,
        )

    async def _is_over(self) -> bool:
        sql = "SELECT count(*) FROM stream WHERE kind IN ('send', 'tx', 'reissue') AND NOT final"
        return self._queried(sql) == 0

    def _log(self) -> int:
        return self._queried("PRAGMA page_count") * self._queried("PRAGMA page_size")

    def _queried(self, sql: str) -> int:
        with open_log(self._program.data_dir) as log:
            ((value,),) = log.query(sql)
            return msgspec.convert(value, int)

    def _memory(self) -> int:
        pages = int(Path(f"/proc/{self._process_id()}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def _cpu(self) -> dict[str, float]:
        return cpu_by_part(self._process_id())

    def _process_id(self) -> int:
        process_id = self._program.program.process_id
        assert process_id is not None
        return process_id


class Stranger:
    """Does what the API lets anybody do."""

    def __init__(self, world: EmbeddedWorld, client: GatewayClient, routing: RoutingInfo) -> None:
        self._world = world
        self._client = client
        self._routing = routing

    async def invoices(self) -> None:
        """Ask for invoices that nobody will pay."""
        user = self._world.new_user(0)
        for _ in range(_INVOICES):
            payment = user.receive(
                IncomingOrder(1_000_000, int(time.time()), description="x" * 639), self._routing
            )
            await self._client.create_invoice(user.receive_body(payment))

    async def spent_ecash(self) -> None:
        """Hand in notes that are spent elsewhere, each in as much company as it is tried in."""
        notes = self._issued(_NOTES)
        for note in notes:
            self._world.federation.consensus.ledger.spent_nonces.add(note.note().nonce)
        for at in range(12):
            await self._hand_in([*notes[at:], *notes[: max(0, at - 1)]])

    async def forged_ecash(self) -> None:
        """Hand in notes whose signatures are those of others."""
        notes = self._issued(2 * _NOTES)
        forged = [
            msgspec.structs.replace(note, signature=other.signature)
            for note, other in zip(notes, [*notes[1:], notes[0]], strict=True)
        ]
        for _ in range(5):
            await self._hand_in(forged)

    async def given_back(self) -> None:
        """Fund contracts for an invoice that finds no way, and take the money back by the forfeit."""
        for body in [await self._funded() for _ in range(_CONTRACTS)]:
            await self._client.send(body)

    async def questions(self) -> None:
        """Ask for the terms again and again."""
        for _ in range(_QUESTIONS):
            await self._client.routing_info(self._world.federation.federation_id)

    def _issued(self, count: int) -> list[SpendableNote]:
        issue = self._world.federation.issue_ecash
        return [issue(_NOTE_MSAT).notes()[0] for _ in range(count)]

    async def _hand_in(self, notes: Sequence[SpendableNote]) -> None:
        text = Ecash.of(self._world.federation.federation_id, tuple(notes)).to_text()
        body = msgspec.json.encode({"notes": text})

        async def is_looked_at() -> bool:
            return (await self._client.post("/receive_ecash", body)).status != _TOO_MANY

        await until("the limit lets the notes in", is_looked_at, deadline_s=_DEADLINE_S)

    async def _funded(self) -> SendPaymentPayload:
        user = self._world.new_user(_USER_MSAT)
        invoice = self._world.payee.make_invoice(1_234_567, expiry_s=0).text
        return user.body(await user.fund(invoice, self._routing))


def per_hour(limit: RateLimit) -> int:
    """How many tokens a bucket gives in an hour."""
    return limit.burst + limit.per_second * _HOUR_S


def show(abuse: str, cost: Cost, *, units: int, unit: str, hourly: int | None) -> bool:
    """Print what one unit costs, and an hour at the limit when there is one; whether the bounds are met."""
    cpu_ms, log_bytes = cost.cpu_s / units * 1000, cost.log / units
    figures: dict[str, object] = {
        "unit": unit,
        "units": units,
        "log_bytes": round(log_bytes),
        "memory_bytes": round(cost.memory / units),
        "cpu_ms": round(cpu_ms, 2),
    }
    ok = True
    if hourly is None:
        figures["a_core_is_full_at_per_s"] = round(1000 / cpu_ms)
    else:
        log_mb, cpu_s = log_bytes * hourly / 1e6, cpu_ms * hourly / 1000
        figures["an_hour"] = {"units": hourly, "log_mb": round(log_mb, 1), "cpu_s": round(cpu_s)}
        ok = log_mb <= LOG_MB_PER_HOUR and cpu_s <= CPU_S_PER_HOUR
    print(json.dumps({"bench": "strangers", "abuse": abuse, **figures, "ok": ok}), flush=True)
    return ok


async def measure(folder: Path) -> bool:
    """One abuse after the other; whether each stays within its bounds."""
    generous = {
        "FM_GATEWAY_INVOICE_RATE_LIMIT_BURST": "100000",
        "FM_GATEWAY_INVOICE_RATE_LIMIT_PER_SECOND": "1000",
    }
    async with served_world(folder / "lnd", ["bench"]) as served:
        program = OurGatewayd(folder / "gateway", served.lnd, generous)
        await program.start()
        try:
            federation = served.world.federation
            await program.cli("connect-fed", federation.invite_code().to_text())
            client = GatewayClient(program.url)
            routing = await client.routing_info(federation.federation_id)
            return await attacked(Gateway(program), Stranger(served.world, client, routing))
        finally:
            await program.program.stop()


async def attacked(gateway: Gateway, stranger: Stranger) -> bool:
    """Whether every abuse stays within its bounds."""
    invoices = await gateway.cost(stranger.invoices)
    notes, invoice_limit = per_hour(limits.ECASH_NOTES), per_hour(RateLimit())
    met = [
        show("invoices", invoices, units=_INVOICES, unit="invoice", hourly=invoice_limit),
        invoices.memory / _INVOICES <= MEMORY_KB_PER_INVOICE * 1000,
    ]
    spent = await gateway.cost(stranger.spent_ecash)
    met.append(show("spent ecash", spent, units=10 * _NOTES, unit="note", hourly=notes))
    forged = await gateway.cost(stranger.forged_ecash)
    met.append(show("forged ecash", forged, units=10 * _NOTES, unit="note", hourly=notes))
    contracts = await gateway.cost(stranger.given_back)
    met.append(show("given back", contracts, units=_CONTRACTS, unit="contract", hourly=None))
    questions = await gateway.cost(stranger.questions)
    met.append(show("questions", questions, units=_QUESTIONS, unit="question", hourly=None))
    return all(met)


def main(arguments: Sequence[str]) -> int:
    """Measure with the data directory on the disk of a folder."""
    with tempfile.TemporaryDirectory(dir=arguments[0] if arguments else None) as folder:
        return 0 if anyio.run(measure, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
