"""Answers that no gateway gives, and the table of codes."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import pytest

from cli.gateway_cli.http import EXIT_CODES, CliError, Code, call


@contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    """A server of one connection: it reads a little, answers, and closes; None never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                if answer is None:
                    connection.recv(1)
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def http(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    return head.encode() + b"Access-Control-Allow-Origin: *\r\n\r\n" + body


def test_any_json_is_passed_on() -> None:
    with answering(http("200 OK", b"null")) as address:
        assert call(address, "/info", None) is None


@pytest.mark.parametrize(
    ("answer", "code", "error"),
    [
        (http("200 OK", b"hello"), "internal", "is not JSON"),
        (http("200 OK", b"\xff"), "internal", "is not JSON"),
        (http("200 OK", b"[" * 200_000), "internal", "is not JSON"),
        (http("404 Not Found", b"no route"), "not_found", "no route"),
        (http("418 Teapot", b"\xff" * 9999), "internal", "\ufffd"),
        (b"SSH-2.0-OpenSSH\r\n", "connection_failed", "Cannot reach a gateway"),
        (b"", "connection_failed", "Cannot reach a gateway"),
    ],
)
def test_strange_answers(answer: bytes, code: Code, error: str) -> None:
    with answering(answer) as address, pytest.raises(CliError, match=error) as caught:
        call(address, "/info", "pw")
    assert caught.value.code == code
    assert len(str(caught.value)) <= 2000
    assert caught.value.to_json()["code"] == code


def test_silence_is_a_timeout() -> None:
    with answering(None) as address, pytest.raises(CliError, match="in time") as caught:
        call(address, "/info", None, timeout_s=0.01)
    assert caught.value.code == "timeout"


def test_every_code_has_an_exit_code() -> None:
    assert set(EXIT_CODES) == set(get_args(Code))
    assert CliError("e", "unknown").to_json() == {"error": "e", "code": "unknown"}


@pytest.mark.parametrize("address", ["http://exa mple:1", f"http://{'a' * 300}:1", "http://:1"])
def test_an_address_that_is_none_is_said_to_be_none(address: str) -> None:
    with pytest.raises(CliError, match="is not an address") as refused:
        call(address, "/info", "pw")
    assert refused.value.code == "invalid_input"
