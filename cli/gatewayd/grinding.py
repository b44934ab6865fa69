"""Chooses who grinds mintv2 tweaks: the native part where it is installed, else a process of Python."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog

from engine.ports import SystemRandomness
from fedimint.mintv2.tweaks import FindTweak, ask_native
from gateway.grinder import GrinderProcess
from gateway.grinder_thread import GrinderThread
from gateway.ports import GrindTweak

_log = structlog.get_logger("gatewayd")


@asynccontextmanager
async def tweak_grinder() -> AsyncIterator[GrindTweak]:
    """Grinds until the block ends. Says in the log what the native part would save where it cannot be loaded."""
    try:
        find = native_find()
    except ImportError as error:
        _log.info(
            "native_part_missing",
            module="accel",
            reason=str(error),
            cost="a process of Python grinds tweaks, which takes ten times the processor time; "
            "notes and preimages (BLS12-381) take twice",
            to_install="uv sync --extra native",
        )
        async with GrinderProcess() as process:
            yield process.grind
    else:
        yield GrinderThread(find, SystemRandomness().random_bytes).grind


def native_find() -> FindTweak:
    """The native `fedimint.mintv2.tweaks.find`. Raises ImportError where it is not installed, or cannot be loaded.

    What it returns raises UnavailableError when the native part failed.
    """
    from fedimint_gateway_native.accel import find_tweak  # noqa: PLC0415 - may be missing

    # An older one, without the curve, is as good as none: what is missing is then said.
    import fedimint.crypto.blst  # noqa: F401, PLC0415 - as well

    return partial(ask_native, find_tweak)
