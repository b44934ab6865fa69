"""Bitcoin addresses: those of upstream's tests and of the recorded session."""

from typing import Any

import pytest

from fedimint import walletv2
from fedimint.codec.addresses import parse_address, segwit_address
from fedimint.codec.errors import DecodeError


@pytest.mark.parametrize(
    ("text", "kind"),
    [  # fedimint-walletv2-common src/lib.rs
        ("1QJVDzdqb1VpbDK7uDeyVXy9mR27CJiyhY", walletv2.P2pkh),
        ("33iFwdLuRpW1uK1RTRqsoi8rR4NpDzk66k", walletv2.P2sh),
        ("bc1qvzvkjn4q3nszqxrv3nraga2r822xjty3ykvkuw", walletv2.P2wpkh),
        ("bc1qwqdg6squsna38e46795at95yu9atm8azzmyvckulcc7kytlcckxswvvzej", walletv2.P2wsh),
        ("bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr", walletv2.P2tr),
    ],
)
def test_standard_addresses(text: str, kind: type) -> None:
    address = parse_address(text)
    assert address.networks == ("bitcoin",)
    script = walletv2.standard_script(address.script_pubkey)
    assert isinstance(script, kind)
    if text.startswith("bc1"):
        assert segwit_address(address.script_pubkey, "bitcoin") == text


def test_a_future_witness_version_is_an_address_but_no_standard_script() -> None:
    text = "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y"
    address = parse_address(text)
    assert walletv2.standard_script(address.script_pubkey) is None
    assert segwit_address(address.script_pubkey, "bitcoin") == text


def test_recorded_withdrawals_pay_to_the_address_asked_for(
    gateway_exchanges: list[dict[str, Any]],
) -> None:
    for exchange in gateway_exchanges:
        if exchange["path"] == "/withdraw":
            address = parse_address(exchange["request"]["address"])
            assert "regtest" in address.networks
            assert walletv2.standard_script(address.script_pubkey) == walletv2.P2pkh(
                bytes.fromhex("b8c8115b3ef7d1d257344e39adf4f33b2582d181")
            )
        if exchange["path"] == "/address" and exchange["response"].startswith("bcrt1"):
            address = parse_address(exchange["response"])
            assert address.networks == ("regtest",)
            assert segwit_address(address.script_pubkey, "regtest") == exchange["response"]


def test_scripts_without_a_segwit_text_are_refused() -> None:
    for script in (b"", b"\x51", b"\x00\x14" + bytes(19), b"\x76\x02" + bytes(2)):
        with pytest.raises(DecodeError, match="not a segwit script"):
            segwit_address(script, "regtest")
    assert segwit_address(b"\x00\x20" + bytes(32), "testnet4").startswith("tb1q")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1QJVDzdqb1VpbDK7uDeyVXy9mR27CJiyhZ",
        "1QJVDzdqb1VpbDK7uDeyVXy9mR27CJi0hY",
        "bc1qvzvkjn4q3nszqxrv3nraga2r822xjty3ykvkux",
        "ltc1qw508d6qejxtdg4y5r3zarvary0c5xw7kgmn4n9",
    ],
)
def test_bad_addresses_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_address(text)
