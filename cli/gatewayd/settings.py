"""The settings of gatewayd, checked once at the start: every mistake is a ConfigError with a sentence."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints
from urllib.parse import urljoin, urlsplit

import msgspec

from api.callers import IpNetwork
from api.gates import RateLimit
from cli.gatewayd.nodes.settings import NodeOptions, NodeSettings
from cli.gatewayd.options import GatewayOptions
from cli.gatewayd.reach_settings import ReachSettings, read_reach
from errors import ConfigError
from fedimint.lnv2.gateway_api import PaymentFee, check_limits

Network = Literal["bitcoin", "testnet", "testnet4", "signet", "regtest"]

_BCRYPT_HASH = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
_AMOUNT = re.compile(r"([0-9]{1,18})\s*(msat|sats?)?")

_QUOTES = frozenset("\"'`\u201c\u201d\u201e\u2018\u2019\u201a")
#: Of UTF-8 as Windows writes it: an invisible character in front of the file, and so of its first name.
_BYTE_ORDER_MARK = "\ufeff"

# Variables that steer the Rust gateway and would be missed: named in a warning when set.
_UNSUPPORTED = (
    "FM_NUMBER_OF_ROUTE_HINTS",
    "FM_DB_BACKEND",
    "FM_BITCOIND_USERNAME",
    "FM_BITCOIND_PASSWORD",
    "FM_BITCOIND_URL",
    "FM_ESPLORA_URL",
    "FM_GATEWAY_IROH_LISTEN_ADDR",
    "FM_GATEWAY_IROH_SECRET_KEY_OVERRIDE",
    "FM_IROH_RELAY",
    "FM_IROH_CONNECT_OVERRIDES",
    "FM_IROH_DHT_ENABLE",
    "FM_GATEWAY_METRICS_LISTEN_ADDR",
    "FM_GATEWAY_SKIP_WAIT_FOR_SYNC",
)


class Secret:
    """A text that must not be shown by accident; `reveal` is the only way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "Secret(…)"

    def reveal(self) -> str:
        """The text itself."""
        return self._text


class ListenAddress(msgspec.Struct, frozen=True):
    """An IP address of this machine and a port."""

    host: str
    port: int


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything gatewayd was told. `public_url` ends in /v1, or is None: no http registration.

    `debug` tells the callers of public routes what failed inside.
    """

    data_dir: Path
    listen: ListenAddress
    public_url: str | None
    bcrypt_password_hash: str
    manager_bcrypt_password_hash: str | None
    invoice_rate_limit: RateLimit
    trusted_proxies: tuple[IpNetwork, ...]
    reach: ReachSettings
    debug: bool
    network: Network
    default_routing_fees: PaymentFee
    default_transaction_fees: PaymentFee
    skip_setup: bool
    node_is_shared: bool
    mnemonic: Secret | None
    node: NodeSettings


def read_settings(
    options: GatewayOptions, node: NodeOptions, environ: Mapping[str, str]
) -> Settings:
    """Check every flag and variable. Raises ConfigError, whose text says which and why."""
    _refuse_marks(options, environ)
    _refuse_marks(node, environ)
    options = _stripped(options)
    _require(
        ("--data-dir (FM_GATEWAY_DATA_DIR)", options.data_dir),
        ("--listen (FM_GATEWAY_LISTEN_ADDR)", options.listen),
        (
            "--bcrypt-password-hash (FM_GATEWAY_BCRYPT_PASSWORD_HASH)",
            options.bcrypt_password_hash,
        ),
        ("--network (FM_GATEWAY_NETWORK)", options.network),
        *node.required(),
    )
    routing_fees = parse_fee(options.default_routing_fees, "--default-routing-fees")
    transaction_fees = parse_fee(options.default_transaction_fees, "--default-transaction-fees")
    check_limits(routing_fees, transaction_fees)
    mnemonic = environ.get("FM_GATEWAY_MNEMONIC")
    return Settings(
        data_dir=Path(options.data_dir or ""),
        listen=parse_listen(options.listen or ""),
        public_url=parse_public_url(options.api_addr) if options.api_addr else None,
        bcrypt_password_hash=_bcrypt_hash(
            options.bcrypt_password_hash or "", "--bcrypt-password-hash"
        ),
        manager_bcrypt_password_hash=(
            _bcrypt_hash(
                options.bcrypt_liquidity_manager_password_hash,
                "--bcrypt-liquidity-manager-password-hash",
            )
            if options.bcrypt_liquidity_manager_password_hash
            else None
        ),
        invoice_rate_limit=RateLimit(
            burst=_at_least_one(options.invoice_rate_limit_burst, "--invoice-rate-limit-burst"),
            per_second=_at_least_one(
                options.invoice_rate_limit_per_second, "--invoice-rate-limit-per-second"
            ),
        ),
        trusted_proxies=_networks(options.trusted_proxies, "--trusted-proxies"),
        reach=read_reach(options.iroh_dns, environ),
        debug=is_on(environ.get("FM_DEBUG_GATEWAY")),
        network=_network(options.network or ""),
        default_routing_fees=routing_fees,
        default_transaction_fees=transaction_fees,
        node_is_shared=options.node_is_shared or is_on(environ.get("FM_GATEWAY_NODE_IS_SHARED")),
        skip_setup=options.skip_setup or is_on(environ.get("FM_GATEWAY_SKIP_SETUP")),
        mnemonic=Secret(mnemonic) if mnemonic else None,
        node=node.checked(),
    )


def _refuse_marks(options: GatewayOptions | NodeOptions, environ: Mapping[str, str]) -> None:
    """Name what some readers of env files take for a part of the value; no value is shown, for some are secrets."""
    hints = get_type_hints(type(options), include_extras=True)
    values = {
        f"--{name.replace('_', '-')} ({hint.__metadata__[0].env_var[0]})": getattr(options, name)
        for name, hint in hints.items()
        if get_origin(hint) is Annotated and hint.__metadata__[0].env_var
    }
    values["FM_GATEWAY_MNEMONIC"] = environ.get("FM_GATEWAY_MNEMONIC")
    values |= {name: name for name in environ if name.startswith(_BYTE_ORDER_MARK)}
    for name, value in values.items():
        if value and _BYTE_ORDER_MARK in value:
            raise ConfigError(
                f"{name.strip(_BYTE_ORDER_MARK)} has an invisible mark in front: its env file is saved as UTF-8 "
                "with a byte order mark; save it without one"
            )
        if value and "\r" in value:
            raise ConfigError(
                f"{name} holds a carriage return: its env file has the line ends of Windows; "
                "write it with plain ones (dos2unix)"
            )
        if value and (value[0] in _QUOTES or value[-1] in _QUOTES):
            raise ConfigError(
                f"{name} has quotes around it, which the reader of the env file kept (docker does): leave them out"
            )


def _stripped(options: GatewayOptions) -> GatewayOptions:
    """Without blanks and line ends around the values, which files of secrets end in."""
    given: dict[str, Any] = {field.name: getattr(options, field.name) for field in fields(options)}
    bare = {name: text.strip() for name, text in given.items() if isinstance(text, str)}
    return GatewayOptions(**given | bare)


def unsupported_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Variables of the Rust gateway that are set but mean nothing to this release."""
    return tuple(name for name in _UNSUPPORTED if environ.get(name))


def is_on(value: str | None) -> bool:
    """A switch is off when unset, 0 or false, and on for anything else (fedimint-core/src/envs.rs)."""
    return value is not None and value not in {"0", "false"}


def parse_fee(text: str, flag: str) -> PaymentFee:
    """Read "2000 msat,3000": a base amount, bare numbers being msat, and parts per million."""
    base, comma, rate = text.partition(",")
    amount = _AMOUNT.fullmatch(base.strip())
    if not comma or amount is None or re.fullmatch(r"[0-9]{1,18}", rate.strip()) is None:
        raise ConfigError(f"{flag} is {text!r}, but a fee looks like '2000 msat,3000'")
    unit_msat = 1000 if (amount[2] or "").startswith("sat") else 1
    return PaymentFee(base=int(amount[1]) * unit_msat, parts_per_million=int(rate))


def parse_listen(text: str) -> ListenAddress:
    """Read 127.0.0.1:8175 or [::1]:8175; as in Rust, names are not looked up."""
    host, _, port = text.rpartition(":")
    try:
        if host.startswith("[") and host.endswith("]"):
            address = str(ipaddress.IPv6Address(host[1:-1]))
        else:
            address = str(ipaddress.IPv4Address(host))
    except ValueError:
        raise ConfigError(
            f"--listen is {text!r}, but it must be an IP address and a port like 127.0.0.1:8175"
        ) from None
    if re.fullmatch(r"[0-9]{1,5}", port) is None or int(port) > 65535:
        raise ConfigError(f"--listen is {text!r}, but its port is not between 0 and 65535")
    return ListenAddress(address, int(port))


def parse_public_url(text: str) -> str:
    """Join `v1` to the address as Rust does: its last path segment is replaced unless it is empty."""
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError as error:
        raise ConfigError(f"--api-addr is {text!r}, which is no URL: {error}") from None
    if "@" in url.netloc or url.query or url.fragment:
        raise ConfigError(
            "--api-addr is published to clients and may hold no user, password, query or fragment"
        )
    if url.scheme not in {"http", "https"} or not host:
        raise ConfigError(f"--api-addr is {text!r}, but must start with http:// or https://")
    return urljoin(url._replace(netloc=url.netloc.lower(), path=url.path or "/").geturl(), "v1")


def _require(*options: tuple[str, str | None]) -> None:
    missing = [name for name, value in options if not value]
    if missing:
        raise ConfigError(f"Missing: {', '.join(missing)}")


def _bcrypt_hash(text: str, flag: str) -> str:
    if _BCRYPT_HASH.fullmatch(text) is None:
        raise ConfigError(
            f"{flag} is not a bcrypt hash: that is 60 characters starting with $2a$, "
            "$2b$ or $2y$; a shell or compose file may have taken its dollar signs away"
        )
    return text


def _at_least_one(text: str, flag: str) -> int:
    if re.fullmatch(r"[0-9]{1,9}", text) is None or int(text) < 1:
        raise ConfigError(f"{flag} is {text!r}, but must be a number from 1 on")
    return int(text)


def _networks(text: str, flag: str) -> tuple[IpNetwork, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tuple(map(ipaddress.ip_network, parts))
    except ValueError as error:
        raise ConfigError(
            f"{flag} is {text!r}, but must be addresses or networks like 127.0.0.1,10.0.0.0/8: {error}"
        ) from None


def _network(text: str) -> Network:
    networks = get_args(Network)
    if text not in networks:
        raise ConfigError(f"--network is {text!r}, but must be one of {', '.join(networks)}")
    return cast("Network", text)
