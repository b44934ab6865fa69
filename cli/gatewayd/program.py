"""The command gatewayd: `gatewayd [flags] lnd [flags]` starts the gateway on an LND node.

Subcommands are loaded when they run. A wrong start is one sentence on stderr and exit code 4.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from cli.broken_pipe import open_standard_streams, reader_may_leave
from cli.gatewayd.options import GatewayOptions, LndOptions
from cli.help_pages import add_help
from errors import ConfigError, GatewayError


def _banner() -> str:
    from cli.version import banner  # noqa: PLC0415 - only for --version

    return banner("gatewayd")


app = App(
    name="gatewayd",
    help="A Lightning gateway for Fedimint federations.",
    version=_banner,
    version_flags=["--version", "-V"],
    help_formatter="plain",
    result_action="return_value",
)


@app.command
def lnd(
    *,
    lnd_options: Annotated[LndOptions | None, Parameter(name="*")] = None,
    options: Annotated[GatewayOptions, Parameter(parse=False)],
) -> None:
    """Run the gateway on an LND node."""
    # gRPC's own library writes to stderr past all loggers; what a call failed of is logged by its caller.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from cli.gatewayd.daemon import run  # noqa: PLC0415 - only a gateway needs it
    from cli.gatewayd.log_output import configure_logging  # noqa: PLC0415 - same
    from cli.gatewayd.settings import read_settings, unsupported_variables  # noqa: PLC0415 - same

    settings = read_settings(options, lnd_options or LndOptions(), os.environ)
    configure_logging(sys.stderr, os.environ)
    for name in unsupported_variables(os.environ):
        _complain(f"{name} is set but not supported, it is ignored")
    run(settings)


add_help(app, program="cli.gatewayd.program")
app.command(
    "cli.world.demo:demo_app", name="demo", help="Watch a gateway at work in an embedded world."
)
app.command("cli.world.dev:dev_app", name="dev", help="Run a development environment until Ctrl-C.")
app.command(
    "cli.fuzz.commands:fuzz_app",
    name="fuzz",
    help="Look for inputs that break a promise, and play them again.",
)
app.command(
    "cli.log.commands:log_app", name="log", help="Read the log of a gateway, also of a running one."
)


@app.command
def version_hash() -> None:
    """Print a hash of the sources of this program."""
    from cli.version import version_hash as compute  # noqa: PLC0415 - only here

    print(compute())


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    options: Annotated[GatewayOptions | None, Parameter(name="*")] = None,
) -> None:
    """A Lightning gateway for Fedimint federations."""
    if tokens and tokens[0].startswith("-"):
        raise ConfigError(f"{tokens[0].partition('=')[0]} is not a flag of this gateway")
    command, bound, ignored = app.parse_args(tokens, exit_on_error=False, print_error=False)
    given = {"options": options or GatewayOptions()} if "options" in ignored else {}
    command(*bound.args, **bound.kwargs, **given)


def app_for(given: Sequence[str]) -> App:
    """The app of a command line.

    The tools start no gateway, so they are called without the flags of one, which would bury their help.
    """
    match list(given[:1]):
        case ["log"]:
            from cli.log.commands import log_app as tool  # noqa: PLC0415 - only here
        case ["demo"]:
            from cli.world.demo import demo_app as tool  # noqa: PLC0415 - loads the whole gateway
        case ["dev"]:
            from cli.world.dev import dev_app as tool  # noqa: PLC0415 - same
        case ["fuzz"]:
            from cli.fuzz.commands import fuzz_app as tool  # noqa: PLC0415 - same
        case _:
            return app.meta
    tools = App(
        name=app.name,
        version=_banner,
        version_flags=app.version_flags,
        help_formatter="plain",
        result_action="return_value",
    )
    tools.command(tool)
    return tools


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default that of this process, and return the exit code.

    An interrupt leaves as SystemExit 130, which is cyclopts' doing.
    """
    open_standard_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with reader_may_leave():
            app_for(given)(given, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _complain(str(error))
        return 4
    except GatewayError as error:
        _complain(str(error))
        return error.exit_code
    return 0


def _complain(sentence: str) -> None:
    """The exit code says it too, should nobody read this."""
    with suppress(OSError, ValueError):
        print(f"gatewayd: {sentence}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
