"""Request bodies: decoded from bytes into a struct, or refused with a sentence.

The statuses are those of axum's `Json`: 415 for another content type, 400 for what is not JSON, 422 for
JSON of the wrong shape, 413 for too much of it.
"""

import json
import re
from typing import Any, TypeVar

import msgspec

from errors import InputError

T = TypeVar("T")

# What a ValidationError says of the patterns in the structs, each backslash twice, and what people understand.
_HEX = re.compile(r"`str` matching regex '\^\[0-9a-fA-F\]\{([0-9]+)\}\\\\Z'")
_IN_WORDS = {
    r"`str` matching regex '^0[23][0-9a-fA-F]{64}\\Z'": "a public key of 66 hex digits",
    r"`str` matching regex '^[0-9a-fA-F]{64}:(0|[1-9][0-9]{0,9})\\Z'": "an outpoint like TXID:0",
    r"`str` matching regex '^([aA][lL][lL]|[0-9]{1,15})\\Z'": "an amount of satoshi, or all",
    r"`str` matching regex '^\\s*[0-9]{0,18}\\s*\\Z'": "a number",
}


class BodyTimeoutError(InputError):
    """The body did not arrive in time."""

    http_status = 408


class BodyTooLargeError(InputError):
    """The body is longer than the route takes."""

    http_status = 413


class ContentTypeError(InputError):
    """The content type is not JSON."""

    http_status = 415


class BodyShapeError(InputError):
    """The body is JSON, but not what the route takes."""

    http_status = 422


def require_json(content_type: str | None) -> None:
    """Accept application/json and application/*+json, with any parameters.

    Raises ContentTypeError otherwise, also when there is no content type.
    """
    essence = (content_type or "").partition(";")[0].strip().lower()
    kind, _, subtype = essence.partition("/")
    if kind != "application" or not (subtype == "json" or subtype.endswith("+json")):
        raise ContentTypeError("Expected a body with the content type application/json")


def decode(body: bytes, shape: type[T]) -> T:
    """Decode JSON into `shape`; fields that it does not have are ignored, as serde does.

    Raises InputError (400) for what is not JSON in UTF-8 and BodyShapeError (422) for the rest.
    """
    try:
        body.decode()
        value = msgspec.json.decode(body, type=shape)
        json.loads(body, object_pairs_hook=_refuse_twice)
    except msgspec.ValidationError as error:
        raise BodyShapeError(f"The body does not fit this route: {in_words(error)}") from None
    except RecursionError:
        raise InputError("The body is nested too deeply") from None
    except UnicodeDecodeError:
        raise InputError("The body is not valid UTF-8") from None
    except ValueError as error:
        raise InputError(f"The body is not valid JSON: {error}") from None
    return value


def in_words(error: msgspec.ValidationError) -> str:
    """What does not fit, and where, without the patterns."""
    sentence = _HEX.sub(r"\1 hex digits", str(error))
    for pattern, words in _IN_WORDS.items():
        sentence = sentence.replace(pattern, words)
    return sentence


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    """Two values for one name may be read differently by programs in between; serde refuses too."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise BodyShapeError("The body names a field twice")
