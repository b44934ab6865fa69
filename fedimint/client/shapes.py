"""Converts JSON builtins to typed values; an answer of another shape is the guardian's error."""

from collections.abc import Callable
from typing import Any

import msgspec

from fedimint.client.transport import GuardianProtocolError
from fedimint.codec.json_types import json_blocks, json_sat, json_u64


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


def u64(result: object) -> int:
    """Return an unsigned integer of 64 bits. Raises GuardianProtocolError or DecodeError."""
    return json_u64(_integer(result))


def blocks(result: object) -> int:
    """As `u64`, a count of blocks, which saturates at 32 bits."""
    return json_blocks(_integer(result))


def optional_sat(result: object) -> int | None:
    """Return an amount in satoshi, or None. Raises GuardianProtocolError or DecodeError, also above all bitcoin."""
    answer = _optional_integer(result)
    return None if answer is None else json_sat(answer)


_integer: Callable[[object], int] = shape(int)
_optional_integer: Callable[[object], int | None] = shape(int | None)
