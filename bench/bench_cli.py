"""How long `gateway-cli info` takes against a running gateway, as a ratio to importing cyclopts alone.

Prints one line of JSON and exits 1 above the bound. The runs alternate, so that a busy machine slows
both alike; the median of the ratios of neighbours is compared. Run it as `python bench/bench_cli.py`.
"""

import json
import os
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import anyio
import anyio.to_thread
import bcrypt
import structlog

from api.auth import PasswordCheck
from api.http_server import serving
from api.testing.gateway import CannedGateway
from api.testing.http import canned_app

BOUND = 2.5
RUNS = 11
PASSWORD = "theresnosecondbest"  # noqa: S105 - of this benchmark alone


def seconds(command: list[str]) -> float:
    """Wall-clock seconds of one run of `command`, which must succeed."""
    started = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "FM_RPC_PASSWORD": PASSWORD},
    )
    return time.perf_counter() - started


def measure(address: str) -> dict[str, float]:
    """Median seconds of both commands, and the median of their ratios."""
    cli = Path(sysconfig.get_path("scripts")) / "gateway-cli"
    info = [str(cli), "--address", address, "info"]
    bare = [sys.executable, "-c", "import cyclopts"]
    # Once each unmeasured: byte code is compiled and the password known to the gateway.
    seconds(info)
    seconds(bare)
    pairs = [(seconds(info), seconds(bare)) for _ in range(RUNS)]
    return {
        "info_s": round(statistics.median(pair[0] for pair in pairs), 4),
        "import_cyclopts_s": round(statistics.median(pair[1] for pair in pairs), 4),
        "ratio": round(statistics.median(pair[0] / pair[1] for pair in pairs), 3),
    }


async def bench() -> int:
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    app = canned_app(CannedGateway(), PasswordCheck(hashed))
    async with serving(app, "127.0.0.1", 0) as (host, port):
        result = await anyio.to_thread.run_sync(measure, f"http://{host}:{port}")
    print(json.dumps({"bench": "gateway-cli info", "runs": RUNS, **result, "bound": BOUND}))
    return 0 if result["ratio"] <= BOUND else 1


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    sys.exit(anyio.run(bench))
