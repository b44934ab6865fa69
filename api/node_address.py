"""Where a Lightning node is: `pubkey@host[:port]`, and hosts with their port (`NodeAddress` of gateway-common)."""

import ipaddress
import re

from errors import InputError

LIGHTNING_PORT = 9735
_PUBLIC_KEY = re.compile(r"0[23][0-9a-fA-F]{64}")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")


def parse_node_address(text: str) -> tuple[str, str]:
    """Split into the key in lower-case hex and "host:port". Raises InputError.

    Line breaks are taken out of the key, never out of the host, where one may stand between a name and a port.
    """
    public_key, at, host = text.strip().partition("@")
    public_key = "".join(public_key.split())
    if not at:
        raise InputError("A node's address looks like pubkey@host:port")
    if _PUBLIC_KEY.fullmatch(public_key) is None:
        raise InputError("The part of a node's address before the @ is 66 hex digits, its key")
    return public_key.lower(), host_with_port(host)


def host_with_port(text: str) -> str:
    """Add Lightning's port when there is none; IPv6 is in brackets. Raises InputError."""
    host, port = _split(text.strip())
    if re.fullmatch(r"[0-9]{1,5}", port) is None or not 1 <= int(port) <= 65535:
        raise InputError("The port of a node's address is a number from 1 to 65535")
    if not _is_host(host):
        raise InputError("The host of a node's address is a name, an IPv4 or an [IPv6] address")
    return f"{host}:{int(port)}"


def _split(address: str) -> tuple[str, str]:
    if address.startswith("["):
        host, bracket, rest = address.partition("]")
        host, colon, port = host + bracket, rest[:1], rest[1:]
        if rest and colon != ":":
            return "", port
    else:
        host, colon, port = address.partition(":")
    return host, port if colon else str(LIGHTNING_PORT)


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return _NAME.fullmatch(host) is not None
    try:
        ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        return False
    return host.endswith("]")
