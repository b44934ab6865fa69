"""Events keep their encoding, old ones are upcast, and what cannot be read back is never written."""

from typing import ClassVar

import msgspec
import pytest

from engine.events import EVENT_BYTES_MAX, EncodedEvent, Event, EventCodec, Upcaster
from errors import FatalError, InputError


class Paid(Event, frozen=True):
    """Version 3: `amount` (1) became `amount_msat` (2), then `note` came."""

    kind: ClassVar[str] = "paid"
    schema_version: ClassVar[int] = 3
    amount_msat: int
    note: bytes
    tags: dict[str, int] = msgspec.field(default_factory=dict)


class Nameless(Event, frozen=True):
    pass


UPCASTERS: dict[tuple[str, int], Upcaster] = {
    ("paid", 1): lambda body: {"amount_msat": int(str(body["amount"])) * 1000},
    ("paid", 2): lambda body: {**body, "note": ""},
}
CODEC = EventCodec([Paid], UPCASTERS)


def test_encoding_is_deterministic_and_reads_back() -> None:
    one = Paid(amount_msat=1, note=b"\x00\xff", tags={"b": 2, "a": 1})
    other = Paid(amount_msat=1, note=b"\x00\xff", tags={"a": 1, "b": 2})
    encoded = CODEC.encode(one)
    assert encoded == EncodedEvent(
        "paid", 3, b'{"amount_msat":1,"note":"AP8=","tags":{"a":1,"b":2}}'
    )
    assert CODEC.encode(other) == encoded
    assert CODEC.decode(encoded) == one


def test_old_versions_pass_through_every_upcaster() -> None:
    assert CODEC.decode(EncodedEvent("paid", 1, b'{"amount":7}')) == Paid(
        amount_msat=7000, note=b""
    )
    second = EncodedEvent("paid", 2, b'{"amount_msat":7}')
    assert CODEC.decode(second) == Paid(amount_msat=7, note=b"")


@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        (EncodedEvent("unheard", 1, b"{}"), "does not know"),
        (EncodedEvent("paid", 4, b"{}"), "start the newer program"),
        (EncodedEvent("paid", 0, b"{}"), "no upcaster takes paid from version 0"),
        (EncodedEvent("paid", 3, b"{}"), "cannot be decoded"),
        (EncodedEvent("paid", 3, b"\xff"), "cannot be decoded"),
        (EncodedEvent("paid", 1, b"[]"), "cannot be decoded"),
        (EncodedEvent("paid", 1, b'{"sum":1}'), "cannot be decoded"),
        (EncodedEvent("paid", 1, b'{"amount":"x"}'), "cannot be decoded"),
    ],
)
def test_unreadable_rows_are_fatal(encoded: EncodedEvent, words: str) -> None:
    with pytest.raises(FatalError, match=words):
        CODEC.decode(encoded)


def test_only_registered_events_are_written() -> None:
    with pytest.raises(FatalError, match="not registered"):
        EventCodec([]).encode(Paid(amount_msat=1, note=b""))


def test_an_event_too_big_is_its_senders_fault() -> None:
    with pytest.raises(InputError, match="above"):
        CODEC.encode(Paid(amount_msat=1, note=bytes(EVENT_BYTES_MAX)))


def test_what_would_not_read_back_is_never_written() -> None:
    # msgspec does not check types when a struct is made, so a bug can put anything there.
    for wrong in (None, float("nan"), "1"):
        with pytest.raises(FatalError):
            CODEC.encode(Paid(amount_msat=wrong, note=b""))  # type: ignore[arg-type]
    with pytest.raises(FatalError, match="not the same after"):
        CODEC.encode(Paid(amount_msat=1, note="AP8="))  # type: ignore[arg-type]


@pytest.mark.parametrize("classes", [[Nameless], [Paid, Paid]])
def test_every_event_class_has_a_kind_of_its_own(classes: list[type[Event]]) -> None:
    with pytest.raises(FatalError, match="no kind of its own"):
        EventCodec(classes)
