"""`python -m bench [NAME ...]`: every bench, or those named, one after the other; fails when one misses its figure.

A bench is a file `bench_NAME.py` that prints JSON lines and exits 1 when it misses. One that lacks its peers prints
a sentence instead, and is skipped.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_FOLDER = Path(__file__).parent
_PREFIX = "bench_"


def run(name: str) -> str:
    """Run one bench, showing what it prints, and say how it ended."""
    command = [sys.executable, str(_FOLDER / f"{_PREFIX}{name}.py")]
    figures = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bench:
        assert bench.stdout is not None
        for line in bench.stdout:
            print(line, end="", flush=True)
            figures += 1
    if bench.returncode:
        return "missed" if bench.returncode == 1 and figures else f"broke ({bench.returncode})"
    return "ok" if figures else "skipped"


def main(wanted: Sequence[str]) -> int:
    """Run them, then say how each ended."""
    names = sorted(path.stem.removeprefix(_PREFIX) for path in _FOLDER.glob(f"{_PREFIX}*.py"))
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        print(f"no bench {', '.join(unknown)}; there are {', '.join(names)}", file=sys.stderr)
        return 4
    ends = {name: run(name) for name in wanted or names}
    for name, end in ends.items():
        print(f"{name:<12} {end}")
    return 0 if set(ends.values()) <= {"ok", "skipped"} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
