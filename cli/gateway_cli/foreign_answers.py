"""Answers that come from no gateway: pages of web servers and of proxies that cannot reach it.

A gateway answers with JSON, or with a sentence in plain text; it redirects nobody, asks for no user's name, and lets
pages of every origin read its refusals (tower-http's permissive CORS layer in Rust), which hardly anybody else does.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

_TITLE = re.compile(rb"<title[^>]*>([^<]{1,200})", re.IGNORECASE)
_PAGE = re.compile(rb"\s*<(!doctype|html|head|body|\?xml)", re.IGNORECASE)
#: Of proxies that do not reach what is behind them; those above 511 are Cloudflare's.
_UNREACHED = frozenset({502, 503, 520, 521, 522, 523, 525, 526, 530})
_TOO_SLOW = frozenset({504, 524})
_ANY_ORIGIN = "access-control-allow-origin"
_LONGEST = 100


class Foreign(NamedTuple):
    """What was told by somebody else: a sentence for people, and which failure it is to programs."""

    sentence: str
    code: Literal["connection_failed", "timeout", "auth_failed"]


def foreign_answer(
    address: str, status: int, headers: Mapping[str, str], body: bytes
) -> Foreign | None:
    """Tell an answer that no gateway gave, None for one that may be a gateway's. `headers` have names in lower case."""
    if not _is_foreign(status, headers, body):
        return None
    sentence = f"What answers at {address} is no gateway but {_who(headers)}: {_what(status, body)}"
    if status in _TOO_SLOW:
        advice = "The gateway may still do what was asked: look at `gateway-cli info` before asking again"
        return Foreign(f"{sentence}. {advice}", "timeout")
    if status in {401, 403, 407}:
        advice = "It asks for a login of its own; gateway-cli only sends the gateway's password"
        return Foreign(f"{sentence}. {advice}", "auth_failed")
    return Foreign(f"{sentence}. {_advice(status, headers)}", "connection_failed")


def _is_foreign(status: int, headers: Mapping[str, str], body: bytes) -> bool:
    if 300 <= status < 400 or "www-authenticate" in headers:
        return True
    if "html" in headers.get("content-type", "") or _PAGE.match(body):
        return True
    if status >= 400 and _ANY_ORIGIN not in headers:
        return True
    says_no_more = body.strip().decode("latin-1") in {"", _phrase(status)}
    return says_no_more and status in _UNREACHED | _TOO_SLOW


def _who(headers: Mapping[str, str]) -> str:
    server = _plain(headers.get("server", ""))
    return f"a proxy or web server ({server})" if server else "a proxy or web server"


def _what(status: int, body: bytes) -> str:
    number = f"HTTP status {status} {_phrase(status)}".rstrip()
    title = _TITLE.search(body)
    text = _plain((body if title is None else title[1])[: 4 * _LONGEST].decode("utf-8", "replace"))
    if not text or text in number or (title is None and _PAGE.match(body)):
        return number
    return f"{number}, {'which says' if title is None else 'with a page called'} {text!r}"


def _advice(status: int, headers: Mapping[str, str]) -> str:
    if status in _UNREACHED:
        return "It does not reach the gateway behind it: does gatewayd run, where the proxy looks for it?"
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return "It refuses requests of this length"
    if "location" in headers:
        return f"It redirects to {_origin(headers['location'])}: if the gateway is there, give that as --address"
    return "Give --address the address of gatewayd itself, or of a proxy that forwards every path"


def _origin(location: str) -> str:
    """Scheme, host and port: whatever follows is of the one request, or a secret."""
    try:
        url = urlsplit(location)
        host, port = url.hostname, url.port
    except ValueError:
        return "a place that is no URL"
    if not host:
        return "another path of the same host"
    return _plain(f"{url.scheme or 'http'}://{host}{'' if port is None else f':{port}'}")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _plain(text: str) -> str:
    """On one line, printable, and not long: others wrote it."""
    line = "".join(filter(str.isprintable, " ".join(text.split())))
    return line[:_LONGEST].strip()
