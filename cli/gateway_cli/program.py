"""The command gateway-cli: one request to a running gateway, its answer as JSON on stdout.

Failures are JSON on stdout too, with the exit codes of the Rust gateway-cli; commands whose answer is null
print nothing, as there. It starts often, in scripts, so it imports nothing of ours but where to send the
request: groups of commands, and the request itself, are loaded once one of them runs.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from cli.broken_pipe import OutputError, open_standard_streams, reader_may_leave
from cli.gateway_cli.target import (
    PATIENT_SECONDS,
    FederationId,
    GivenTarget,
    Target,
    print_answer,
    secret_of,
)
from cli.help_pages import add_help

_DEFAULT_ADDRESS = "http://127.0.0.1:8175"
# Switches that the Rust command line gives a value.
_VALUED_SWITCHES = {"--recover", "--receive-enabled"}
# Flags of the launcher that are followed by a value.
_VALUED_FLAGS = {"-a", "--address", "--rpcpassword"}
# Commands with an --address of their own; that of the gateway comes before them.
_WITH_ADDRESS = (
    ("ecash", "pegin-recheck"),
    ("ecash", "pegout"),
    ("onchain", "send"),
    ("withdraw",),
)
_OLDER = "Deprecated names"
_RENAMED = {"backup": "ecash:backup", "config": "cfg:client_config"}


def _banner() -> str:
    from cli.version import banner  # noqa: PLC0415 - only for --version

    return banner("gateway-cli")


app = App(
    name="gateway-cli",
    help="Control a running gateway.",
    version=_banner,
    version_flags=["--version", "-V"],
    help_formatter="plain",
    result_action="return_value",
)
add_help(app, program="cli.gateway_cli.program")


@app.command
def info(*, target: GivenTarget) -> None:
    """Show the gateway's state, its federations, and every open payment."""
    print_answer(target.call("/info"))


@app.command
def get_balances(*, target: GivenTarget) -> None:
    """Show the balances on chain, in channels, and in each federation."""
    print_answer(target.call("/balances"))


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
    print_answer(target.call("/connect_fed", body, timeout_s=PATIENT_SECONDS))


@app.command
def leave_fed(
    *,
    federation_id: FederationId,
    give_up: Annotated[bool, Parameter(negative="")] = False,
    target: GivenTarget,
) -> None:
    """Leave a federation. Its ecash stays ours, and is found again when the federation is joined again.

    Parameters
    ----------
    give_up
        Leave though things are under way, since the guardians are gone for good. Ask without it first: the refusal
        says what this costs.
    """
    body: dict[str, object] = {"federation_id": federation_id}
    if give_up:
        body["give_up"] = True
    print_answer(target.call("/leave_fed", body, timeout_s=PATIENT_SECONDS))


for _name, _help in {
    "seed": "Show the mnemonic, from which every key follows.",
    "stop": "Finish payments under way, then stop the gateway.",
    "payment-log": "List payments and other events of a federation, newest first.",
    "payment-summary": "Sum up the payments of a period, by default the last 24 hours.",
    "dismiss": "Give up on a payment or an order whose call the node never answered.",
    "retry": "Try again a payment or federation that was quarantined after a bug of the gateway.",
    "invite-codes": "Show an invite code for each guardian of each federation.",
    "create-password-hash": "Make the bcrypt hash of a password, for gatewayd's settings.",
}.items():
    app.command(f"cli.gateway_cli.general:{_name.replace('-', '_')}", name=_name, help=_help)

for _name, _help in {
    "lightning": "Use the Lightning node: invoices, peers, channels.",
    "ecash": "Move the gateway's own funds into, out of, and between federations.",
    "onchain": "Use the on-chain wallet of the Lightning node.",
    "cfg": "Show and change the configuration.",
}.items():
    app.command(f"cli.gateway_cli.{_name}:{_name}_app", name=_name, help=_help)

for _name, _help in {
    "balance": "Same as get-balances; of one federation as a number of msat.",
    "address": "Same as ecash pegin, as a bare string.",
    "deposit": "Say where to send coins; they are claimed without this command.",
    "withdraw": "Same as ecash pegout, but a bare number is satoshi, as it was in 2024.",
    "backup": "Same as ecash backup.",
    "restore": "Same as connect-fed --recover.",
    "config": "Same as cfg client-config.",
}.items():
    _function = _RENAMED.get(_name, f"older:{_name}")
    app.command(f"cli.gateway_cli.{_function}", name=_name, help=_help, group=_OLDER)


@app.command
def version_hash() -> None:
    """Print a hash of the sources of this program."""
    from cli.version import version_hash as compute  # noqa: PLC0415 - only here

    print(compute())


@app.command
def completion(shell: Literal["bash", "zsh", "fish", "powershell"], /) -> None:
    """Print a script that completes these commands in a shell.

    Parameters
    ----------
    shell
        The shell to write it for.
    """
    print(app.meta.generate_completion(prog_name="gateway-cli", shell=shell), end="")


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    address: Annotated[str, Parameter(alias="-a")] = _DEFAULT_ADDRESS,
    rpcpassword: Annotated[
        str | None,
        Parameter(env_var="FM_RPC_PASSWORD", show_default=False, allow_leading_hyphen=True),
    ] = None,
) -> None:
    """Control a running gateway.

    Parameters
    ----------
    address
        Address of the gateway.
    rpcpassword
        Password of the gateway. The variable, or - to read it from stdin, keeps it out of the list of processes.
    """
    command, bound, ignored = app.parse_args(
        _join_values(tokens), exit_on_error=False, print_error=False
    )
    password = None if rpcpassword is None else secret_of(rpcpassword)
    given = {"target": Target(address, password)} if "target" in ignored else {}
    command(*bound.args, **bound.kwargs, **given)


def app_for(_: Sequence[str]) -> App:
    """The app of a command line, which is one for all."""
    return app.meta


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default that of this process, and return the exit code.

    An interrupt leaves as SystemExit 130, which is cyclopts' doing.
    """
    open_standard_streams()
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments))
    except OutputError as error:
        # Not as JSON on stdout, which is what did not work.
        with suppress(OSError):
            print(f"gateway-cli: {error}", file=sys.stderr)
        return error.exit_code


def _run(given: list[str]) -> int:
    """Run a command line and print what went wrong. Raises OutputError when nothing can be printed."""
    try:
        with reader_may_leave():
            app_for(given)(_tell_addresses_apart(given), exit_on_error=False, print_error=False)
    except UnusedCliTokensError:
        # Not which: they may be words of a mnemonic, or ecash.
        sentence = "There are extra words at the end: put a value with blanks into quotes"
        complaint, code = {"error": sentence, "code": "invalid_input"}, 4
    except CycloptsError as error:
        complaint, code = {"error": str(error), "code": "invalid_input"}, 4
    except Exception as error:
        from cli.gateway_cli.http import EXIT_CODES, CliError  # noqa: PLC0415 - see the first lines

        if not isinstance(error, CliError):
            raise
        complaint, code = error.to_json(), EXIT_CODES[error.code]
    else:
        return 0
    with reader_may_leave():
        print_answer(complaint)
    return code


def _tell_addresses_apart(arguments: list[str]) -> list[str]:
    """Give the `--address` after a command that has one a name that the launcher does not take."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        at += 2 if arguments[at] in _VALUED_FLAGS else 1
    if not any(arguments[at : at + len(one)] == list(one) for one in _WITH_ADDRESS):
        return arguments
    theirs = [
        f"--bitcoin-{word[2:]}" if word.partition("=")[0] == "--address" else word
        for word in arguments[at:]
    ]
    return [*arguments[:at], *theirs]


def _join_values(tokens: tuple[str, ...]) -> list[str]:
    """Turn `--recover true` of the Rust command line into `--recover=true`."""
    joined: list[str] = []
    for token in tokens:
        if joined and joined[-1] in _VALUED_SWITCHES and token in {"true", "false"}:
            joined[-1] += f"={token}"
        else:
            joined.append(token)
    return joined


if __name__ == "__main__":
    sys.exit(main())
