"""The command gateway-cli: one request to a running gateway, its answer as JSON on stdout.

Failures are JSON on stdout too, with the exit codes of the Rust gateway-cli. It starts often, in
scripts, so it imports nothing of ours but the request itself, and that only once a command runs.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

_DEFAULT_ADDRESS = "http://127.0.0.1:8175"
# Recovering the ecash of a federation can take minutes.
_CONNECT_SECONDS = 600


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """Where the one request of this process goes; made from the global flags."""

    address: str
    password: str | None

    def call(self, path: str, body: object = None, *, timeout_s: float = 60) -> object:
        """GET `path`, or POST `body` to it. Raises CliError."""
        from cli.cli_http import call  # noqa: PLC0415 - see the first lines

        return call(self.address, path, self.password, body=body, timeout_s=timeout_s)


# Filled in by `_launch`, not by the words of the command line.
GivenTarget = Annotated[Target, Parameter(parse=False)]


def _banner() -> str:
    from cli.version import banner  # noqa: PLC0415 - only for --version

    return banner("gateway-cli")


app = App(
    name="gateway-cli",
    help="Ask and steer a running gateway.",
    version=_banner,
    version_flags=["--version", "-V"],
    help_formatter="plain",
    result_action="return_value",
)


@app.command
def info(*, target: GivenTarget) -> None:
    """Show the gateway's state, its federations, and every payment that is not over."""
    _print(target.call("/info"))


@app.command
def get_balances(*, target: GivenTarget) -> None:
    """Show the balances on chain, in channels, and in each federation."""
    _print(target.call("/balances"))


@app.command
def balance(*, federation_id: str | None = None, target: GivenTarget) -> None:
    """Same as get-balances, under its older name.

    Parameters
    ----------
    federation_id
        Show only this federation's ecash, as a number of msat.
    """
    balances = target.call("/balances")
    if federation_id is None:
        _print(balances)
        return
    found = _ecash_msat(balances, federation_id.lower())
    if found is None:
        from cli.cli_http import CliError  # noqa: PLC0415 - see the first lines

        raise CliError(f"The gateway has not joined federation {federation_id}", "not_found")
    _print(found)


@app.command
def connect_fed(
    invite_code: str,
    /,
    *,
    recover: Annotated[bool | None, Parameter(negative="")] = None,
    target: GivenTarget,
) -> None:
    """Join a federation.

    Parameters
    ----------
    invite_code
        Invite code of the federation.
    recover
        Recover the ecash that this gateway's mnemonic held there before.
    """
    body = {"invite_code": invite_code, "use_tor": None, "recover": recover}
    _print(target.call("/connect_fed", body, timeout_s=_CONNECT_SECONDS))


@app.command
def version_hash() -> None:
    """Print a hash of the sources of this program."""
    from cli.version import version_hash as compute  # noqa: PLC0415 - only here

    print(compute())


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    address: Annotated[str, Parameter(alias="-a")] = _DEFAULT_ADDRESS,
    rpcpassword: Annotated[
        str | None, Parameter(env_var="FM_RPC_PASSWORD", show_default=False)
    ] = None,
) -> None:
    """Ask and steer a running gateway.

    Parameters
    ----------
    address
        Address of the gateway.
    rpcpassword
        Password of the gateway. The variable keeps it out of the list of processes.
    """
    command, bound, ignored = app.parse_args(
        _join_recover(tokens), exit_on_error=False, print_error=False
    )
    given = {"target": Target(address, rpcpassword)} if "target" in ignored else {}
    command(*bound.args, **bound.kwargs, **given)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default that of this process, and return the exit code.

    An interrupt leaves as SystemExit 130, which is cyclopts' doing.
    """
    try:
        app.meta(
            sys.argv[1:] if arguments is None else arguments, exit_on_error=False, print_error=False
        )
    except CycloptsError as error:
        _print({"error": str(error), "code": "invalid_input"})
        return 4
    except Exception as error:
        from cli.cli_http import EXIT_CODES, CliError  # noqa: PLC0415 - see the first lines

        if not isinstance(error, CliError):
            raise
        _print(error.to_json())
        return EXIT_CODES[error.code]
    return 0


def _print(answer: object) -> None:
    print(json.dumps(answer, indent=2))


def _ecash_msat(balances: object, federation_id: str) -> object:
    if isinstance(balances, dict):
        for entry in balances.get("ecash_balances", ()):
            if entry.get("federation_id") == federation_id:
                return entry.get("ecash_balance_msats")
    return None


def _join_recover(tokens: tuple[str, ...]) -> list[str]:
    """Turn `--recover true` of the Rust command line into `--recover=true`."""
    joined: list[str] = []
    for token in tokens:
        if joined and joined[-1] == "--recover" and token in {"true", "false"}:
            joined[-1] = f"--recover={token}"
        else:
            joined.append(token)
    return joined


if __name__ == "__main__":
    sys.exit(main())
