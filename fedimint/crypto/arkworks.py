"""BLS12-381 by arkworks, for gateways without the native part."""

from functools import partial
from typing import Final, TypeVar

from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from fedimint.crypto.curve import FIELD_SIZE, MODULUS, Curve, Z, draw_g1, draw_g2

__all__ = ["ARKWORKS"]

# Below this many points the library's multi-exponentiation is slower than single products.
_MULTIEXP_FROM: Final = 3

_COMPRESSED_FLAG: Final = 0x80
_G1_EFFECTIVE_COFACTOR: Final = 1 - Z
_G2_COFACTOR: Final = (
    Z**8 - 4 * Z**7 + 5 * Z**6 - 4 * Z**4 + 6 * Z**3 - 4 * Z**2 - 4 * Z + 13
) // 9
_G2_EFFECTIVE_COFACTOR: Final = 3 * (Z**2 - 1) * _G2_COFACTOR

Point = TypeVar("Point", G1Point, G2Point)


def _multiply_sum_g1(points: list[G1Point], scalars: list[Scalar]) -> G1Point:
    if len(points) >= _MULTIEXP_FROM:
        return G1Point.multiexp_unchecked(points, scalars)
    total = G1Point.identity()
    for point, factor in zip(points, scalars, strict=True):
        total = total + point * factor
    return total


def _point_of_g1(x: bytes, flip: bool) -> G1Point | None:
    """Of the two square roots the crate takes t^((p+1)/4), which is the one that is itself a square."""
    point = _lift(G1Point, x)
    if point is None:
        return None
    y = int.from_bytes(point.to_xy_bytes_be()[FIELD_SIZE:], "big")
    cleared = _multiply_integer(point, _G1_EFFECTIVE_COFACTOR, G1Point.identity())
    if cleared == G1Point.identity():
        return None
    return cleared if _is_square(y) != flip else -cleared


def _point_of_g2(x: bytes, flip: bool) -> G2Point | None:
    """Of the two square roots s the crate takes (1 + a)^((p-1)/2) · t^((p+1)/4) with a = t^((p-1)/2).

    For t = s² that is s times the Legendre symbol of 2·s.c0: the root whose doubled real part is a
    square. (A root without real part, of probability 2^-381, is not told apart.)
    """
    point = _lift(G2Point, x)
    if point is None:
        return None
    y_c0 = int.from_bytes(point.to_xy_bytes_be()[2 * FIELD_SIZE : 3 * FIELD_SIZE], "big")
    cleared = _multiply_integer(point, _G2_EFFECTIVE_COFACTOR, G2Point.identity())
    if cleared == G2Point.identity():
        return None
    return cleared if _is_square(2 * y_c0) != flip else -cleared


def _lift(group: type[Point], x: bytes) -> Point | None:
    """Either point of the curve over this x, inside the subgroup or not; None if there is none."""
    try:
        return group.from_compressed_bytes_unchecked(bytes([x[0] | _COMPRESSED_FLAG]) + x[1:])
    except ValueError:
        return None


def _is_square(value: int) -> bool:
    return pow(value, (MODULUS - 1) // 2, MODULUS) == 1


def _multiply_integer(point: Point, factor: int, zero: Point) -> Point:
    """Double and add. The point may lie outside the subgroup, where the library's own
    multiplication promises nothing and the factor must not be reduced by the group order.
    """
    total = zero
    for bit in f"{factor:b}":
        total = total + total
        if bit == "1":
            total = total + point
    return total


ARKWORKS: Final = Curve(
    G1Point,
    G2Point,
    Scalar,
    _multiply_sum_g1,
    GT.pairing_check,
    partial(draw_g1, _point_of_g1),
    partial(draw_g2, _point_of_g2),
)
