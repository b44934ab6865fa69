"""Bodies come out of the file as they went in, and are smaller there."""

import os
import zlib
from collections.abc import Callable

import apsw
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.storage.errors import DamagedError
from engine.storage.packing import Packing, dictionary_of
from engine.storage.rows import add_functions
from engine.storage.schema import LOG_TABLES


class Coin(msgspec.Struct, array_like=True, tag="c"):
    worth: int
    nonce: str


class Purse(msgspec.Struct, tag="purse"):
    owner: str
    coins: tuple[Coin, ...]
    within: "Purse | None" = None
    key: bytes = b""


PACKING = Packing(dictionary_of([Purse]))


def test_a_dictionary_has_all_but_the_values() -> None:
    text = dictionary_of([Coin, Purse]).decode()
    assert text.startswith('["c",,""]')
    assert '{"type":"purse","owner":"","coins":[["c",,""]],"within":{"type":"purse",' in text
    assert text.endswith('"key":""}')


@given(st.binary(max_size=500) | st.text(max_size=500).map(str.encode))
def test_a_body_comes_out_as_it_went_in(content: bytes) -> None:
    body = b'{"x":"' + content.hex().encode() + b'"}'
    packed = PACKING.pack(body)
    assert PACKING.unpack(packed) == body
    assert len(packed) <= len(body)


def test_hex_takes_little_more_than_its_bytes_and_names_take_nothing() -> None:
    nonces = [os.urandom(64) for _ in range(10)]
    purse = Purse("somebody", tuple(Coin(9, nonce.hex()) for nonce in nonces))
    packed = PACKING.pack(msgspec.json.encode(purse))
    assert len(packed) < 1.2 * 64 * 10


def test_short_bodies_stay_readable() -> None:
    assert PACKING.pack(b'{"amount_msat":5}') == b'{"amount_msat":5}'


def test_what_deflating_makes_longer_stays_as_it_is() -> None:
    noise = os.urandom(200)
    assert PACKING.pack(b"{" + noise) == b"{" + noise


@pytest.mark.parametrize(
    "spoil",
    [
        lambda packed: packed[:-3],
        lambda packed: packed[:1] + b"\xff" * 20,
        lambda packed: packed[:1],
    ],
)
def test_what_was_not_packed_here_is_damage(spoil: Callable[[bytes], bytes]) -> None:
    packed = PACKING.pack(b'{"owner":"' + b"abc" * 100 + b'"}')
    with pytest.raises(DamagedError, match="cannot be unpacked"):
        PACKING.unpack(spoil(packed))


def test_a_file_from_somebody_else_fills_no_memory() -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"\x01" + deflater.compress(bytes(1 << 25)) + deflater.flush()
    assert len(bomb) < 1 << 16
    with pytest.raises(DamagedError, match="cannot be unpacked"):
        PACKING.unpack(bomb)


@pytest.mark.parametrize("more", [0, 1])
def test_the_longest_bodies_come_out_too(more: int) -> None:
    body = b"x" * ((1 << 24) + more)
    assert PACKING.unpack(PACKING.pack(body)) == body


def test_a_file_without_its_dictionary_is_damaged() -> None:
    connection = apsw.Connection(":memory:")
    add_functions(connection)
    connection.execute(LOG_TABLES)
    with pytest.raises(DamagedError, match="lost the dictionary"):
        list(connection.execute("SELECT unpacked(x'01')"))
