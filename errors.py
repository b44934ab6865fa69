"""The one root of every error of this project, and the families below it.

The class decides what a caller sees: `http_status` for the HTTP API and `exit_code` for the command
line. The text says what was wrong and what to do about it, and never holds a secret.
"""

from typing import ClassVar


class GatewayError(Exception):
    """Root of all our errors. Raise one of the families below, never this class itself."""

    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1


class InputError(GatewayError):
    """What the caller sent is wrong; sending the same again cannot succeed."""

    http_status = 400
    exit_code = 4


class UnauthorizedError(GatewayError):
    """The password is missing, wrong, or not allowed here."""

    http_status = 401
    exit_code = 3


class NotFoundError(GatewayError):
    """What the caller asked for does not exist."""

    http_status = 404
    exit_code = 5


class ConflictError(GatewayError):
    """The request contradicts something already decided, such as a payment hash in use."""

    http_status = 409
    exit_code = 4


class BusyError(GatewayError):
    """A bound on concurrent or queued work is reached; nothing was begun, try again later."""

    http_status = 429
    exit_code = 6


class UnavailableError(GatewayError):
    """Something needed is not reachable or not ready now; nothing is decided, try again later."""

    http_status = 503
    exit_code = 6


class NotReadyError(UnavailableError):
    """As its base, for a reason that a stranger who asked may know: public routes say it, too."""


class OutdatedError(UnavailableError):
    """What was measured for a decision is too old to decide on: measure again."""


class PeerError(GatewayError):
    """A guardian or the Lightning node answered outside its protocol."""

    http_status = 502
    exit_code = 1


class ConfigError(GatewayError):
    """The process was started with something it must refuse: network, mnemonic, schema, flags."""

    exit_code = 4


class FaultError(GatewayError):
    """A mistake of this program with one thing: nothing of it was done, and everything else goes on."""

    exit_code = 70


class FatalError(GatewayError):
    """The process must stop: its storage or an invariant can no longer be trusted. A caller may ask the next one."""

    http_status = 503
    exit_code = 70
