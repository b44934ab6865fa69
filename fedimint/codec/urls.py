"""URLs as fedimint's `SafeUrl` writes them into encoded bytes.

The federation id is a hash over such URLs, so the text has to match the WHATWG rules that upstream
follows: lower-case host, no default port, a path of at least `/` for the special schemes. Source:
fedimint-core/src/util/mod.rs (Display of SafeUrl).
"""

import ipaddress
from urllib.parse import SplitResult, urlsplit

from fedimint.codec.encoding import STRING, Codec, converted
from fedimint.codec.errors import DecodeError

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}


def safe_url(text: str) -> str:
    """Return the URL without query and fragment, with userinfo redacted, as upstream encodes it.

    Raises `DecodeError` when `text` is not an absolute URL.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise DecodeError("not a URL") from None
    special = parts.scheme in _DEFAULT_PORTS
    host = _host(parts, special=special)
    if not parts.scheme or (special and not host):
        raise DecodeError("not an absolute URL with a host")
    userinfo = ""
    if parts.username:
        userinfo = "REDACTEDUSER" + (":REDACTEDPASS" if parts.password is not None else "") + "@"
    if port is not None and port != _DEFAULT_PORTS.get(parts.scheme):
        host += f":{port}"
    path = parts.path or ("/" if special else "")
    return f"{parts.scheme}://{userinfo}{host}{path}"


def _host(parts: SplitResult, *, special: bool) -> str:
    host = parts.hostname or ""
    if ":" in host:
        try:
            return f"[{ipaddress.IPv6Address(host).compressed}]"
        except ValueError:
            raise DecodeError("not a URL: bad IPv6 address") from None
    if not special:
        # Hosts of other schemes are opaque and keep their case.
        return parts.netloc.rpartition("@")[2].partition(":")[0]
    if not host.isascii():
        try:
            return host.encode("idna").decode()
        except UnicodeError:
            raise DecodeError("not a URL: bad host name") from None
    return host


def _checked_url(text: str) -> str:
    safe_url(text)
    return text


SAFE_URL: Codec[str] = converted(STRING, safe_url, _checked_url)
"""A `SafeUrl`: written in the form of `safe_url`."""
