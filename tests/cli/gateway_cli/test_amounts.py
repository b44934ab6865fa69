"""Amounts of the command line, as the Rust one reads them."""

import pytest

from cli.gateway_cli.amounts import amount_msat, amount_sat_or_all
from cli.gateway_cli.http import CliError


@pytest.mark.parametrize(
    ("text", "msat"),
    [
        ("0", 0),
        ("1001", 1001),
        ("1001 msat", 1001),
        ("1 sat", 1000),
        ("1000sats", 1_000_000),
        (" 0.5 btc ", 50_000_000_000),
        ("0.00000000001 BTC", 1),
        ("2100000000000000 sat", 2_100_000_000_000_000_000),
    ],
)
def test_amounts(text: str, msat: int) -> None:
    assert amount_msat(text) == msat


@pytest.mark.parametrize(
    "text", ["", "sat", "-1", "1.5", "1e3", "1 doge", "1 2", "0.0001 sat", "2100000000000001 sat"]
)
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(CliError) as caught:
        amount_msat(text)
    assert caught.value.code == "invalid_input"


@pytest.mark.parametrize(
    ("text", "wanted"), [("all", "all"), ("ALL", "all"), ("7000", 7), ("7 sats", 7)]
)
def test_whole_satoshi_or_all(text: str, wanted: object) -> None:
    assert amount_sat_or_all(text) == wanted


def test_a_bare_number_may_be_of_satoshi() -> None:
    assert amount_sat_or_all("50000", bare="sat") == 50_000
    assert amount_sat_or_all("50000 msat", bare="sat") == 50
    assert amount_sat_or_all("all", bare="sat") == "all"
    with pytest.raises(CliError, match="a bare number is sat"):
        amount_sat_or_all("0.5", bare="sat")
    with pytest.raises(CliError, match="like 1000, which is sat"):
        amount_sat_or_all("0x10", bare="sat")


def test_a_bare_number_is_msat_and_must_be_whole_satoshi() -> None:
    with pytest.raises(CliError, match="not in whole satoshi; a bare number is msat"):
        amount_sat_or_all("1500")
