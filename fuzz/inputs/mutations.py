"""Damages good bytes, as a broken or hostile peer might."""

from collections.abc import Callable

from hypothesis import strategies as st

EDITS_MAX = 6
_LENGTHS_THAT_LIE = (b"\xff" * 9, b"\xfe\xff\xff\xff\xff", b"\xfd\xff\xff", b"\xfd\x00\x01")


@st.composite
def mutated(draw: st.DrawFn, good: st.SearchStrategy[bytes]) -> bytes:
    """Good bytes after a few edits, none of them some of the time."""
    data = draw(good)
    for _ in range(draw(st.integers(0, EDITS_MAX))):
        edit = draw(st.sampled_from(_EDITS))
        data = edit(draw, data)
    return data


def hostile(good: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Edited good bytes, mostly; else any bytes."""
    return mutated(good) | mutated(good) | st.binary(max_size=200)


def _place(draw: st.DrawFn, data: bytes) -> int:
    return draw(st.integers(0, len(data)))


def _flip(draw: st.DrawFn, data: bytes) -> bytes:
    if not data:
        return data
    place = draw(st.integers(0, len(data) - 1))
    return data[:place] + bytes([data[place] ^ 1 << draw(st.integers(0, 7))]) + data[place + 1 :]


def _insert(draw: st.DrawFn, data: bytes) -> bytes:
    place = _place(draw, data)
    return data[:place] + draw(st.binary(min_size=1, max_size=8)) + data[place:]


def _cut(draw: st.DrawFn, data: bytes) -> bytes:
    return data[: _place(draw, data)]


def _remove(draw: st.DrawFn, data: bytes) -> bytes:
    start = _place(draw, data)
    return data[:start] + data[start + draw(st.integers(1, 16)) :]


def _repeat(draw: st.DrawFn, data: bytes) -> bytes:
    start = _place(draw, data)
    return data[:start] + data[start : start + 32] * draw(st.integers(1, 20)) + data[start:]


def _overwrite_with_length(draw: st.DrawFn, data: bytes) -> bytes:
    place, length = _place(draw, data), draw(st.sampled_from(_LENGTHS_THAT_LIE))
    return data[:place] + length + data[place + len(length) :]


_EDITS: tuple[Callable[[st.DrawFn, bytes], bytes], ...] = (
    _flip,
    _insert,
    _cut,
    _remove,
    _repeat,
    _overwrite_with_length,
)
