"""Settings of gatewayd: the Rust names, the checks, and a sentence for every mistake."""

import ipaddress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from cyclopts import Parameter

from api.gates import RateLimit
from backends.operations import Node
from cli.gatewayd.options import GatewayOptions
from cli.gatewayd.reach_settings import ReachSettings
from cli.gatewayd.settings import (
    ListenAddress,
    Secret,
    Settings,
    is_on,
    parse_fee,
    parse_listen,
    parse_public_url,
    read_settings,
    unsupported_variables,
)
from errors import ConfigError
from fedimint.lnv2.gateway_api import PaymentFee

HASH = "$2y$10$Q/UTDeO84VGG1mRncxw.Nubqyi/HsNRJ40k0TSexFy9eVess1yi/u"
OPTIONS = GatewayOptions(
    data_dir="/data",
    listen="127.0.0.1:8175",
    api_addr="http://gateway.example",
    bcrypt_password_hash=HASH,
    network="regtest",
)


class SomeSettings(msgspec.Struct, frozen=True):
    """Of a kind of node that there is not."""

    host: str

    def open(self) -> Node:
        raise NotImplementedError

    def mode(self) -> msgspec.Raw:
        raise NotImplementedError


@dataclass(frozen=True)
class SomeOptions:
    """Its flags."""

    node_host: Annotated[str | None, Parameter(env_var="FM_NODE_HOST")] = None
    node_key: Annotated[str | None, Parameter(env_var="FM_NODE_KEY")] = None

    def required(self) -> tuple[tuple[str, str | None], ...]:
        return (
            ("--node-host (FM_NODE_HOST)", self.node_host),
            ("--node-key (FM_NODE_KEY)", self.node_key),
        )

    def checked(self) -> SomeSettings:
        if self.node_host != "here":
            raise ConfigError("--node-host is elsewhere")
        return SomeSettings(self.node_host)


NODE = SomeOptions(node_host="here", node_key="key")


def test_all_of_it() -> None:
    settings = read_settings(OPTIONS, NODE, {"FM_GATEWAY_MNEMONIC": "abandon abandon"})
    mnemonic = settings.mnemonic
    assert mnemonic is not None
    assert mnemonic.reveal() == "abandon abandon"
    assert settings == Settings(
        data_dir=Path("/data"),
        listen=ListenAddress("127.0.0.1", 8175),
        public_url="http://gateway.example/v1",
        bcrypt_password_hash=HASH,
        manager_bcrypt_password_hash=None,
        invoice_rate_limit=RateLimit(burst=50, per_second=5),
        trusted_proxies=(),
        reach=ReachSettings(),
        debug=False,
        network="regtest",
        default_routing_fees=PaymentFee(2000, 3000),
        default_transaction_fees=PaymentFee(2000, 3000),
        node_is_shared=False,
        skip_setup=False,
        mnemonic=mnemonic,
        node=SomeSettings("here"),
    )


def test_the_second_password_and_the_rate_of_invoices() -> None:
    options = replace(
        OPTIONS,
        bcrypt_liquidity_manager_password_hash=HASH,
        invoice_rate_limit_burst="7",
        invoice_rate_limit_per_second="1",
    )
    settings = read_settings(options, NODE, {"FM_DEBUG_GATEWAY": "1"})
    assert settings.manager_bcrypt_password_hash == HASH
    assert settings.invoice_rate_limit == RateLimit(burst=7, per_second=1)
    assert settings.debug


def test_proxies_are_addresses_and_networks() -> None:
    options = replace(OPTIONS, trusted_proxies=" 127.0.0.1, fd00::/8,")
    assert read_settings(options, NODE, {}).trusted_proxies == (
        ipaddress.ip_network("127.0.0.1/32"),
        ipaddress.ip_network("fd00::/8"),
    )


def test_the_mnemonic_does_not_show() -> None:
    settings = read_settings(OPTIONS, NODE, {"FM_GATEWAY_MNEMONIC": "abandon abandon"})
    assert "abandon" not in repr(settings)
    assert "abandon" not in str(Secret("abandon"))


def test_what_is_missing_is_named_all_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings(replace(OPTIONS, data_dir=None, network=""), SomeOptions(node_key=""), {})
    assert str(caught.value) == (
        "Missing: --data-dir (FM_GATEWAY_DATA_DIR), --network (FM_GATEWAY_NETWORK), "
        "--node-host (FM_NODE_HOST), --node-key (FM_NODE_KEY)"
    )


def test_what_the_node_refuses_is_refused_after_the_gateways_own() -> None:
    elsewhere = replace(NODE, node_host="there")
    with pytest.raises(ConfigError, match=r"^--node-host is elsewhere$"):
        read_settings(OPTIONS, elsewhere, {})
    with pytest.raises(ConfigError, match=r"^--network is 'mainnet'"):
        read_settings(replace(OPTIONS, network="mainnet"), elsewhere, {})


def test_without_a_public_address_none_is_announced() -> None:
    assert read_settings(replace(OPTIONS, api_addr=None), NODE, {}).public_url is None
    assert read_settings(replace(OPTIONS, api_addr=""), NODE, {}).public_url is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"network": "mainnet"}, "--network is 'mainnet', but must be one of bitcoin, testnet"),
        ({"bcrypt_password_hash": "theresnosecondbest"}, "is not a bcrypt hash"),
        ({"bcrypt_password_hash": HASH[3:]}, "dollar signs"),
        ({"bcrypt_password_hash": HASH.replace("$10$", "$99$")}, "is not a bcrypt hash"),
        ({"bcrypt_password_hash": HASH + "x"}, "is not a bcrypt hash"),
        (
            {"bcrypt_liquidity_manager_password_hash": HASH[:-1]},
            "--bcrypt-liquidity-manager-password-hash is not a bcrypt hash",
        ),
        ({"invoice_rate_limit_burst": "0"}, "--invoice-rate-limit-burst is '0', but must be"),
        ({"invoice_rate_limit_per_second": "0.5"}, "--invoice-rate-limit-per-second is '0.5'"),
        ({"default_routing_fees": "98001,0"}, "Total Send fees exceeded 100000 msat,15000"),
        ({"default_routing_fees": "0,12001"}, "Total Send fees exceeded 100000 msat,15000"),
        (
            {"default_transaction_fees": "50001,0", "default_routing_fees": "0,0"},
            "Transaction fees exceeded RECEIVE LIMIT 50000 msat,5000",
        ),
        ({"default_routing_fees": "1"}, "--default-routing-fees is '1', but a fee looks like"),
        ({"trusted_proxies": "nginx"}, "--trusted-proxies is 'nginx', but must be addresses"),
        ({"trusted_proxies": "10.0.0.1/8"}, "10.0.0.1/8 has host bits set"),
        ({"listen": "localhost:80"}, "--listen is 'localhost:80', but it must be an IP address"),
        ({"api_addr": "gateway.example"}, "must start with http:// or https://"),
    ],
)
def test_wrong_gateway_options(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings(replace(OPTIONS, **change), NODE, {})
    assert says in str(caught.value)
    for name, value in change.items():
        assert "hash" not in name or value not in str(caught.value)


def test_blanks_and_line_ends_around_a_value_are_not_part_of_it() -> None:
    """Files of secrets end in one."""
    around = replace(
        OPTIONS,
        data_dir="/data \n",
        listen=" 127.0.0.1:8175\n",
        bcrypt_password_hash=f"{HASH}\n",
        network="regtest\u00a0",
    )
    assert read_settings(around, NODE, {}) == read_settings(OPTIONS, NODE, {})


def test_a_byte_order_mark_is_named() -> None:
    for options, environ, name in (
        (OPTIONS, {"\ufeffFM_GATEWAY_DATA_DIR": "/data"}, "FM_GATEWAY_DATA_DIR"),
        (replace(OPTIONS, network="\ufeffregtest"), {}, r"--network \(FM_GATEWAY_NETWORK\)"),
    ):
        with pytest.raises(ConfigError, match=rf"^{name} has an invisible mark in front"):
            read_settings(options, NODE, environ)


def test_quotes_and_line_ends_of_env_files_are_named_and_no_value_is_shown() -> None:
    changes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"network": '"regtest"'}, "--network (FM_GATEWAY_NETWORK) has quotes around it"),
        ({"data_dir": "'/data"}, "--data-dir (FM_GATEWAY_DATA_DIR) has quotes around it"),
        ({"network": "\u201cregtest\u201d"}, "--network (FM_GATEWAY_NETWORK) has quotes around it"),
        ({"bcrypt_password_hash": HASH + "\r"}, "holds a carriage return"),
    )
    for change, says in changes:
        with pytest.raises(ConfigError) as caught:
            read_settings(replace(OPTIONS, **change), NODE, {})
        assert says in str(caught.value)
        assert HASH not in str(caught.value)
    with pytest.raises(ConfigError, match=r"--node-host \(FM_NODE_HOST\) holds a carriage"):
        read_settings(OPTIONS, replace(NODE, node_host="here\r"), {})
    with pytest.raises(ConfigError, match="FM_GATEWAY_MNEMONIC has quotes around it") as shown:
        read_settings(OPTIONS, NODE, {"FM_GATEWAY_MNEMONIC": '"abandon about"'})
    assert "abandon" not in str(shown.value)


@pytest.mark.parametrize(
    ("text", "fee"),
    [
        ("0,0", PaymentFee(0, 0)),
        ("2000 msat,3000", PaymentFee(2000, 3000)),
        ("2000msat,3000", PaymentFee(2000, 3000)),
        ("2 sat,1", PaymentFee(2000, 1)),
        ("2 sats,1", PaymentFee(2000, 1)),
    ],
)
def test_fees(text: str, fee: PaymentFee) -> None:
    assert parse_fee(text, "--flag") == fee


@pytest.mark.parametrize("text", ["", ",", "1,", ",1", "1,2,3", "-1,0", "1 btc,0", "1.5,0", "1,1%"])
def test_what_is_no_fee(text: str) -> None:
    with pytest.raises(ConfigError, match="--flag is"):
        parse_fee(text, "--flag")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("0.0.0.0:80", "0.0.0.0", 80), ("[::1]:8175", "::1", 8175), ("[::]:0", "::", 0)],  # noqa: S104
)
def test_listen_addresses(text: str, host: str, port: int) -> None:
    assert parse_listen(text) == ListenAddress(host, port)


@pytest.mark.parametrize(
    "text", ["", ":80", "127.0.0.1", "::1:80", "[::1]", "127.0.0.1:65536", "1.2.3.4:-1", "[a]:1"]
)
def test_what_is_no_listen_address(text: str) -> None:
    with pytest.raises(ConfigError, match="--listen is"):
        parse_listen(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8999", "http://127.0.0.1:8999/v1"),
        ("http://127.0.0.1:8999/", "http://127.0.0.1:8999/v1"),
        ("http://127.0.0.1:8999/v1", "http://127.0.0.1:8999/v1"),
        ("https://Gateway.Example/a/", "https://gateway.example/a/v1"),
        ("https://gateway.example/a/b", "https://gateway.example/a/v1"),
        ("http://[::1]:8175", "http://[::1]:8175/v1"),
    ],
)
def test_public_urls_end_in_v1(text: str, url: str) -> None:
    assert parse_public_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "ftp://a",
        "http://",
        "http://a:99999",
        "http://u:p@a",
        "http://a?b",
        "http://a#b",
        "http://[a",
    ],
)
def test_what_is_no_public_url(text: str) -> None:
    with pytest.raises(ConfigError, match="--api-addr") as caught:
        parse_public_url(text)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "on"), [(None, False), ("0", False), ("false", False), ("1", True), ("", True)]
)
def test_switches(value: str | None, on: bool) -> None:
    assert is_on(value) is on
    environ = {} if value is None else {"FM_GATEWAY_SKIP_SETUP": value}
    assert read_settings(OPTIONS, NODE, environ).skip_setup is on


def test_variables_of_the_rust_gateway_that_mean_nothing_here_are_named() -> None:
    environ = {"FM_BITCOIND_URL": "http://b", "FM_ESPLORA_URL": "", "FM_GATEWAY_NETWORK": "regtest"}
    assert unsupported_variables(environ) == ("FM_BITCOIND_URL",)
