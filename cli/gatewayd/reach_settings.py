"""How guardians are found: overrides of their URLs, and where iroh looks for addresses; from the environment.

Names and defaults are those of fedimint-core/src/envs.rs and fedimint-connectors/src/{lib,iroh}.rs.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from errors import ConfigError

URL_OVERRIDES: Final = "FM_WS_API_CONNECT_OVERRIDES"
ADDRESS_OVERRIDES: Final = ("FM_IROH_CONNECT_OVERRIDES_PLAIN", "FM_GW_IROH_CONNECT_OVERRIDES_PLAIN")
RESOLVES_PKARR: Final = "FM_IROH_PKARR_RESOLVER_ENABLE"
USES_N0: Final = "FM_IROH_N0_DISCOVERY_ENABLE"

_GUARDIAN_SCHEMES: Final = ("ws", "wss", "iroh")

T = TypeVar("T")


class ReachSettings(msgspec.Struct, frozen=True):
    """URLs to use in place of those of a config, by these; and how iroh finds addresses.

    `pkarr` is the URL of an own pkarr server, `addresses` are `ip:port` by node id.
    """

    urls: Mapping[str, str] = msgspec.field(default_factory=dict)
    pkarr: str | None = None
    resolves_pkarr: bool = True
    uses_n0: bool = True
    addresses: Mapping[str, str] = msgspec.field(default_factory=dict)

    def url(self, url: str) -> str:
        """The URL to use in place of one of a config."""
        return self.urls.get(canonical(url), url)


def read_reach(iroh_dns: str | None, environ: Mapping[str, str]) -> ReachSettings:
    """Check flag and variables. Raises ConfigError, whose text says which and why."""
    addresses: dict[str, str] = {}
    for name in ADDRESS_OVERRIDES:
        addresses |= _pairs(name, environ, node_id, socket_address)
    return ReachSettings(
        urls=_pairs(URL_OVERRIDES, environ, canonical, _guardian_url),
        pkarr=pkarr_url(iroh_dns) if iroh_dns else None,
        resolves_pkarr=switch(RESOLVES_PKARR, environ, default=True),
        uses_n0=switch(USES_N0, environ, default=True),
        addresses=addresses,
    )


def canonical(url: str) -> str:
    """A URL as a key: "ws://host:1" and "ws://host:1/" are one."""
    return url.rstrip("/")


def switch(name: str, environ: Mapping[str, str], *, default: bool) -> bool:
    """A switch that is on for 1 or true, off for 0 or false. Raises ConfigError for anything else."""
    text = environ.get(name, "")
    if text in {"", "0", "false", "1", "true"}:
        return text in {"1", "true"} if text else default
    raise ConfigError(f"{name} is {text!r}, but must be 1, true, 0 or false")


def pkarr_url(text: str) -> str:
    """The URL of a pkarr server, as it is. Raises ConfigError."""
    if urlsplit(text).scheme not in {"http", "https"}:
        raise ConfigError(
            f"--iroh-dns is {text!r}, but must be the URL of a pkarr server, http:// or https://"
        )
    return text


def node_id(text: str) -> str:
    """A node id in lower case. Raises ValueError."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", text) is None:
        raise ValueError("a node id has 64 hex digits")
    return text.lower()


def socket_address(text: str) -> str:
    """An IP address and a port, as they are. Raises ValueError."""
    host, _, port = text.rpartition(":")
    is_ipv6 = host.startswith("[") and host.endswith("]")
    ipaddress.IPv6Address(host[1:-1]) if is_ipv6 else ipaddress.IPv4Address(host)
    if re.fullmatch(r"[0-9]{1,5}", port) is None or not 0 < int(port) <= 65535:
        raise ValueError("its port is not between 1 and 65535")
    return text


def _guardian_url(text: str) -> str:
    if urlsplit(text).scheme not in _GUARDIAN_SCHEMES:
        raise ValueError("a guardian's URL begins with ws://, wss:// or iroh://")
    return text


def _pairs(
    name: str,
    environ: Mapping[str, str],
    key: Callable[[str], str],
    value: Callable[[str], T],
) -> dict[str, T]:
    """`key=value` pairs, separated by commas."""
    pairs: dict[str, T] = {}
    for pair in filter(None, (one.strip() for one in environ.get(name, "").split(","))):
        left, _, right = pair.partition("=")
        try:
            pairs[key(left)] = value(right)
        except ValueError as error:
            raise ConfigError(f"{name} holds {pair!r}, but {error}") from None
    return pairs
