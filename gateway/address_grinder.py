"""Grinds walletv2 addresses in a process of their own at a low priority: each takes seconds."""

import contextlib
import sys
from subprocess import DEVNULL, PIPE

import anyio

from errors import GatewayError, UnavailableError
from fedimint.crypto.secrets import DerivableSecret
from fedimint.walletv2.config import WalletV2ClientConfig
from fedimint.walletv2.deposits import GroundAddress, decode_answer, first_line


async def grind_address(
    module: DerivableSecret, config: WalletV2ClientConfig, start_index: int
) -> GroundAddress:
    """The first address from `start_index` upwards. Raises UnavailableError when the process died; ask again.

    The secret goes to the process by its input, where nobody else sees it.
    """
    process = await anyio.open_process(
        [sys.executable, "-m", "fedimint.walletv2.deposits"],
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.send(f"{first_line(module, config)}{start_index}\n".encode())
        line = b""
        while not line.endswith(b"\n"):
            line += await process.stdout.receive(1_000)
        return decode_answer(line.decode())
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream, GatewayError) as error:
        raise UnavailableError(
            "the process that grinds addresses ended; another is started"
        ) from error
    finally:
        with anyio.CancelScope(shield=True):
            with contextlib.suppress(ProcessLookupError):  # it ended by itself, as at Ctrl-C
                process.kill()
            await process.aclose()
