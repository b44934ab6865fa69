"""BLS12-381: decoding of points, scalars, Lagrange coefficients and random points from a seed.

The guardians hash to the curve by seeding ChaCha20 and drawing a random point the way the Rust
crate `bls12_381` 0.8 does (src/g1.rs, g2.rs, fp.rs, fp2.rs). That is not RFC 9380, so the few
steps the library lacks stand here: field elements, the choice of the root, clearing of cofactors.

Points travel in the compressed form of zcash: G1 48 bytes, G2 96 bytes. Scalars are 32 bytes,
little-endian.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import gcd, lcm, prod
from typing import Final, NamedTuple, TypeVar

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from errors import FatalError
from fedimint.errors import DecodeError

__all__ = [
    "G1_SIZE",
    "G2_SIZE",
    "SCALAR_SIZE",
    "SEED_SIZE",
    "WIDE_SCALAR_SIZE",
    "G1Point",
    "G2Point",
    "Interpolation",
    "Scalar",
    "deal",
    "decode_g1",
    "decode_g2",
    "decode_scalar",
    "encode_g1",
    "encode_g2",
    "encode_scalar",
    "interpolate",
    "interpolation",
    "multiply_sum_g1",
    "pairings_equal",
    "pairings_product_is_one",
    "random_g1",
    "random_g2",
    "random_scalar",
    "scalar_from_wide",
    "weighted_sum",
]

G1_SIZE: Final = 48
G2_SIZE: Final = 96
SCALAR_SIZE: Final = 32
WIDE_SCALAR_SIZE: Final = 64
SEED_SIZE: Final = 32

_FIELD_SIZE: Final = 48
_COMPRESSED_FLAG: Final = 0x80
# Below this many points the library's multi-exponentiation is slower than single products.
_MULTIEXP_FROM: Final = 3

# The curve's parameter; the modulus of its base field is a polynomial of it.
_Z: Final = -0xD201000000010000
_P: Final = (_Z - 1) ** 2 * (_Z**4 - _Z**2 + 1) // 3 + _Z
_G1_EFFECTIVE_COFACTOR: Final = 1 - _Z
_G2_COFACTOR: Final = (
    _Z**8 - 4 * _Z**7 + 5 * _Z**6 - 4 * _Z**4 + 6 * _Z**3 - 4 * _Z**2 - 4 * _Z + 13
) // 9
_G2_EFFECTIVE_COFACTOR: Final = 3 * (_Z**2 - 1) * _G2_COFACTOR

Point = TypeVar("Point", G1Point, G2Point)


# --- points and scalars from outside ---


def decode_g1(data: bytes) -> G1Point:
    """A point of G1 from 48 bytes, checked to lie in the subgroup. Raises DecodeError."""
    try:
        return G1Point.from_compressed_bytes(bytes(data))
    except ValueError:
        raise DecodeError("not a point of BLS12-381 G1 (48 bytes, compressed)") from None


def decode_g2(data: bytes) -> G2Point:
    """A point of G2 from 96 bytes, checked to lie in the subgroup. Raises DecodeError.

    Remembered, since nearly all points of G2 that arrive are the same few guardian keys.
    """
    return _decode_g2(bytes(data))


@lru_cache(maxsize=4096)
def _decode_g2(data: bytes) -> G2Point:
    try:
        return G2Point.from_compressed_bytes(data)
    except ValueError:
        raise DecodeError("not a point of BLS12-381 G2 (96 bytes, compressed)") from None


def encode_g1(point: G1Point) -> bytes:
    """48 bytes, compressed."""
    return bytes(point.to_compressed_bytes())


def encode_g2(point: G2Point) -> bytes:
    """96 bytes, compressed."""
    return bytes(point.to_compressed_bytes())


def decode_scalar(data: bytes) -> Scalar:
    """A canonical scalar from 32 little-endian bytes. Raises DecodeError."""
    try:
        return Scalar.from_le_bytes(bytes(data))
    except ValueError:
        raise DecodeError("not a canonical BLS12-381 scalar of 32 bytes") from None


def encode_scalar(scalar: Scalar) -> bytes:
    """32 bytes, little-endian."""
    return bytes(scalar.to_le_bytes())


def scalar_from_wide(data: bytes) -> Scalar:
    """64 little-endian bytes, reduced modulo the group order."""
    if len(data) != WIDE_SCALAR_SIZE:
        raise FatalError(f"a wide scalar has {WIDE_SCALAR_SIZE} bytes, not {len(data)}")
    return Scalar.from_le_bytes_mod_order(data)


# --- pairings ---


def pairings_equal(left: tuple[G1Point, G2Point], right: tuple[G1Point, G2Point]) -> bool:
    """Whether e(left) equals e(right), with one final exponentiation for both."""
    return pairings_product_is_one([left[0], -right[0]], [left[1], right[1]])


def pairings_product_is_one(g1_points: list[G1Point], g2_points: list[G2Point]) -> bool:
    """Whether the product of the pairings, taken in order, is the identity."""
    return bool(GT.pairing_check(g1_points, g2_points))


# --- interpolation ---


class Interpolation(NamedTuple):
    """Lagrange coefficients at zero, as small integers over one common denominator.

    λ_i = numerators[i] / denominator. With few guardians the numerators have a few bits, so that a
    weighted sum of shares costs some additions instead of full multiplications.
    """

    numerators: tuple[int, ...]
    inverse_denominator: Scalar


@lru_cache(maxsize=256)
def interpolation(peers: tuple[int, ...]) -> Interpolation:
    """Coefficients at zero for the shares of these distinct peers, where x = peer + 1.

    λ_i = ∏ x_j / (x_j - x_i) over all j ≠ i (fedimint-tbs src/lib.rs).
    """
    if not peers or len(set(peers)) != len(peers):
        raise FatalError("shares can be combined of distinct peers only, and of one at least")
    xs = [peer + 1 for peer in peers]
    tops = [prod(other for other in xs if other != x) for x in xs]
    bottoms = [prod(other - x for other in xs if other != x) for x in xs]
    denominator = lcm(*bottoms)
    numerators = [top * (denominator // bottom) for top, bottom in zip(tops, bottoms, strict=True)]
    shared = gcd(denominator, *numerators)
    return Interpolation(
        tuple(numerator // shared for numerator in numerators),
        Scalar(denominator // shared).inverse(),
    )


def weighted_sum(weights: Sequence[int], points: Sequence[Point], zero: Point) -> Point:
    """Σ weight · point for small weights of either sign, starting from the identity `zero`."""
    total = zero
    for weight, point in zip(weights, points, strict=True):
        term = point * Scalar(abs(weight))
        total = total + term if weight >= 0 else total - term
    return total


def interpolate(peers: Sequence[int], shares: Sequence[Point], zero: Point) -> Point:
    """The shared point at zero from exactly threshold shares of distinct peers."""
    weights = interpolation(tuple(peers))
    return weighted_sum(weights.numerators, shares, zero) * weights.inverse_denominator


def multiply_sum_g1(points: list[G1Point], scalars: list[Scalar]) -> G1Point:
    """Σ scalar · point over points of the subgroup; the library's multi-exponentiation if it pays."""
    if len(points) >= _MULTIEXP_FROM:
        return G1Point.multiexp_unchecked(points, scalars)
    total = G1Point.identity()
    for point, scalar in zip(points, scalars, strict=True):
        total = total + point * scalar
    return total


def deal(
    threshold: int, guardians: int, random_bytes: Callable[[int], bytes]
) -> tuple[Scalar, tuple[Scalar, ...]]:
    """A fresh secret and its shares for guardians 0, 1, …: any `threshold` of them determine it.

    For guardians that live in one process; real ones generate their keys without a dealer.
    """
    if not 0 < threshold <= guardians:
        raise FatalError(f"no threshold of {threshold} among {guardians} guardians")
    coefficients = [scalar_from_wide(random_bytes(WIDE_SCALAR_SIZE)) for _ in range(threshold)]
    shares = []
    for peer in range(guardians):
        value = Scalar(0)
        for coefficient in reversed(coefficients):
            value = value * Scalar(peer + 1) + coefficient
        shares.append(value)
    return coefficients[0], tuple(shares)


# --- random points and scalars from a seed ---


def random_scalar(seed: bytes) -> Scalar:
    """The first scalar that a ChaCha20 generator with this 32-byte seed draws."""
    return scalar_from_wide(_Keystream(seed).take(WIDE_SCALAR_SIZE))


def random_g1(seed: bytes) -> G1Point:
    """The first point of G1 that a ChaCha20 generator with this 32-byte seed draws.

    Of the two square roots the crate takes t^((p+1)/4), which is the one that is itself a square.
    """
    stream = _Keystream(seed)
    while True:
        x, flip = stream.take_field_element(), stream.take_flip()
        point = _lift_g1(x)
        if point is None:
            continue
        y = int.from_bytes(point.to_xy_bytes_be()[_FIELD_SIZE:], "big")
        cleared = _multiply_integer(point, _G1_EFFECTIVE_COFACTOR, G1Point.identity())
        if cleared != G1Point.identity():
            return cleared if _is_square(y) != flip else -cleared


def random_g2(seed: bytes) -> G2Point:
    """The first point of G2 that a ChaCha20 generator with this 32-byte seed draws.

    Of the two square roots s the crate takes (1 + a)^((p-1)/2) · t^((p+1)/4) with a = t^((p-1)/2).
    For t = s² that is s times the Legendre symbol of 2·s.c0: the root whose doubled real part is a
    square. (A root without real part, of probability 2^-381, is not told apart.)
    """
    stream = _Keystream(seed)
    while True:
        c0, c1 = stream.take_field_element(), stream.take_field_element()
        flip = stream.take_flip()
        point = _lift_g2(c0, c1)
        if point is None:
            continue
        y_c0 = int.from_bytes(point.to_xy_bytes_be()[2 * _FIELD_SIZE : 3 * _FIELD_SIZE], "big")
        cleared = _multiply_integer(point, _G2_EFFECTIVE_COFACTOR, G2Point.identity())
        if cleared != G2Point.identity():
            return cleared if _is_square(2 * y_c0) != flip else -cleared


class _Keystream:
    """The output of Rust's ChaCha20 generator: stream 0, block counter from 0."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_SIZE:
            raise FatalError(f"a ChaCha20 seed has {SEED_SIZE} bytes, not {len(seed)}")
        self._encryptor = Cipher(algorithms.ChaCha20(seed, bytes(16)), mode=None).encryptor()

    def take(self, size: int) -> bytes:
        return self._encryptor.update(bytes(size))

    def take_field_element(self) -> int:
        low, high = self.take(_FIELD_SIZE), self.take(_FIELD_SIZE)
        return (int.from_bytes(low, "big") + (int.from_bytes(high, "big") << 384)) % _P

    def take_flip(self) -> bool:
        return int.from_bytes(self.take(4), "little") & 1 == 1


def _lift_g1(x: int) -> G1Point | None:
    """Either point of the curve over this x, inside the subgroup or not; None if there is none."""
    try:
        return G1Point.from_compressed_bytes_unchecked(_compressed(x.to_bytes(_FIELD_SIZE, "big")))
    except ValueError:
        return None


def _lift_g2(c0: int, c1: int) -> G2Point | None:
    """As `_lift_g1`; the compressed form puts c1 in front."""
    data = c1.to_bytes(_FIELD_SIZE, "big") + c0.to_bytes(_FIELD_SIZE, "big")
    try:
        return G2Point.from_compressed_bytes_unchecked(_compressed(data))
    except ValueError:
        return None


def _compressed(x: bytes) -> bytes:
    return bytes([x[0] | _COMPRESSED_FLAG]) + x[1:]


def _is_square(value: int) -> bool:
    return pow(value, (_P - 1) // 2, _P) == 1


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
