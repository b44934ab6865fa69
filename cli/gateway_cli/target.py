"""What every command of gateway-cli shares: where its request goes, and how its answer is printed."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter, Token

# What federations, chain or channels take their time for. Longer than the gateway itself waits.
PATIENT_SECONDS = 660.0


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """Where the one request of this process goes; made from the global flags."""

    address: str
    password: str | None

    def call(self, path: str, body: object = None, *, timeout_s: float | None = 60) -> Any:
        """GET `path`, or POST `body` to it. Raises CliError."""
        from cli.gateway_cli.http import call  # noqa: PLC0415 - only once a command runs

        return call(self.address, path, self.password, body=body, timeout_s=timeout_s)


# Filled in by the launcher, not by the words of the command line.
GivenTarget = Annotated[Target, Parameter(parse=False)]
# A secret, or `-`, which cyclopts takes for a flag otherwise.
SecretWord = Annotated[str, Parameter(allow_leading_hyphen=True)]


def _bare(_: Any, tokens: Sequence[Token]) -> str:
    return tokens[0].value.strip(" \t\r\n\"',")


# An id in hex, as it was copied: out of JSON, or with a line break.
PastedId = Annotated[str, Parameter(converter=_bare)]
FederationId = Annotated[PastedId, Parameter(help="Id of the federation.")]
MaybePastedId = Annotated[str | None, Parameter(converter=_bare)]
# The launcher, to which `--address` is the gateway's, gives it to such a command by the second name.
BitcoinAddress = Annotated[str, Parameter(name=("--address", "--bitcoin-address"))]
PaidAddress = Annotated[BitcoinAddress, Parameter(help="Bitcoin address to pay to.")]
AmountOrAll = Annotated[str, Parameter(help="How much: all, 1000 sats, or a number of msat.")]


def print_answer(answer: object) -> None:
    """JSON on stdout, as every command answers that has something to say."""
    print(json.dumps(answer, indent=2))


def secret_of(word: str | None) -> str:
    """A password from the command line; for None and `-`, the first line of stdin, which no list of processes shows."""
    return sys.stdin.readline().rstrip("\r\n") if word in {None, "-"} else str(word)


def secret_text_of(word: str) -> str:
    """A secret that may have many lines, as words and ecash do when they are copied; for `-`, all of stdin."""
    if word != "-":
        return word
    if sys.stdin.isatty():
        print("End it with Ctrl-D on a line of its own.", file=sys.stderr)
    return sys.stdin.read().strip()
