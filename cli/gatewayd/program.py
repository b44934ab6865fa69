"""The command gatewayd: `gatewayd [flags] KIND [flags]` starts the gateway on a node of that kind.

Subcommands are loaded when they run. A wrong start is one sentence on stderr and exit code 4.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from cli.broken_pipe import open_standard_streams, reader_may_leave
from cli.gatewayd.nodes.table import NODE_KINDS
from cli.gatewayd.options import GatewayOptions
from cli.gatewayd.start import complain
from cli.help_pages import add_help
from cli.progress import progress_on_terminal
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


for _kind in NODE_KINDS:
    app.command(_kind.function, name=_kind.command, help=_kind.help)
add_help(app, program="cli.gatewayd.program")
app.command(
    "cli.world.demo:demo_app", name="demo", help="Watch a gateway at work in an embedded world."
)
app.command("cli.world.dev:dev_app", name="dev", help="Run a development environment until Ctrl-C.")
app.command(
    "cli.fuzz.commands:fuzz_app",
    name="fuzz",
    help="Look for inputs that break a promise, and replay them.",
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
        with reader_may_leave(), progress_on_terminal():
            app_for(given)(given, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        complain(str(error))
        return 4
    except GatewayError as error:
        complain(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
