"""The native BLS12-381: arkworks' answers, and the same refusals."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedimint.codec.errors import DecodeError
from fedimint.crypto import bls
from fedimint.crypto.arkworks import ARKWORKS
from fedimint.crypto.curve import MODULUS, Curve, G1Point, G2Point, Scalar

if "FEDIMINT_GATEWAY_REQUIRE_NATIVE" not in os.environ:
    pytest.importorskip(
        "fedimint_gateway_native.accel",
        reason="the native part is not built here (`nox -s native`, `uv sync --extra native`)",
    )

from fedimint.crypto.blst import BLST

ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001


class Group(NamedTuple):
    """One of the two, and its port."""

    size: int
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    unchecked: Callable[[bytes], Any]
    generator: Callable[[], Any]

    def decoded(self, curve: Curve, data: bytes) -> bytes | None:
        """The point as bytes again, or None for a refusal."""
        with bls.using(curve):
            try:
                return self.encode(self.decode(data))
            except DecodeError:
                return None

    def multiple(self, curve: Curve, factor: int) -> Any:
        with bls.using(curve):
            return self.generator() * Scalar(factor)


G1 = Group(
    48, bls.decode_g1, bls.encode_g1, G1Point.from_compressed_bytes_unchecked, bls.g1_generator
)
G2 = Group(
    96, bls.decode_g2, bls.encode_g2, G2Point.from_compressed_bytes_unchecked, bls.g2_generator
)
GROUPS = pytest.mark.parametrize("group", [G1, G2], ids=["g1", "g2"])

#: Short weights, which are multiplied by differently, and both sides of every bound.
FACTORS = (
    st.integers(0, 9)
    | st.integers(2**64 - 2, 2**64 + 2)
    | st.integers(0, 2**128 - 1)
    | st.integers(ORDER - 3, ORDER - 1)
    | st.integers(0, ORDER - 1)
)


def strings(size: int) -> st.SearchStrategy[bytes]:
    """Any bytes, what has the flags of a point, and what has nearly nothing but flags."""
    flags = st.sampled_from([0, 0x20, 0x40, 0x60, 0x80, 0xA0, 0xC0, 0xE0])
    body = st.binary(min_size=size, max_size=size)
    bare = st.builds(
        lambda fill, last: fill * (size - 1) + bytes([last]),
        st.sampled_from([b"\0", b"\x1f", b"\xff"]),
        st.integers(0, 255),
    )
    flagged = st.builds(
        lambda flag, data: bytes([flag | data[0] & 0x1F]) + data[1:], flags, body | bare
    )
    return st.binary(max_size=size + 1) | flagged


@GROUPS
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_are_the_same_point_or_none(group: Group, data: st.DataObject) -> None:
    drawn = data.draw(strings(group.size))
    assert group.decoded(BLST, drawn) == group.decoded(ARKWORKS, drawn)


@GROUPS
def test_only_the_canonical_form_of_a_point_is_taken(group: Group) -> None:
    body = group.size - 1
    identity = b"\xc0" + bytes(body)
    good = group.encode(group.multiple(BLST, 7))
    assert group.decoded(BLST, identity) == identity
    assert group.decoded(BLST, good) == good
    for bad in (
        bytes(group.size),
        b"\x80" + bytes(body),
        b"\x40" + bytes(body),
        b"\xe0" + bytes(body),
        b"\xc0" + bytes(body - 1) + b"\1",
        b"\xff" * group.size,
        bytes([good[0] & 0x7F]) + good[1:],
        good[:-1],
        good + b"\0",
        b"",
    ):
        assert group.decoded(BLST, bad) is None
        assert group.decoded(ARKWORKS, bad) is None


@GROUPS
def test_a_coordinate_is_below_the_modulus(group: Group) -> None:
    """Every point with a small coordinate has a second form that a careless reader takes."""
    refused = 0
    for factor in range(1, 60):
        good = group.encode(group.multiple(BLST, factor))
        first = int.from_bytes(bytes([good[0] & 0x1F]) + good[1:48], "big") + MODULUS
        if first < 1 << 381:
            head = first.to_bytes(48, "big")
            bad = bytes([head[0] | good[0] & 0xE0]) + head[1:] + good[48:]
            assert group.decoded(BLST, good) == good
            assert group.decoded(BLST, bad) is group.decoded(ARKWORKS, bad) is None
            refused += 1
    assert refused > 0


@GROUPS
def test_points_outside_of_the_subgroup_are_refused(group: Group) -> None:
    """The cofactors are so large that all points with a small coordinate lie outside."""
    refused = 0
    for x in range(1, 20):
        data = b"\x80" + x.to_bytes(group.size - 1, "big")
        try:
            assert not group.unchecked(data).is_in_subgroup()
        except ValueError:
            continue  # the curve has no point there
        assert group.decoded(BLST, data) is group.decoded(ARKWORKS, data) is None
        refused += 1
    assert refused > 0


@GROUPS
@settings(max_examples=60, deadline=None)
@given(FACTORS, FACTORS, FACTORS)
@example(5, 5, 2)
@example(5, ORDER - 5, 1)
@example(0, 0, 0)
def test_sums_and_products_are_the_same(group: Group, a: int, b: int, factor: int) -> None:
    def results(curve: Curve) -> list[bytes]:
        left, right = group.multiple(curve, a), group.multiple(curve, b)
        points = (left, right, left + right, left - right, -left, left * Scalar(factor))
        return [group.encode(point) for point in points]

    assert results(BLST) == results(ARKWORKS)
    point, same = group.multiple(BLST, a), group.decode(group.encode(group.multiple(BLST, a)))
    other = group.multiple(BLST, b)
    assert point == same
    assert hash(point) == hash(same)
    assert (point == other) is (a == b)
    assert point + other - other == point


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(FACTORS, FACTORS), max_size=40))
@example([])
@example([(0, 5)])
@example([(3, 0), (4, 0)])
@example([(3, 7), (3, 7), (ORDER - 3, 7)])
def test_sums_of_products_are_the_same(terms: list[tuple[int, int]]) -> None:
    def result(curve: Curve) -> bytes:
        points = [G1.multiple(curve, multiple) for multiple, _ in terms]
        sum_ = curve.multiply_sum_g1(points, [Scalar(factor) for _, factor in terms])
        return bls.encode_g1(sum_)

    assert result(BLST) == result(ARKWORKS)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(FACTORS, FACTORS), max_size=20), st.booleans())
@example([], True)
@example([(0, 5)], False)
@example([(5, 0), (0, 0)], False)
def test_products_of_pairings_are_one_for_both(
    terms: list[tuple[int, int]], is_balanced: bool
) -> None:
    if is_balanced:
        terms = [*terms, (-sum(left * right for left, right in terms) % ORDER, 1)]
    is_one = sum(left * right for left, right in terms) % ORDER == 0
    for curve in (BLST, ARKWORKS):
        left = [G1.multiple(curve, factor) for factor, _ in terms]
        right = [G2.multiple(curve, factor) for _, factor in terms]
        assert curve.pairing_check(left, right) is is_one


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=32, max_size=32))
@example(bytes(32))
def test_a_seed_draws_the_same_points(seed: bytes) -> None:
    g1, g2 = BLST.random_g1(seed), BLST.random_g2(seed)
    assert bls.encode_g1(g1) == bls.encode_g1(ARKWORKS.random_g1(seed))
    assert bls.encode_g2(g2) == bls.encode_g2(ARKWORKS.random_g2(seed))
    assert G1.decoded(BLST, bls.encode_g1(g1)) == bls.encode_g1(g1)


class Scalarlike:
    """Bytes where a scalar is expected."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def to_le_bytes(self) -> bytes:
        return self._data


@GROUPS
@pytest.mark.parametrize(
    "data",
    [ORDER.to_bytes(32, "little"), b"\xff" * 32, bytes(31), bytes(33)],
    ids=["the order", "the largest", "short", "long"],
)
def test_scalars_that_are_none_are_refused(group: Group, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not a canonical scalar$"):
        group.multiple(BLST, 1) * Scalarlike(data)


def test_points_of_another_library_and_lists_that_do_not_match_are_refused() -> None:
    ours: Any = G1.multiple(BLST, 1)
    theirs: Any = G1.multiple(ARKWORKS, 1)
    assert ours != theirs
    with pytest.raises(TypeError):
        ours + theirs
    with pytest.raises(ValueError, match="1 cannot be paired with 0"):
        BLST.multiply_sum_g1([ours], [])
    with pytest.raises(ValueError, match="1 cannot be paired with 2"):
        BLST.pairing_check([ours], [G2.multiple(BLST, 1)] * 2)


def test_it_is_in_use_where_it_is_installed() -> None:
    assert bls.BLS12_381 is BLST
