"""Grinds mintv2 tweaks in a thread, by a search that holds no lock of the interpreter."""

import threading
from collections.abc import Callable

import anyio
import anyio.to_thread

from errors import UnavailableError
from fedimint.crypto.secrets import TWEAK_SIZE
from fedimint.mintv2 import tweaks
from gateway.grinder import checked_tweak


class GrinderThread:
    """A `gateway.ports.GrindTweak` over a search such as the native part's, one tweak at a time.

    The search itself sees to it that others get the processor first. Python would grind here as well, but
    its lock keeps the event loop waiting: it has `gateway.grinder.GrinderProcess`.
    """

    def __init__(self, find: tweaks.FindTweak, random_bytes: Callable[[int], bytes]) -> None:
        self._find = find
        self._random_bytes = random_bytes
        # Of its own, so that grinding never keeps the journal from a thread.
        self._turns = anyio.CapacityLimiter(1)

    async def grind(self, tweak_filter: bytes) -> bytes:
        """The next tweak. Raises UnavailableError when the search failed.

        A caller that is cancelled leaves at once, and the thread ends after the call under way.
        """
        is_given_up = threading.Event()

        def find(wanted: bytes, start: bytes, tries: int) -> bytes | None:
            if is_given_up.is_set():
                raise UnavailableError("nobody waits for this tweak any more")
            return self._find(wanted, start, tries)

        try:
            tweak = await anyio.to_thread.run_sync(
                tweaks.grind,
                tweak_filter,
                self._random_bytes(TWEAK_SIZE),
                find,
                abandon_on_cancel=True,
                limiter=self._turns,
            )
        finally:
            is_given_up.set()
        return checked_tweak(tweak, tweak_filter)
