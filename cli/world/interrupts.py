"""Waiting for Ctrl-C."""

import signal

import anyio


async def until_interrupted() -> None:
    """Return at SIGINT or SIGTERM, so that everything can be ended in order."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            return
