"""Named crash points for tests: the process kills itself at one of them, as a power cut would.

`FM_GATEWAY_CRASH_AT` holds a point as `engine/ports.py` names them, for example `after send.dispatching`, `effect
SubmitTransaction` or `result SubmitTransaction`. Refused on every network but regtest.
"""

import os
import signal
from collections.abc import Mapping

from engine.ports import Probe, no_probe
from errors import ConfigError

VARIABLE = "FM_GATEWAY_CRASH_AT"


def crash_probe(environ: Mapping[str, str], network: str) -> Probe:
    """The probe that the environment asks for. Raises ConfigError off regtest."""
    wanted = environ.get(VARIABLE)
    if not wanted:
        return no_probe
    if network != "regtest":
        raise ConfigError(f"{VARIABLE} kills the gateway on purpose; it is for regtest only")

    def probe(point: str) -> None:
        if point == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return probe
