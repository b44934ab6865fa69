"""One HTTP request of gateway-cli, with the standard library, and its failures as codes and exit codes.

Codes and exit codes are those of fedimint-gateway-client/src/main.rs.
"""

import http.client
import json
from typing import Final, Literal
from urllib.parse import urlsplit

from cli.gateway_cli.foreign_answers import foreign_answer
from errors import GatewayError

Code = Literal[
    "auth_failed",
    "connection_failed",
    "invalid_input",
    "not_found",
    "invalid_state",
    "timeout",
    "internal",
    "unknown",
]

EXIT_CODES: Final[dict[Code, int]] = {
    "auth_failed": 3,
    "connection_failed": 2,
    "invalid_input": 4,
    "not_found": 5,
    "invalid_state": 1,
    "timeout": 6,
    "internal": 1,
    "unknown": 1,
}

# What is worth trying again later (429, 503) shares the code of what took too long.
_CODES: Final[dict[int, Code]] = {
    400: "invalid_input",
    401: "auth_failed",
    404: "not_found",
    405: "invalid_input",
    408: "timeout",
    409: "invalid_state",
    413: "invalid_input",
    415: "invalid_input",
    422: "invalid_input",
    429: "timeout",
    503: "timeout",
    504: "timeout",
}
_LONGEST_SENTENCE = 2000


class CliError(GatewayError):
    """A failure as gateway-cli prints it: a sentence, a code for programs, perhaps a cause."""

    def __init__(self, error: str, code: Code, cause: str | None = None) -> None:
        super().__init__(error)
        self.code: Code = code
        self.cause = cause

    def to_json(self) -> dict[str, str]:
        """`{"error", "code", "cause"?}`."""
        answer = {"error": str(self), "code": self.code}
        return answer if self.cause is None else {**answer, "cause": self.cause}


def call(
    address: str,
    path: str,
    password: str | None,
    *,
    body: object = None,
    timeout_s: float | None = 60,
) -> object:
    """GET `path`, or POST `body` as JSON to it, and return the answer's JSON. Raises CliError."""
    connection = _connection(address, timeout_s)
    headers: dict[str, str | bytes] = {"Accept": "application/json"}
    if password is not None:
        headers["Authorization"] = b"Bearer " + password.encode("utf-8", "surrogateescape")
    content = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        content = json.dumps(body).encode()
    try:
        connection.request("GET" if body is None else "POST", path, content, headers)
        response = connection.getresponse()
        answer = response.read()
    except TimeoutError as error:
        raise CliError(f"{address} does not answer in time", "timeout", str(error)) from error
    except (OSError, http.client.HTTPException) as error:
        raise CliError(
            f"Cannot reach a gateway at {address}",
            "connection_failed",
            str(error) or type(error).__name__,
        ) from error
    except UnicodeError as error:
        raise CliError(f"{address} is not an address", "invalid_input", str(error)) from error
    except ValueError as error:
        # http.client refuses line breaks in headers, and its message quotes the header.
        raise CliError("The password may not contain a line break", "invalid_input") from error
    finally:
        connection.close()
    told = {name.lower(): value for name, value in response.getheaders()}
    foreign = foreign_answer(address, response.status, told, answer)
    if foreign is not None:
        raise CliError(foreign.sentence, foreign.code, f"HTTP status {response.status}")
    if response.status != http.client.OK:
        raise _refusal(response.status, answer, password)
    try:
        return json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise CliError(f"What {address} answered is not JSON", "internal", str(error)) from error


def _connection(address: str, timeout_s: float | None) -> http.client.HTTPConnection:
    """Any path but the mount `/v1` is refused: clients of a gateway would not use it either."""
    try:
        url = urlsplit(address)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise CliError(f"{address} is not an address", "invalid_input", str(error)) from error
    if url.scheme not in {"http", "https"} or not host:
        raise CliError(
            f"{address} is not an address that starts with http:// or https://", "invalid_input"
        )
    if url.path.rstrip("/") not in {"", "/v1"} or url.query or url.username:
        raise CliError(
            "The address of a gateway is scheme, host and port, with nothing but /v1 after them",
            "invalid_input",
        )
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    try:
        return kind(host, port, timeout=timeout_s)
    except http.client.InvalidURL as error:
        raise CliError(f"{address} is not an address", "invalid_input", str(error)) from error


def _refusal(status: int, answer: bytes, password: str | None) -> CliError:
    cause = f"HTTP status {status}"
    if status == http.client.UNAUTHORIZED:
        if password is None:
            sentence = "The gateway wants a password; give --rpcpassword or set FM_RPC_PASSWORD"
        else:
            sentence = "The gateway refused the password"
        return CliError(sentence, "auth_failed", cause)
    sentence = answer.decode("utf-8", "replace")[:_LONGEST_SENTENCE].strip()
    return CliError(
        sentence or f"The gateway answered with {cause}", _CODES.get(status, "internal"), cause
    )
