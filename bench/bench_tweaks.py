"""Grinding mintv2 tweaks natively, as gatewayd does where the native part is installed, against Python.

Both search from the same starts and find the same tweaks. Prints one line of JSON; the exit status is 1 when the
native search takes more than a fifth of the other's processor time. Without the native part it says so instead.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from cli.gatewayd.grinding import native_find
from fedimint.crypto.secrets import FILTER_SIZE, TWEAK_SIZE
from fedimint.mintv2 import tweaks

LARGEST_RATIO = 1 / 5
ROUNDS = 25
#: Starts in a round: one tweak alone takes anything from a few hashes to half a million.
STARTS = 16


def seconds(find: tweaks.FindTweak, tweak_filter: bytes, starts: Sequence[bytes]) -> float:
    """Processor time of all threads for a tweak, which other work on the machine disturbs least."""
    begin = time.process_time()
    for start in starts:
        tweaks.grind(tweak_filter, start, find)
    return (time.process_time() - begin) / len(starts)


def main() -> int:
    """Measure both by turns."""
    try:
        native = native_find()
    except ImportError as error:
        print(f"the native part is not built here ({error}): nox -s native", file=sys.stderr)
        return 0
    rounds = []
    for _ in range(ROUNDS):
        tweak_filter = os.urandom(FILTER_SIZE)
        starts = [os.urandom(TWEAK_SIZE) for _ in range(STARTS)]
        rounds.append(
            (seconds(native, tweak_filter, starts), seconds(tweaks.find, tweak_filter, starts))
        )
    native_s, python_s = (statistics.mean(times) for times in zip(*rounds, strict=True))
    print(
        json.dumps(
            {
                "bench": "tweaks",
                "tweaks": ROUNDS * STARTS,
                "ratio": round(native_s / python_s, 3),
                "largest_ratio": LARGEST_RATIO,
                "native_ms": round(native_s * 1000, 2),
                "python_ms": round(python_s * 1000, 2),
            }
        )
    )
    return 0 if native_s / python_s <= LARGEST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
