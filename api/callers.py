"""The caller's address, also behind the operator's own proxies.

Behind a reverse proxy every request comes from one address, and a limit for each caller would be one for all of
them. A proxy that the operator names is believed about whom it speaks for; nobody else is, since anybody can write
the header.
"""

import ipaddress
from collections.abc import Sequence

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

#: A household or a rented machine has this many bits of IPv6 to itself.
_IPV6_PREFIX_BITS = 64
#: Nobody has more proxies in a row; a longer header is somebody's play.
_HOPS_MAX = 32


class Callers:
    """Addresses to callers. `trusted` are the networks of the operator's proxies."""

    def __init__(self, trusted: Sequence[IpNetwork] = ()) -> None:
        self._trusted = tuple(trusted)

    def caller(self, peer: str | None, forwarded_for: Sequence[str]) -> str:
        """The caller behind a connection from `peer`, given the values of its X-Forwarded-For headers in order.

        Each proxy appends whom it saw, so the list is read from its end: the first address that is no trusted proxy
        is the caller. What a trusted proxy reports and is no address stands for the proxy itself.
        """
        address = _parsed(peer or "")
        if address is None:
            return peer or "unknown"
        hops = [hop for value in forwarded_for for hop in value.split(",")][-_HOPS_MAX:]
        while hops and self._is_trusted(address):
            reported = _parsed(hops.pop().strip())
            if reported is None:
                break
            address = reported
        return _named(address)

    def _is_trusted(self, address: IpAddress) -> bool:
        return any(address in network for network in self._trusted)


def _parsed(text: str) -> IpAddress | None:
    """An address, also as `1.2.3.4:80` or `[::1]:80`; IPv4 inside of IPv6 is IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _named(address: IpAddress) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, _IPV6_PREFIX_BITS), strict=False))
