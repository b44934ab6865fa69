"""Amounts on gateway-cli's command line: `all`, `1000 sats`, `0.5 btc`, or a bare number (msat; satoshi in 2024).

fedimint-core/src/amount.rs and `BitcoinAmountOrAll` of fedimint-core/src/lib.rs.
"""

import re
from decimal import Decimal
from typing import Literal

from cli.gateway_cli.http import CliError

_MOST_MSAT = 21_000_000 * 100_000_000 * 1000
_UNITS_MSAT = {
    "msat": 1,
    "sat": 1000,
    "sats": 1000,
    "satoshi": 1000,
    "satoshis": 1000,
    "bits": 100_000,
    "uBTC": 100_000,
    "mBTC": 100_000_000,
    "cBTC": 1_000_000_000,
    "BTC": 100_000_000_000,
    "btc": 100_000_000_000,
}
_AMOUNT = re.compile(r"\s*([0-9]{1,20}(?:\.[0-9]{1,11})?)\s*([A-Za-z]*)\s*")


def amount_msat(text: str, bare: Literal["msat", "sat"] = "msat") -> int:
    """Read an amount in msat; `bare` is what a number without a unit is of. Raises CliError."""
    match = _AMOUNT.fullmatch(text)
    unit_msat = _UNITS_MSAT.get(match[2] or bare) if match is not None else None
    if match is None or unit_msat is None:
        raise CliError(
            f"{text!r} is not an amount like 1000, which is {bare}, or '1000 sats'", "invalid_input"
        )
    msat = Decimal(match[1]) * unit_msat
    if msat != int(msat):
        raise CliError(f"{text!r} is finer than a millisatoshi", "invalid_input")
    if msat > _MOST_MSAT:
        raise CliError(f"{text!r} is more than all bitcoin", "invalid_input")
    return int(msat)


def amount_sat_or_all(text: str, bare: Literal["msat", "sat"] = "msat") -> int | str:
    """Read an amount in whole satoshi, or the word all. Raises CliError."""
    if text.strip().lower() == "all":
        return "all"
    sat, rest_msat = divmod(amount_msat(text, bare), 1000)
    if rest_msat:
        raise CliError(
            f"{text!r} is not in whole satoshi; a bare number is {bare}", "invalid_input"
        )
    return sat
