"""Consensus encoding: the forms of fedimint-core's own tests, limits, strictness."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedimint.codec import encoding
from fedimint.codec.encoding import Codec, StructCodec, UnknownVariant
from fedimint.codec.errors import DecodeError, EncodeError


class Maybe(msgspec.Struct, frozen=True, tag="maybe"):
    number: int | None


class Raw(msgspec.Struct, frozen=True, tag="raw"):
    data: bytes


class Unit(msgspec.Struct, frozen=True, tag="unit"):
    pass


VARIANTS: dict[int, StructCodec[Any]] = {
    0: encoding.struct(Maybe, number=encoding.option(encoding.U32)),
    1: encoding.struct(Raw, data=encoding.BYTES),
    2: encoding.struct(Unit),
}
CLOSED: Codec[Maybe | Raw | Unit] = encoding.enum(VARIANTS)
OPEN: Codec[Maybe | Raw | Unit | UnknownVariant] = encoding.enum(VARIANTS, extensible=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Maybe(42), "0002012a"),
        (Maybe(None), "000100"),
        (Raw(b"\1\2\3"), "010403010203"),
        (Unit(), "0200"),
    ],
)
def test_enum_variants_are_index_length_body(value: Any, text: str) -> None:
    assert CLOSED.encode(value).hex() == text
    assert CLOSED.decode_hex(text) == value


def test_an_unknown_variant_is_kept_or_refused() -> None:
    assert OPEN.decode_hex("0702aabb") == UnknownVariant(7, b"\xaa\xbb")
    assert OPEN.encode(UnknownVariant(7, b"\xaa\xbb")).hex() == "0702aabb"
    with pytest.raises(DecodeError, match="unknown variant 7"):
        CLOSED.decode_hex("0702aabb")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "00"),
        (252, "fc"),
        (253, "fd00fd"),
        (65535, "fdffff"),
        (65536, "fe00010000"),
        (2**32 - 1, "feffffffff"),
        (2**32, "ff0000000100000000"),
        (2**64 - 1, "ff" * 9),
    ],
)
def test_big_size_follows_bolt_1(value: int, text: str) -> None:
    assert encoding.U64.encode(value).hex() == text
    assert encoding.U64.decode_hex(text) == value


@pytest.mark.parametrize("text", ["fd00fc", "fe0000ffff", "ff00000000ffffffff", "fd00", "", "fe"])
def test_long_or_cut_integers_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        encoding.U64.decode_hex(text)


def test_the_rust_width_is_a_range_check() -> None:
    assert encoding.U16.decode_hex("fdffff") == 65535
    with pytest.raises(DecodeError, match="16 bits"):
        encoding.U16.decode_hex("fe00010000")
    for codec, value in (
        (encoding.U16, 65536),
        (encoding.U64, 2**64),
        (encoding.U64, -1),
        (encoding.U8, 256),
    ):
        with pytest.raises(EncodeError):
            codec.encode(value)


@pytest.mark.parametrize(
    ("codec", "text", "complaint"),
    [
        (encoding.BOOL, "02", "boolean"),
        (encoding.BOOL, "0100", "too many"),
        (encoding.option(encoding.U8), "0201", "boolean"),
        (encoding.STRING, "02c328", "UTF-8"),
        (encoding.mapping(encoding.U64, encoding.U8), "0202010101", "ascending"),
        (encoding.mapping(encoding.U64, encoding.U8), "0201000100", "ascending"),
        (encoding.vec(encoding.struct(Unit)), "0100", "without size"),
        (encoding.vec(encoding.U64), "ffffffffffffffffff", "cannot fit"),
        (encoding.BYTES, "fe7fffffff00", "are left"),
        (encoding.framed(encoding.U8), "020000", "too many"),
        (CLOSED, "02010000", "too many"),
        (CLOSED, "000101", "Maybe.number"),
    ],
)
def test_malformed_bytes_are_named(codec: Codec[Any], text: str, complaint: str) -> None:
    with pytest.raises(DecodeError, match=complaint):
        codec.decode_hex(text)


def test_a_decode_is_bounded() -> None:
    with pytest.raises(DecodeError, match="more than 16000000"):
        encoding.BYTES.decode(bytes(encoding.MAX_DECODE_BYTES + 1))


@pytest.mark.parametrize("text", ["0", "zz", "00 00", "é0"])
def test_hex_is_strict(text: str) -> None:
    with pytest.raises(DecodeError):
        encoding.from_hex(text)


def test_maps_are_written_in_numeric_order() -> None:
    codec = encoding.mapping(encoding.U64, encoding.U8)
    assert codec.encode({10: 1, 2: 2}).hex() == "0202020a01"
    assert list(codec.decode_hex("0202020a01")) == [2, 10]


def test_encoded_values_in_json_are_a_list_of_one_text() -> None:
    json = encoding.to_module_json(encoding.STRING, "ab")
    assert json == ["03026162"]
    assert encoding.from_module_json(encoding.STRING, json) == "ab"
    for bad in ("03026162", [], ["03026162", ""], [1], None, ["02026162"]):
        with pytest.raises(DecodeError):
            encoding.from_module_json(encoding.STRING, bad)


ROUND_TRIP: Codec[dict[int, tuple[str | None, ...]]] = encoding.mapping(
    encoding.U64, encoding.vec(encoding.option(encoding.STRING))
)


@given(
    st.dictionaries(
        st.integers(0, 2**64 - 1),
        st.lists(st.none() | st.text(st.characters(codec="utf-8"))).map(tuple),
    )
)
def test_what_is_written_reads_back(value: dict[int, tuple[str | None, ...]]) -> None:
    assert ROUND_TRIP.decode(ROUND_TRIP.encode(value)) == value


@given(st.binary(max_size=64))
def test_what_reads_is_written_back_byte_for_byte(data: bytes) -> None:
    try:
        value = ROUND_TRIP.decode(data)
    except DecodeError:
        return
    assert ROUND_TRIP.encode(value) == data
