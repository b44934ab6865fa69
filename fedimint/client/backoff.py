"""Pauses between attempts to reach one guardian: longer each time, until it has answered."""

from collections.abc import Callable
from typing import Final

from fedimint.client.transport import GuardianError, GuardianUnreachable

FIRST_BACKOFF_S: Final = 0.5
MAX_BACKOFF_S: Final = 30.0


class Backoff:
    """0.5 s doubling to 30 s, with jitter. `jitter` gives numbers in [0, 1)."""

    def __init__(self, monotonic_s: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._jitter = jitter
        self._losses = 0
        self._last_failure = ""
        self._not_before_s = float("-inf")

    def check(self) -> None:
        """Raise GuardianUnreachable while it is too early for another attempt."""
        if self._monotonic_s() < self._not_before_s:
            raise GuardianUnreachable(f"waiting before the next try: {self._last_failure}")

    def begin(self, failure: GuardianError, *, answered: bool) -> None:
        """Begin a pause after a lost connection, the shortest if that one had `answered` something."""
        self._last_failure = str(failure)
        self._losses = 1 if answered else self._losses + 1
        longest_s = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(self._losses - 1, 10))
        self._not_before_s = self._monotonic_s() + longest_s * (0.5 + self._jitter() / 2)
