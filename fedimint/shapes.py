"""From JSON builtins to typed values: an answer has the shape we expect, or it is the guardian's error."""

from collections.abc import Callable
from typing import Any

import msgspec

from fedimint.transport import GuardianProtocolError


def shape(wanted: Any) -> Callable[[object], Any]:
    """Return a decoder of JSON builtins into the type `wanted`.

    It raises GuardianProtocolError. Annotate the result, since a type such as `Literal` says nothing
    to the type checker here.
    """

    def decode(result: object) -> Any:
        try:
            return msgspec.convert(result, wanted, str_keys=True)
        except msgspec.ValidationError as error:
            raise GuardianProtocolError(f"an answer of the wrong shape: {error}") from error

    return decode
