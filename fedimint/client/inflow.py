"""Bounds what a guardian may send: bytes a second on its connection, and bytes of one answer.

One guardian that floods us, or answers a question about a number with megabytes, would stop the event loop for
everybody. The bounds are several times what fedimintd 0.13 sends.
"""

from collections.abc import Callable, Mapping
from typing import Final

MAX_FRAME_BYTES: Final = 1024 * 1024
"""The longest frame that is read; twice the longest answer."""
MAX_ANSWER_BYTES: Final = 64 * 1024
"""The longest answer to most methods; it is decoded in a few milliseconds, whatever it holds."""
LONGER_ANSWERS_BYTES: Final[Mapping[str, int]] = {
    # An error may quote a transaction of 50,000 bytes as hex, and is itself sent as hex.
    "submit_transaction": 256 * 1024,
    # The keys of every module, of each guardian.
    "client_config": 512 * 1024,
    # 1,000 outputs of 200 bytes.
    "output_info_slice": 512 * 1024,
    # 2,500 items of 170 bytes.
    "recovery_slice": 512 * 1024,
}
BYTES_PER_S: Final = 2 * 1024 * 1024
"""Some 250 payments a second: each takes about eight answers, the longest of 3,000 bytes."""
BURST_BYTES: Final = 16 * 1024 * 1024
"""What may come at once, such as the answers to everything that a start asks."""
FRAME_BYTES_AT_LEAST: Final = 1024
"""What a frame counts for if it has less: each one costs some work, also a ping."""


def max_answer_bytes(method: str) -> int:
    """The longest answer to a method, core or `module_{instance id}_{name}`."""
    name = method.split("_", 2)[-1] if method.startswith("module_") else method
    return LONGER_ANSWERS_BYTES.get(name, MAX_ANSWER_BYTES)


class Inflow:
    """A bucket of bytes for all that one guardian sends, over every connection that it closes and we open again."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._left = float(BURST_BYTES)
        self._filled_s = monotonic_s()

    def pause_s(self, size: int) -> float:
        """Count a frame of `size` bytes; for how long nothing more should be read, 0 as a rule."""
        now_s = self._monotonic_s()
        filled = self._left + (now_s - self._filled_s) * BYTES_PER_S
        self._filled_s = now_s
        self._left = min(filled, BURST_BYTES) - max(size, FRAME_BYTES_AT_LEAST)
        return max(0.0, -self._left / BYTES_PER_S)
