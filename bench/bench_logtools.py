"""The tools of `gatewayd log` on a long log: time as a share of one reading of all rows, and memory.

The log is filled by the machines themselves (`built_log.py`), 1,000 payments of it open. Each tool runs in a fresh
process that has loaded the program before; so does what every row once needs: read, its chain checked, folded. Prints
a line of JSON for each tool and one for the bounds; the exit status is 1 when a tool that looks up what it needs takes
more than a part of that reading, one that reads everything more than so many of them, or one more memory than what is
open needs.
Usage: `bench_logtools.py [FOLDER [PAYMENTS]]`, a folder with room for three logs; 100,000 payments are 1.5 GB.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.bench_restart import build, join, memory_kib
from cli.gatewayd.program import main as gatewayd
from cli.log.reading import program
from engine.chain import verified
from engine.fold import fold
from engine.storage.reader import open_log
from engine.storage.search import RowFilter, find_rows
from statemachines import send, transaction

PAYMENTS, OPEN_NOW = 20_000, 1_000
#: Processor time, in readings of all rows.
LARGEST_OF_LOOKING_UP, LARGEST_OF_READING = 0.5, 15.0
#: Above the loaded program: 1,000 open payments, a page of rows, and SQLite's own pages.
LARGEST_MIB = 32
LOOKING_UP = ("trace", "show", "stuck")


def tool(words: Sequence[str]) -> dict[str, float]:
    """Run a tool in this process, its output thrown away."""

    def run() -> None:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            code = gatewayd(["log", *words])
        assert code == 0, words

    program()
    return measured(run)


def read(data_dir: Path) -> dict[str, float]:
    """Every row once."""

    def run() -> None:
        with open_log(data_dir) as log:
            fold(of, verified(log.rows()), keep_final=False)

    of, _ = program()
    return measured(run)


def measured(run: Callable[[], None]) -> dict[str, float]:
    """What a call takes of time and memory."""
    before_kib, began, began_cpu = memory_kib("VmRSS"), time.perf_counter(), time.process_time()
    run()
    return {
        "s": round(time.perf_counter() - began, 2),
        "cpu_s": round(time.process_time() - began_cpu, 2),
        "peak_mib": round((memory_kib("VmHWM") - before_kib) / 1024, 1),
    }


def calls(data_dir: Path, folder: Path) -> dict[str, tuple[str, ...]]:
    """What is measured, by what it is called in the figures."""
    of, _ = program()
    with open_log(data_dir) as reader:
        rows = reader.head.position
        kinds = (send.SendAccepted.kind, transaction.TxSigned.kind)
        accepted, signed = (
            of.codec.decode(chained.row.event)
            for kind in kinds
            for chained in find_rows(reader, RowFilter(after=rows // 2, kind=kind), limit=1)
        )
    assert isinstance(accepted, send.SendAccepted)
    assert isinstance(signed, transaction.TxSigned)
    stream = send.stream_of(accepted.facts.contract_id)
    log, exported = str(data_dir), str(folder / "exported.jsonl")
    return {
        "trace a stream": ("trace", log, stream),
        "trace a payment hash": ("trace", log, accepted.facts.payment_hash),
        "trace a txid": ("trace", log, signed.txid),
        "show by position": ("show", log, "--after", str(rows // 2), "--limit", "1000"),
        "show by stream": ("show", log, "--stream", stream),
        "show by kind": ("show", log, "--kind", "send.vanished"),
        "show by time": ("show", log, "--until", "1"),
        "stuck": ("stuck", log, "--all"),
        "simulate-recovery": ("simulate-recovery", log),
        "at": ("at", log, str(rows)),
        "diff": ("diff", log, str(rows // 2), str(rows)),
        "verify": ("verify", log),
        "restore": ("restore", log, str(folder / "restored")),
        "export": ("export", log, exported),
        "import": ("import", exported, str(folder / "imported")),
    }


def show(**result: object) -> None:
    print(json.dumps({"bench": "logtools", **result}), flush=True)


def measure(folder: Path, payments: int) -> bool:
    """Every tool once, beside the reading."""
    data_dir = folder / "data"
    federation_id = anyio.run(join, data_dir)
    build(data_dir, federation_id, finished=OPEN_NOW, open_now=OPEN_NOW)
    built = build(data_dir, federation_id, finished=payments - OPEN_NOW, open_now=0)
    reading = in_fresh_process("read", str(data_dir))
    show(payments=payments, **built, reading=reading)
    took = {}
    for name, words in calls(data_dir, folder).items():
        took[name] = in_fresh_process("tool", *words)
        readings = round(took[name]["cpu_s"] / reading["cpu_s"], 2)
        show(tool=name, **took[name], readings=readings)
    return judge(took, reading["cpu_s"])


def in_fresh_process(*words: str) -> dict[str, float]:
    command = [sys.executable, __file__, *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def judge(took: Mapping[str, Mapping[str, float]], reading_s: float) -> bool:
    """Whether each tool keeps to its bounds."""
    missed = [
        name
        for name, one in took.items()
        if one["cpu_s"] / reading_s
        > (LARGEST_OF_LOOKING_UP if name.startswith(LOOKING_UP) else LARGEST_OF_READING)
        or one["peak_mib"] > LARGEST_MIB
    ]
    show(
        largest_of_looking_up=LARGEST_OF_LOOKING_UP,
        largest_of_reading=LARGEST_OF_READING,
        largest_mib=LARGEST_MIB,
        missed=missed,
        ok=not missed,
    )
    return not missed


def main(arguments: Sequence[str]) -> int:
    """Measure with the logs on the disk of a folder; or be one of the fresh processes."""
    match arguments:
        case ["tool", *words]:
            print(json.dumps(tool(words)))
            return 0
        case ["read", data_dir]:
            print(json.dumps(read(Path(data_dir))))
            return 0
    payments = int(arguments[1]) if len(arguments) > 1 else PAYMENTS
    with tempfile.TemporaryDirectory(dir=arguments[0] if arguments else None) as folder:
        return 0 if measure(Path(folder), payments) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
