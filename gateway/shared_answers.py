"""Shares one answer among all who ask the same question at about the same time."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

A = TypeVar("A")


class SharedAnswers(Generic[A]):
    """Answers by key, each given again for `fresh_s`. Strangers cannot make us ask more often."""

    def __init__(self, now_unix_us: Callable[[], int], fresh_s: float) -> None:
        self._now_unix_us = now_unix_us
        self._fresh_us = int(fresh_s * 1_000_000)
        self._asking: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._answers: dict[str, tuple[int, A]] = {}

    async def of(self, key: str, ask: Callable[[], Awaitable[A]]) -> A:
        """The answer under this key, asked anew when it is not fresh. The caller may leave: the next one asks then.

        Raises what `ask` raises, to its own caller.
        """
        async with self._asking[key]:
            known = self._answers.get(key)
            # A clock that was put back makes no answer last longer.
            if known is not None and 0 <= self._now_unix_us() - known[0] < self._fresh_us:
                return known[1]
            answer = await ask()
            self._answers[key] = (self._now_unix_us(), answer)
            return answer
