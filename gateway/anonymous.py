"""Anonymises rows: replaces everything that tells who and what, and keeps how and when.

Events are decoded, walked and encoded again, so that every value is judged by its type: numbers stay (times of the
clock are moved), bytes and texts are replaced but for the few words listed here. A stand-in has the length of what it
stands for and is the same wherever it appears, so the log still folds, its streams still belong together, and its
books still balance. It is made with a key that is thrown away: not even a guess can be tested against it.
"""

import base64
import hashlib
import hmac
import re
from typing import Any

import msgspec

from engine.chain import Row
from engine.events import Event, EventCodec, UnknownEventError
from errors import FatalError
from statemachines import receive_rules, send_rules

#: Where the clock of an export begins.
EPOCH_UNIX_US = 1_800_000_000_000_000
#: Texts that are words of this program or of everybody.
WORDS = frozenset(
    {
        "",
        "gateway/self",
        "quarantine/gateway/self",
        "bitcoin",
        "regtest",
        "signet",
        "testnet",
        "testnet4",
        send_rules.INVOICE_EXPIRED,
        send_rules.TIMEOUT_TOO_CLOSE,
        send_rules.UNDERFUNDED,
        send_rules.LIGHTNING_ERROR,
        send_rules.WRONG_NETWORK,
        send_rules.IMAGE_TAKEN,
        send_rules.UNTRUSTED,
        receive_rules.REGISTRATION_ERROR,
        receive_rules.REJECTED,
        receive_rules.REFUNDED,
        receive_rules.FAILURE,
    }
)
#: Fields with a time of the clock in seconds.
_TIME = "_unix_s"
#: A stream or an out point: words, ids, small numbers, and what joins them.
_PART = re.compile(r"[0-9a-f]{16,}")
_JOINED = re.compile(r"(?:[a-z_]+/){0,2}[0-9a-f]{16,}(?:[-:][0-9]+)?")
#: Shorter texts are found in everything by chance.
_TELLING = 8


class Anonymiser:
    """One export: the same value always gets the same stand-in."""

    def __init__(self, codec: EventCodec, key: bytes, *, keep_times: bool = False) -> None:
        self._codec = codec
        self._key = key
        self._keep_times = keep_times
        self._moved_us: int | None = 0 if keep_times else None

    def row(self, row: Row) -> Row:
        """The row without anything that identifies its gateway, in this program's version of its event.

        Raises FatalError rather than give away a row that still has something of the original.
        """
        if self._moved_us is None:
            # Whole seconds, so that the clock's seconds and the log's microseconds stay together.
            self._moved_us = EPOCH_UNIX_US - row.recorded_unix_us // 1_000_000 * 1_000_000
        try:
            original = self._codec.decode(row.event)
        except UnknownEventError:
            raise
        except FatalError:
            return self._unread(row)
        event = self._value("", original)
        assert isinstance(event, Event)
        encoded = self._codec.encode(event)
        stream = self._text(row.stream)
        told = b"\n".join(telling(event, stream)).lower()
        for text in telling(original, row.stream):
            if text.lower() in told:
                raise FatalError(
                    f"the row at {row.position} would give something away: not exported"
                )
        return msgspec.structs.replace(
            row,
            stream=stream,
            event=encoded,
            recorded_unix_us=row.recorded_unix_us + self._moved_us,
        )

    def _unread(self, row: Row) -> Row:
        """Of what cannot be decoded only the kind is given away: it cannot be read from the export either."""
        assert self._moved_us is not None
        return msgspec.structs.replace(
            row,
            stream=self._text(row.stream),
            event=msgspec.structs.replace(row.event, body=b"{}"),
            recorded_unix_us=row.recorded_unix_us + self._moved_us,
        )

    def _value(self, name: str, value: Any) -> Any:
        match value:
            case msgspec.Struct():
                fields = {
                    field: self._value(field, getattr(value, field))
                    for field in value.__struct_fields__
                }
                return msgspec.structs.replace(value, **fields)
            case str():
                return self._text(value)
            case bytes():
                return self._bytes(value, len(value))
            case tuple():
                return tuple(self._value(name, one) for one in value)
            case None:
                return None
            case int():
                return self._moved(value) if name.endswith(_TIME) else value
            case _:
                raise FatalError(f"{name} holds a {type(value).__name__}, which no export knows")

    def _moved(self, unix_s: int) -> int:
        assert self._moved_us is not None
        return max(0, unix_s + self._moved_us // 1_000_000)

    def _text(self, text: str) -> str:
        if text in WORDS:
            return text
        if _JOINED.fullmatch(text):
            return _PART.sub(lambda part: self._hex(part[0]), text)
        return f"text-{self._bytes(text.encode(), 8).hex()}"

    def _hex(self, text: str) -> str:
        return self._bytes(text.encode(), (len(text) + 1) // 2).hex()[: len(text)]

    def _bytes(self, value: bytes, size: int) -> bytes:
        """A stand-in of this size."""
        seed = hmac.digest(self._key, value, "sha256")
        return hashlib.shake_256(seed).digest(size)


def telling(value: Any, stream: str = "") -> set[bytes]:
    """Everything in a value that tells who and what, as it would stand in a log."""
    found = _telling_text(stream)
    left = [value]
    while left:
        match one := left.pop():
            case msgspec.Struct():
                left.extend(getattr(one, field) for field in one.__struct_fields__)
            case str():
                found |= _telling_text(one)
            case bytes():
                found |= {base64.b64encode(one), one.hex().encode()}
            case tuple():
                left.extend(one)
            case _:
                pass
    return {one for one in found if len(one) >= _TELLING}


def _telling_text(text: str) -> set[bytes]:
    if text in WORDS:
        return set()
    if _JOINED.fullmatch(text):
        return {part.encode() for part in _PART.findall(text)}
    return {msgspec.json.encode(text)[1:-1]}
