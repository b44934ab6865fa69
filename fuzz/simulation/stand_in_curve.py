"""A curve for simulations: points are their own discrete logarithms, so everything takes microseconds.

The algebra is the real one's, modulo the same prime: shares combine, pairings are bilinear, and what is no
share, no point or not canonical fails where it fails on BLS12-381. It hides nothing from anybody.
"""

import hashlib
from typing import Final, Self, cast

from fedimint.crypto.curve import Curve, G1Point, G2Point, Scalar

ORDER: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
_SIZE: Final = 32


class StandInScalar:
    """As `py_arkworks_bls12381.Scalar`, as far as `fedimint.crypto.bls` uses it."""

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value % ORDER

    def __add__(self, other: "StandInScalar") -> "StandInScalar":
        return StandInScalar(self.value + other.value)

    def __mul__(self, other: "StandInScalar") -> "StandInScalar":
        return StandInScalar(self.value * other.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StandInScalar) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def inverse(self) -> "StandInScalar":
        return StandInScalar(pow(self.value, -1, ORDER))

    def to_le_bytes(self) -> bytes:
        return self.value.to_bytes(_SIZE, "little")

    @classmethod
    def from_le_bytes(cls, data: bytes) -> "StandInScalar":
        value = int.from_bytes(data, "little")
        if len(data) != _SIZE or value >= ORDER:
            raise ValueError("not canonical")
        return cls(value)

    @classmethod
    def from_le_bytes_mod_order(cls, data: bytes) -> "StandInScalar":
        return cls(int.from_bytes(data, "little"))


class _Point:
    """A multiple of the generator of its group, encoded as the multiple behind the group's prefix."""

    __slots__ = ("multiple",)
    prefix = b""

    def __init__(self, multiple: int = 1) -> None:
        self.multiple = multiple % ORDER

    @classmethod
    def identity(cls) -> Self:
        return cls(0)

    def __add__(self, other: Self) -> Self:
        return type(self)(self.multiple + other.multiple)

    def __sub__(self, other: Self) -> Self:
        return type(self)(self.multiple - other.multiple)

    def __neg__(self) -> Self:
        return type(self)(-self.multiple)

    def __mul__(self, factor: StandInScalar) -> Self:
        return type(self)(self.multiple * factor.value)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.multiple == other.multiple

    def __hash__(self) -> int:
        return hash((self.prefix, self.multiple))

    def to_compressed_bytes(self) -> bytes:
        return self.prefix + self.multiple.to_bytes(_SIZE, "big")

    @classmethod
    def from_compressed_bytes(cls, data: bytes) -> Self:
        multiple = int.from_bytes(data[len(cls.prefix) :], "big")
        size = len(cls.prefix) + _SIZE
        if len(data) != size or not data.startswith(cls.prefix) or multiple >= ORDER:
            raise ValueError("not a point")
        return cls(multiple)


class StandInG1(_Point):
    """48 bytes when encoded."""

    __slots__ = ()
    prefix = b"\x80 a stand-in g1".ljust(16, b"\0")


class StandInG2(_Point):
    """96 bytes when encoded."""

    __slots__ = ()
    prefix = b"\x80 a stand-in g2".ljust(64, b"\0")


def _multiply_sum_g1(points: list[G1Point], scalars: list[Scalar]) -> G1Point:
    pairs = zip(cast("list[_Point]", points), cast("list[StandInScalar]", scalars), strict=True)
    return cast("G1Point", StandInG1(sum(point.multiple * factor.value for point, factor in pairs)))


def _pairing_check(g1_points: list[G1Point], g2_points: list[G2Point]) -> bool:
    """e(a·G, b·H) is a·b in the exponent."""
    pairs = zip(cast("list[_Point]", g1_points), cast("list[_Point]", g2_points), strict=True)
    return sum(left.multiple * right.multiple for left, right in pairs) % ORDER == 0


def _random_g1(seed: bytes) -> G1Point:
    return cast("G1Point", StandInG1(_drawn(b"g1" + seed)))


def _random_g2(seed: bytes) -> G2Point:
    return cast("G2Point", StandInG2(_drawn(b"g2" + seed)))


def _drawn(seed: bytes) -> int:
    return int.from_bytes(hashlib.sha512(seed).digest(), "big")


STAND_IN: Final = Curve(
    cast("type[G1Point]", StandInG1),
    cast("type[G2Point]", StandInG2),
    cast("type[Scalar]", StandInScalar),
    _multiply_sum_g1,
    _pairing_check,
    _random_g1,
    _random_g2,
)
