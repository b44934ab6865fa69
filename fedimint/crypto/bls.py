"""BLS12-381: decoding of points, scalars, Lagrange coefficients and random points from a seed.

Everything that needs the curve goes through this file, to the curve in use: BLS12-381, but in a
simulation that says `using` a stand-in.

Points travel in the compressed form of zcash: G1 48 bytes, G2 96 bytes. Scalars are 32 bytes,
little-endian.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from math import gcd, lcm, prod
from typing import Final, NamedTuple, TypeVar

from errors import FatalError
from fedimint.codec.errors import DecodeError
from fedimint.crypto.curve import SEED_SIZE, Curve, G1Point, G2Point, Keystream, Scalar

try:
    from fedimint.crypto.blst import BLST as BLS12_381
except ImportError:  # gatewayd says at start that the native part is missing, and what that costs
    from fedimint.crypto.arkworks import ARKWORKS as BLS12_381

__all__ = [
    "BLS12_381",
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
    "g1_generator",
    "g1_identity",
    "g2_generator",
    "interpolate",
    "interpolation",
    "multiply_sum_g1",
    "pairings_equal",
    "pairings_product_is_one",
    "random_g1",
    "random_g2",
    "random_scalar",
    "scalar",
    "scalar_from_wide",
    "using",
    "weighted_sum",
]

G1_SIZE: Final = 48
G2_SIZE: Final = 96
SCALAR_SIZE: Final = 32
WIDE_SCALAR_SIZE: Final = 64
_IDENTITY_FLAG: Final = 0x40
_IDENTITY_HEAD: Final = b"\xc0"

Point = TypeVar("Point", G1Point, G2Point)

_curve = BLS12_381


@contextmanager
def using(curve: Curve) -> Iterator[None]:
    """Compute on another curve, for everything in this process, as long as the block lasts."""
    global _curve  # noqa: PLW0603
    before, _curve = _curve, curve
    try:
        yield
    finally:
        _curve = before


# --- points and scalars from outside ---


def decode_g1(data: bytes) -> G1Point:
    """A point of G1 from 48 bytes, checked to lie in the subgroup. Raises DecodeError."""
    try:
        return _curve.g1.from_compressed_bytes(_canonical(bytes(data)))
    except ValueError:
        raise DecodeError("not a point of BLS12-381 G1 (48 bytes, compressed)") from None


def decode_g2(data: bytes) -> G2Point:
    """A point of G2 from 96 bytes, checked to lie in the subgroup. Raises DecodeError.

    Remembered, since nearly all points of G2 that arrive are the same few guardian keys.
    """
    return _decode_g2(_curve, bytes(data))


@lru_cache(maxsize=4096)
def _decode_g2(curve: Curve, data: bytes) -> G2Point:
    try:
        return curve.g2.from_compressed_bytes(_canonical(data))
    except ValueError:
        raise DecodeError("not a point of BLS12-381 G2 (96 bytes, compressed)") from None


def _canonical(data: bytes) -> bytes:
    """The same bytes. Raises ValueError for an identity with anything besides its flags, which guardians refuse.

    The library reads it as the identity; a contract with one could be taken and then never be funded.
    """
    if data and data[0] & _IDENTITY_FLAG and data != _IDENTITY_HEAD + bytes(len(data) - 1):
        raise ValueError("not canonical")
    return data


def encode_g1(point: G1Point) -> bytes:
    """48 bytes, compressed."""
    return bytes(point.to_compressed_bytes())


def encode_g2(point: G2Point) -> bytes:
    """96 bytes, compressed."""
    return bytes(point.to_compressed_bytes())


def decode_scalar(data: bytes) -> Scalar:
    """A canonical scalar from 32 little-endian bytes. Raises DecodeError."""
    try:
        return _curve.scalar.from_le_bytes(bytes(data))
    except ValueError:
        raise DecodeError("not a canonical BLS12-381 scalar of 32 bytes") from None


def encode_scalar(value: Scalar) -> bytes:
    """32 bytes, little-endian."""
    return bytes(value.to_le_bytes())


def scalar_from_wide(data: bytes) -> Scalar:
    """64 little-endian bytes, reduced modulo the group order."""
    if len(data) != WIDE_SCALAR_SIZE:
        raise FatalError(f"a wide scalar has {WIDE_SCALAR_SIZE} bytes, not {len(data)}")
    return _curve.scalar.from_le_bytes_mod_order(data)


# --- constants ---


def g1_generator() -> G1Point:
    """What keys and signatures of G1 are multiples of."""
    return _curve.g1()


def g1_identity() -> G1Point:
    """The zero of G1."""
    return _curve.g1.identity()


def g2_generator() -> G2Point:
    """What keys of G2 are multiples of."""
    return _curve.g2()


def scalar(value: int) -> Scalar:
    """An integer, 0 or more, as a scalar."""
    return _curve.scalar(value)


# --- pairings ---


def pairings_equal(left: tuple[G1Point, G2Point], right: tuple[G1Point, G2Point]) -> bool:
    """Whether e(left) equals e(right), with one final exponentiation for both."""
    return pairings_product_is_one([left[0], -right[0]], [left[1], right[1]])


def pairings_product_is_one(g1_points: list[G1Point], g2_points: list[G2Point]) -> bool:
    """Whether the product of the pairings, taken in order, is the identity."""
    return _curve.pairing_check(g1_points, g2_points)


# --- interpolation ---


class Interpolation(NamedTuple):
    """Lagrange coefficients at zero, as small integers over one common denominator.

    λ_i = numerators[i] / denominator. With few guardians the numerators have a few bits, so that a
    weighted sum of shares costs some additions instead of full multiplications.
    """

    numerators: tuple[int, ...]
    inverse_denominator: Scalar


def interpolation(peers: tuple[int, ...]) -> Interpolation:
    """Coefficients at zero for the shares of these distinct peers, where x = peer + 1.

    λ_i = ∏ x_j / (x_j - x_i) over all j ≠ i (fedimint-tbs src/lib.rs).
    """
    return _interpolation(_curve, peers)


@lru_cache(maxsize=256)
def _interpolation(curve: Curve, peers: tuple[int, ...]) -> Interpolation:
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
        curve.scalar(denominator // shared).inverse(),
    )


def weighted_sum(weights: Sequence[int], points: Sequence[Point], zero: Point) -> Point:
    """Σ weight · point for small weights of either sign, starting from the identity `zero`."""
    total = zero
    for weight, point in zip(weights, points, strict=True):
        term = point * scalar(abs(weight))
        total = total + term if weight >= 0 else total - term
    return total


def interpolate(peers: Sequence[int], shares: Sequence[Point], zero: Point) -> Point:
    """The shared point at zero from exactly threshold shares of distinct peers."""
    weights = interpolation(tuple(peers))
    return weighted_sum(weights.numerators, shares, zero) * weights.inverse_denominator


def multiply_sum_g1(points: list[G1Point], scalars: list[Scalar]) -> G1Point:
    """Σ scalar · point over points of the subgroup."""
    return _curve.multiply_sum_g1(points, scalars)


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
        value = scalar(0)
        for coefficient in reversed(coefficients):
            value = value * scalar(peer + 1) + coefficient
        shares.append(value)
    return coefficients[0], tuple(shares)


# --- random points and scalars from a seed ---


def random_scalar(seed: bytes) -> Scalar:
    """The first scalar that a ChaCha20 generator with this 32-byte seed draws."""
    return scalar_from_wide(Keystream(seed).take(WIDE_SCALAR_SIZE))


def random_g1(seed: bytes) -> G1Point:
    """The first point of G1 that a ChaCha20 generator with this 32-byte seed draws."""
    return _curve.random_g1(seed)


def random_g2(seed: bytes) -> G2Point:
    """The first point of G2 that such a generator draws.

    Remembered, since the decryption shares of all guardians are checked under the same message.
    """
    return _random_g2(_curve, seed)


@lru_cache(maxsize=64)
def _random_g2(curve: Curve, seed: bytes) -> G2Point:
    return curve.random_g2(seed)
