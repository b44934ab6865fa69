"""One simulated run as a function of a seed: trio, a virtual clock, a seeded scheduler, a crash where asked."""

import contextlib
import hashlib
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar
from unittest.mock import patch

import anyio
import anyio.abc
import anyio.lowlevel
import trio
import trio.testing
from trio._core import _run as trio_run

from engine.engine import Ports
from engine.ports import Probe, VirtualClock, inline, no_probe
from fedimint.crypto.secrets import TWEAK_SIZE, DerivableSecret
from fedimint.mintv2 import tweaks
from fedimint.walletv2 import deposits
from fedimint.walletv2.config import WalletV2ClientConfig
from fedimint.walletv2.deposits import GroundAddress

START_UNIX_S = 1_800_000_000
WORDS = "abandon " * 11 + "about"
T = TypeVar("T")


class SimulatedCrash(BaseException):
    """The process is gone: nothing catches it on the way, nothing is tidied up in memory."""


@dataclass
class SeededRandomness:
    """The engine's randomness as a function of a seed."""

    generator: random.Random

    def random_bytes(self, count: int) -> bytes:
        return self.generator.randbytes(count)


@dataclass
class CrashAt:
    """Raises at the `hit`-th point that is reached (0 for never), and records every point on the way."""

    hit: int = 0
    points: list[str] = field(default_factory=list)

    def __call__(self, point: str) -> None:
        self.points.append(point)
        if len(self.points) == self.hit:
            raise SimulatedCrash(point)


def run_seeded(main: Callable[[], Awaitable[T]], seed: int) -> T:
    """Run under trio with a clock that jumps and a scheduler that shuffles, both a function of the seed.

    Tweaks and addresses are ground as always, with a filter that needs 256 hashes instead of 65,536.
    """
    # What trio's own Hypothesis plugin does; there is no public switch.
    vars(trio_run)["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    vars(trio_run)["_r"].seed(seed)
    with _short_filters():
        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def ports(seed: int, probe: Probe = no_probe) -> Ports:
    """The world as the engine sees it: virtual time, seeded randomness, no threads."""
    randomness = SeededRandomness(random.Random(seed))
    return Ports(VirtualClock(START_UNIX_S * 1_000_000), randomness, inline, probe)


def now_unix_s() -> float:
    """The wall clock of nodes and guardians."""
    return START_UNIX_S + anyio.current_time()


@contextlib.contextmanager
def _short_filters() -> Iterator[None]:
    with patch.object(tweaks, "ZEROS", b"\0"), patch.object(deposits, "ZEROS", b"\0"):
        yield


async def grind_tweak(tweak_filter: bytes) -> bytes:
    """A tweak that recovery finds, under the short filter."""
    start = hashlib.sha256(await unground(tweak_filter)).digest()[:TWEAK_SIZE]
    return tweaks.grind(tweak_filter, start)


async def grind_address(
    module: DerivableSecret, config: WalletV2ClientConfig, start_index: int
) -> GroundAddress:
    """As `gateway.grinder` does, on the event loop."""
    await anyio.lowlevel.checkpoint()
    return deposits.grind(module, config, start_index)


async def no_addresses(
    _module: DerivableSecret, _config: WalletV2ClientConfig, _start_index: int
) -> GroundAddress:
    """Never ready, for tests that no bitcoin arrives in."""
    await anyio.sleep_forever()
    raise AssertionError


async def unground(tweak_filter: bytes) -> bytes:
    """A tweak that recovery would not find, without the 65,536 hashes. Unique, which is what counts here."""
    del tweak_filter
    global _tweaks  # noqa: PLW0603
    _tweaks += 1
    return _tweaks.to_bytes(TWEAK_SIZE)


_tweaks = 0
