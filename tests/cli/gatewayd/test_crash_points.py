"""The variable that crashes a gateway in tests: off by default, refused where money is real."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.gatewayd.crash_points import VARIABLE, crash_probe
from engine.ports import no_probe
from errors import ConfigError


@pytest.mark.parametrize("network", ["bitcoin", "testnet", "testnet4", "signet", ""])
def test_it_is_refused_off_regtest(network: str) -> None:
    with pytest.raises(ConfigError, match=f"{VARIABLE} kills the gateway on purpose"):
        crash_probe({VARIABLE: "after send.paid"}, network)


@pytest.mark.parametrize("network", ["bitcoin", "regtest"])
@pytest.mark.parametrize("environ", [{}, {VARIABLE: ""}])
def test_without_it_nothing_crashes(environ: dict[str, str], network: str) -> None:
    assert crash_probe(environ, network) is no_probe


def test_it_kills_at_its_point_and_at_no_other() -> None:
    program = (
        "from cli.gatewayd.crash_points import crash_probe\n"
        f"probe = crash_probe({{{VARIABLE!r}: 'after send.paid'}}, 'regtest')\n"
        "probe('before send.paid')\n"
        "print('alive', flush=True)\n"
        "probe('after send.paid')\n"
        "print('still alive', flush=True)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        check=False,
        timeout=100,
    )
    assert ended.stdout == b"alive\n"
    assert ended.returncode == -signal.SIGKILL
