"""The interface of a connection to one guardian: requests by method name, and the ways they fail.

The rules are those of fedimint-connectors 0.13 (src/lib.rs, src/error.rs). A method is a core name
or `module_{instance id}_{name}`; every request carries one value and, for calls kept to guardians,
a password.
"""

from typing import Final, Protocol

import msgspec

from errors import PeerError, UnavailableError

MAX_ERROR_CHARS: Final = 500
"""What a guardian says of an error is kept, shown and passed on to so many characters."""
TIMEOUT_CODE: Final = -32000
METHOD_NOT_FOUND_CODE: Final = -32601


def cut(text: str, max_chars: int = MAX_ERROR_CHARS) -> str:
    """Return the beginning of a text that a guardian chose, of bounded length."""
    return text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"


class GuardianUnreachable(UnavailableError):  # noqa: N818 - a state of the guardian, named as such
    """No connection, or it was lost before the answer; the request may still have arrived."""


class GuardianOutOfReach(GuardianUnreachable):
    """This gateway, as it is set up, has no way to the guardian; asking again does not help."""


class GuardianTimeout(UnavailableError):  # noqa: N818
    """The guardian cut the call after its 60 s, or never answered. Long polls ask again."""


class GuardianProtocolError(PeerError):
    """The guardian's bytes are not an answer: not JSON-RPC, too large, or of another shape."""


class GuardianRefused(PeerError):  # noqa: N818
    """The guardian answered with an error.

    `code` is 400 bad request, 401 unauthorized, 404 not found, 500 server error or a JSON-RPC code
    (-32601 unknown method); `message` is the guardian's own text, cut to a bounded length.
    """

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = cut(message)
        super().__init__(f"guardian answered with error {code}: {self.message}")

    @property
    def is_unknown_method(self) -> bool:
        """Whether the guardian does not know the method, as an older version does not."""
        return self.code == METHOD_NOT_FOUND_CODE


GuardianError = GuardianUnreachable | GuardianTimeout | GuardianProtocolError | GuardianRefused
GUARDIAN_ERRORS: Final = (UnavailableError, PeerError)


class GuardianConnection(Protocol):
    """One guardian's API over some transport."""

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        """Ask once and return the result as JSON builtins.

        `params` is what `msgspec.to_builtins` takes: builtins or structs; `None` for no parameter.
        `auth` is the guardian's admin password. Cancelling forgets the request.

        Raises GuardianUnreachable, GuardianTimeout, GuardianRefused or GuardianProtocolError.
        """
        ...

    async def aclose(self) -> None:
        """End the connection for good; requests under way raise GuardianUnreachable."""
        ...


class OutOfReach:
    """A `GuardianConnection` to a guardian that there is no way to: every request says why."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        """Raise GuardianOutOfReach."""
        del method, params, auth
        raise GuardianOutOfReach(self._reason)

    async def aclose(self) -> None:
        """Do nothing."""


def module_method(module_id: int, name: str) -> str:
    """Return the method name of a module's endpoint."""
    return f"module_{module_id}_{name}"


def error_from_code(code: int, message: str) -> GuardianTimeout | GuardianRefused:
    """Return the error that a guardian's numbered error stands for."""
    if code == TIMEOUT_CODE:
        return GuardianTimeout(f"guardian cut the call: {message[:100]}")
    return GuardianRefused(code, message)


class Envelope(msgspec.Struct, frozen=True):
    """The one parameter of every call (fedimint-core/src/module/mod.rs, ApiRequest)."""

    auth: str | None
    params: object
