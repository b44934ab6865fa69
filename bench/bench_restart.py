"""Restarting with 100,000 finished payments against restarting with 1,000, both beside as many open ones.

The logs are filled by the machines themselves (`built_log.py`). A fresh process opens the real application over each:
seconds, and processor time, from opening the data directory until `/info` could be answered, and the kernel's count of
its memory, at its peak and afterwards. By turns. Prints a line of JSON for each log and one for the figures; the exit
status is 1 when finished payments cost a restart time or memory, when a start takes too long or too much memory, or
when a payment takes too much of the file.
Usage: `bench_restart.py [FOLDER [FINISHED [OPEN]]]`, a folder with room for 7 KB a payment. A million finished payments
take about half an hour to make up.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from backends.lightning import InFlight, PaymentStatus
from backends.simulated.chain import SimulatedChain
from backends.simulated.network import SimulatedNetwork
from backends.simulated.node import SimulatedNode
from bench.built_log import BuiltLog, fill
from devnet.embedded_world import EmbeddedWorld
from engine.engine import Ports
from engine.ports import SystemClock, SystemRandomness
from engine.storage.reader import open_log
from engine.storage.rows import LOG_NAME
from engine.storage.store import Store
from fedimint.client.transport import GuardianUnreachable
from fedimint.crypto.secrets import DerivableSecret
from fedimint.lnv2.gateway_api import PaymentFee
from fedimint.walletv2.config import WalletV2ClientConfig
from fedimint.walletv2.deposits import GroundAddress
from gateway.application import Gateway, GatewaySettings, Outside, run_gateway
from gateway.grinder import grind_address
from gateway.log import read_models
from gateway.ports import Inline
from migrations import SchemaSteps

FEW, MANY, OPEN_NOW = 1_000, 100_000, 1_000
TURNS = 3
#: Of both logs' starts.
LARGEST_TIME_RATIO = 1.5
#: What each more finished payment may leave in memory, and may take on the way.
LARGEST_BYTES_EACH = 50
#: Of the larger log's start: seconds, and all memory of the process.
LARGEST_S, LARGEST_MIB = 5.0, 300
#: What a finished payment may take of the file.
LARGEST_FILE_BYTES_EACH = 6 * 1024
WORDS = "abandon " * 11 + "about"


class PatientNode(SimulatedNode):
    """A node at which every payment stays in flight."""

    @asynccontextmanager
    async def track(self, payment_hash: bytes) -> AsyncIterator[AsyncIterator[PaymentStatus]]:
        del payment_hash
        yield _in_flight_for_ever()


async def _in_flight_for_ever() -> AsyncIterator[PaymentStatus]:
    yield InFlight()
    await anyio.sleep_forever()


class SilentGuardian:
    """Answers nothing: nothing of a restart waits for guardians."""

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        raise GuardianUnreachable(f"nobody is there for {method} ({auth}, {params})")

    async def aclose(self) -> None:
        """There is nothing to close."""


def silent(_url: str, _api_secret: str | None) -> SilentGuardian:
    return SilentGuardian()


async def no_tweak(_filter: bytes) -> bytes:
    await anyio.sleep_forever()
    raise AssertionError


async def no_address(
    _secret: DerivableSecret, _config: WalletV2ClientConfig, _start: int
) -> GroundAddress:
    await anyio.sleep_forever()
    raise AssertionError


# --- in fresh processes ------------------------------------------------------------------------------------------


def memory_kib(name: str) -> int:
    """`VmHWM` is the largest resident size so far, `VmRSS` the one of now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def settings_in(data_dir: Path) -> GatewaySettings:
    fee = PaymentFee(2_000, 3_000)
    return GatewaySettings(data_dir, "regtest", None, fee, fee)


async def start(data_dir: Path) -> dict[str, float]:
    """Open the application as gatewayd does."""
    node = PatientNode(SimulatedNetwork(SimulatedChain()), "gateway", time.time)
    before_kib, began, began_cpu = memory_kib("VmRSS"), time.perf_counter(), time.process_time()
    store = Store(data_dir, SchemaSteps(), read_models())
    gateway = Gateway(
        settings_in(data_dir),
        Outside(
            node, silent, Inline(), no_tweak, no_address, Ports(SystemClock(), SystemRandomness())
        ),
        store=store,
        words=WORDS,
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(gateway.run)
        info = await gateway.info()
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        await anyio.sleep(1)
        answer = {
            "s": round(seconds, 2),
            "cpu_s": round(cpu_s, 2),
            "open": len(info.open_payments),
            "peak_kib": memory_kib("VmHWM") - before_kib,
            "steady_kib": memory_kib("VmRSS") - before_kib,
            "whole_mib": round(memory_kib("VmHWM") / 1024),
        }
        tasks.cancel_scope.cancel()
    store.close()
    return answer


def in_fresh_process(data_dir: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "start", str(data_dir)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


# --- the logs ----------------------------------------------------------------------------------------------------


async def join(data_dir: Path) -> str:
    """A gateway that has joined one federation of an embedded world; the federation's id."""
    world = EmbeddedWorld(1, time.time)
    ports = Ports(SystemClock(), SystemRandomness())
    outside = Outside(
        world.gateway_node, world.federation.connect, Inline(), no_tweak, grind_address, ports
    )
    async with anyio.create_task_group() as tasks:
        gateway: Gateway = await tasks.start(run_gateway, settings_in(data_dir), WORDS, outside)
        invite = world.federation.invite_code().to_text()
        await gateway.federations.connect_federation(invite, recover=False)
        tasks.cancel_scope.cancel()
    return world.federation.federation_id.hex()


def build(data_dir: Path, federation_id: str, *, finished: int, open_now: int) -> dict[str, float]:
    """More payments in a log."""
    began = time.perf_counter()
    log = BuiltLog(data_dir)
    fill(log, federation_id, finished=finished, open_now=open_now)
    log.close()
    with open_log(data_dir) as reader:
        return {
            "rows": reader.head.position,
            "file_bytes": (data_dir / LOG_NAME).stat().st_size,
            "building_s": round(time.perf_counter() - began, 1),
        }


def medians(turns: list[dict[str, float]]) -> dict[str, float]:
    return {
        name: statistics.median(turn[name] for turn in turns) for turn in turns for name in turn
    }


def show(**result: object) -> None:
    print(json.dumps({"bench": "restart", **result}), flush=True)


def measure(folder: Path, many: int, open_now: int) -> bool:
    """Two logs, the larger one a continuation of a copy of the smaller one."""
    smaller, larger = folder / "few", folder / "many"
    federation_id = anyio.run(join, smaller)
    built_few = build(smaller, federation_id, finished=FEW, open_now=open_now)
    shutil.copytree(smaller, larger)
    built_many = build(larger, federation_id, finished=many - FEW, open_now=0)
    started: dict[Path, list[dict[str, float]]] = {smaller: [], larger: []}
    for _ in range(TURNS):
        for data_dir, turns in started.items():
            turns.append(in_fresh_process(data_dir))
    few, more = (medians(turns) for turns in started.values())
    show(finished=FEW, **built_few, start=few)
    show(finished=many, **built_many, start=more)
    file_bytes_each = (built_many["file_bytes"] - built_few["file_bytes"]) / (many - FEW)
    bytes_each = {
        name: 1024 * (more[f"{name}_kib"] - few[f"{name}_kib"]) / (many - FEW)
        for name in ("peak", "steady")
    }
    ok = (
        more["cpu_s"] <= LARGEST_TIME_RATIO * few["cpu_s"]
        and max(bytes_each.values()) <= LARGEST_BYTES_EACH
        and more["s"] <= LARGEST_S
        and more["whole_mib"] <= LARGEST_MIB
        and file_bytes_each <= LARGEST_FILE_BYTES_EACH
    )
    show(
        ok=ok,
        time_ratio=round(more["cpu_s"] / few["cpu_s"], 2),
        bytes_each={name: round(each, 1) for name, each in bytes_each.items()},
        file_bytes_each=round(file_bytes_each),
        s=more["s"],
        whole_mib=more["whole_mib"],
        open=open_now,
    )
    return ok


def main(arguments: Sequence[str]) -> int:
    """Measure with the logs on the disk of a folder; or be one of the fresh processes."""
    if arguments[:1] == ["start"]:
        print(json.dumps(anyio.run(start, Path(arguments[1]))))
        return 0
    parent = arguments[0] if arguments else None
    many = int(arguments[1]) if len(arguments) > 1 else MANY
    open_now = int(arguments[2]) if len(arguments) > 2 else OPEN_NOW
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        return 0 if measure(Path(folder), many, open_now) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
