"""The start of a gateway on any kind of node: checks settings, sets up output, runs the daemon."""

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from cli.gatewayd.options import GatewayOptions

if TYPE_CHECKING:
    from cli.gatewayd.nodes.settings import NodeOptions


def start(options: GatewayOptions, node: "NodeOptions") -> None:
    """Run a gateway until it ends. Raises ConfigError for a start to refuse, and what `daemon.run` raises."""
    from cli.gatewayd.daemon import run  # noqa: PLC0415 - only a gateway needs it
    from cli.gatewayd.log_output import configure_logging  # noqa: PLC0415 - same
    from cli.gatewayd.settings import read_settings, unsupported_variables  # noqa: PLC0415 - same

    settings = read_settings(options, node, os.environ)
    configure_logging(sys.stderr, os.environ)
    for name in unsupported_variables(os.environ):
        complain(f"{name} is set but not supported, it is ignored")
    run(settings)


def complain(sentence: str) -> None:
    """Say it on stderr, if anybody reads that; an exit code tells of an end, too."""
    with suppress(OSError, ValueError):
        print(f"gatewayd: {sentence}", file=sys.stderr)
