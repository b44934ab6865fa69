"""Processor time of a running gatewayd by its parts, as the kernel counts it: nothing is profiled or slowed down."""

import os
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

K = TypeVar("K")


def cpu_by_part(process_id: int) -> dict[str, float]:
    """Processor seconds so far of gatewayd and its children, also of threads that have ended.

    The main thread does HTTP, guardians, Lightning node and decisions; the other threads SQLite and handing over to
    workers; workers keys, signatures and BLS; the grinder grinds tweaks and addresses for later.
    Tweaks that the native part grinds are among the other threads.
    """
    spent: defaultdict[str, float] = defaultdict(float)
    process = Path(f"/proc/{process_id}")
    spent["main_thread"] = _cpu_s(process / "task" / str(process_id))
    spent["other_threads"] = _whole_cpu_s(process) - spent["main_thread"]
    for child in children(process_id):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            _add_child(spent, Path(f"/proc/{child}"))
    return dict(spent)


def children(process_id: int) -> list[int]:
    """The processes that it has started and that run."""
    found: list[int] = []
    for thread in Path(f"/proc/{process_id}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            found += map(int, (thread / "children").read_text().split())
    return found


def _add_child(spent: defaultdict[str, float], child: Path) -> None:
    command = (child / "cmdline").read_text()
    is_grinder = "fedimint.mintv2.tweaks" in command or "fedimint.walletv2.deposits" in command
    spent["grinder" if is_grinder else "workers"] += sum(map(_cpu_s, (child / "task").iterdir()))


def _whole_cpu_s(process: Path) -> float:
    """User and system time of all threads there ever were, in the kernel's ticks of 10 ms."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _cpu_s(thread: Path) -> float:
    return int((thread / "schedstat").read_text().split()[0]) / 1e9


def difference(after: Mapping[K, float], before: Mapping[K, float]) -> dict[K, float]:
    """What was added since, by key."""
    return {key: value - before.get(key, 0.0) for key, value in after.items()}
