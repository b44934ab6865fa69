"""Answers of web servers and proxies are reported as theirs, with what to do."""

import pytest

from cli.gateway_cli.foreign_answers import foreign_answer
from cli.gateway_cli.http import CliError, call
from tests.cli.gateway_cli.test_http import answering

NGINX = "Server: nginx/1.25.3\r\nContent-Type: text/html\r\n"
PAGE = "<html>\r\n<head><title>{}</title></head><body><hr></body></html>"


def whole(status: str, headers: str, body: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return (head + body).encode()


@pytest.mark.parametrize(
    ("answer", "code", "sentences"),
    [
        (
            whole("502 Bad Gateway", NGINX, PAGE.format("502 Bad Gateway")),
            "connection_failed",
            ("(nginx/1.25.3): HTTP status 502 Bad Gateway. It does not reach the gateway",),
        ),
        (
            whole("502 Bad Gateway", "Server: Caddy\r\n", ""),
            "connection_failed",
            ("(Caddy): HTTP status 502 Bad Gateway. It does not reach the gateway",),
        ),
        (
            whole("502 Bad Gateway", "Content-Type: text/plain\r\n", "Bad Gateway"),
            "connection_failed",
            ("a proxy or web server: HTTP status 502", "does gatewayd run"),
        ),
        (
            whole("522 ", "Server: cloudflare\r\n", PAGE.format("Connection timed out")),
            "connection_failed",
            ("HTTP status 522, with a page called 'Connection timed out'",),
        ),
        (
            whole("504 Gateway Time-out", NGINX, PAGE.format("504 Gateway Time-out")),
            "timeout",
            ("The gateway may still do what was asked: look at `gateway-cli info`",),
        ),
        (
            whole("413 Request Entity Too Large", NGINX, PAGE.format("413")),
            "connection_failed",
            ("It refuses requests of this length",),
        ),
        (
            whole("400 Bad Request", NGINX, PAGE.format("400 The plain HTTP request was sent")),
            "connection_failed",
            ("with a page called '400 The plain HTTP request was sent'",),
        ),
        (
            whole("401 Unauthorized", 'WWW-Authenticate: Basic realm="x"\r\n', ""),
            "auth_failed",
            ("HTTP status 401", "It asks for a login of its own"),
        ),
        (
            whole("403 Forbidden", NGINX, PAGE.format("403 Forbidden")),
            "auth_failed",
            ("It asks for a login of its own",),
        ),
        (
            whole("301 Moved", "Location: https://gw.example:8443/v1/info?k=hush\r\n", ""),
            "connection_failed",
            ("It redirects to https://gw.example:8443: if the gateway is there",),
        ),
        (
            whole("302 Found", "Location: /login\r\n", ""),
            "connection_failed",
            ("It redirects to another path of the same host",),
        ),
        (
            whole("302 Found", "Location: http://[x\r\n", ""),
            "connection_failed",
            ("It redirects to a place that is no URL",),
        ),
        (
            whole("200 OK", "", "\n<!DOCTYPE html><title>My node\n \u202e</title>"),
            "connection_failed",
            ("HTTP status 200 OK, with a page called 'My node'", "Give --address the address"),
        ),
        (
            whole("404 Not Found", NGINX, PAGE.format("404 Not Found")),
            "connection_failed",
            ("HTTP status 404 Not Found. Give --address the address of gatewayd itself",),
        ),
        (
            whole("404 Not Found", "Content-Type: text/plain\r\n", "404 page not found\n"),
            "connection_failed",
            ("404 Not Found, which says '404 page not found'. Give --address the address",),
        ),
        (
            whole("503 Service Unavailable", "Server: envoy\r\n", "upstream connect error"),
            "connection_failed",
            ("(envoy): HTTP status 503 Service Unavailable, which says 'upstream connect error'",),
        ),
        (
            whole("404 Not Found", "Content-Type: application/json\r\n", '{"message": "no Route"}'),
            "connection_failed",
            ("""which says '{"message": "no Route"}'""",),
        ),
    ],
)
def test_what_others_answer_is_told_as_theirs(
    answer: bytes, code: str, sentences: tuple[str, ...]
) -> None:
    with answering(answer) as address, pytest.raises(CliError) as refused:
        call(address, "/info", "password")
    assert refused.value.code == code
    assert str(refused.value).startswith(f"What answers at {address} is no gateway but a proxy")
    for sentence in sentences:
        assert sentence in str(refused.value)
    assert "hush" not in str(refused.value)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (200, "application/json", b'{"html": "<html>"}'),
        (200, "application/json", b"null"),
        (401, "", b""),
        (400, "text/plain; charset=utf-8", b"this is no invite code"),
        (404, "text/plain; charset=utf-8", b"There is no such route"),
        (502, "text/plain; charset=utf-8", b"the Lightning node refused: no funds"),
        (503, "text/plain; charset=utf-8", b"the Lightning node does not answer"),
    ],
)
def test_what_a_gateway_answers_is_its_own(status: int, content_type: str, body: bytes) -> None:
    headers = {"content-type": content_type, "server": "nginx", "access-control-allow-origin": "*"}
    assert foreign_answer("http://127.0.0.1", status, headers, body) is None
