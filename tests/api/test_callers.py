"""The address of a caller: only the operator's own proxies may name another."""

import ipaddress

import pytest

from api.callers import Callers

PROXIES = Callers([ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")])


@pytest.mark.parametrize(
    ("peer", "headers", "caller"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # anybody can write the header
        ("10.0.0.2", ["198.51.100.1"], "198.51.100.1"),
        (
            "10.0.0.2",
            ["192.0.2.1, 198.51.100.1"],
            "198.51.100.1",
        ),  # the first was sent by the caller
        ("10.0.0.2", ["192.0.2.1", "198.51.100.1, 10.3.3.3"], "198.51.100.1"),
        ("10.0.0.2", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.2", ["[2001:db8::1]:4711"], "2001:db8::/64"),
        ("10.0.0.2", ["10.0.0.7"], "10.0.0.7"),
        ("10.0.0.2", [], "10.0.0.2"),
        ("10.0.0.2", ["unknown"], "10.0.0.2"),
        ("10.0.0.2", ["198.51.100.1, "], "10.0.0.2"),
        ("fd00::1", ["2001:db8:0:1::9"], "2001:db8:0:1::/64"),
        ("::ffff:10.0.0.2", ["198.51.100.1"], "198.51.100.1"),
        ("fe80::1%eth0", [], "fe80::/64"),
        (
            "10.0.0.2",
            ["198.51.100.1" + ", 10.1.1.1" * 40],
            "10.1.1.1",
        ),  # no proxy has so many before it
        (None, ["198.51.100.1"], "unknown"),
        ("/run/gateway.sock", [], "/run/gateway.sock"),
    ],
)
def test_the_caller(peer: str | None, headers: list[str], caller: str) -> None:
    assert PROXIES.caller(peer, headers) == caller


def test_without_proxies_the_header_says_nothing() -> None:
    assert Callers().caller("127.0.0.1", ["198.51.100.1"]) == "127.0.0.1"
