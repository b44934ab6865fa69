"""The pairing-friendly curve under `bls.py`: BLS12-381, and the shape that a stand-in for it must have.

The guardians hash to the curve by seeding ChaCha20 and drawing a random point the way the Rust
crate `bls12_381` 0.8 does (src/g1.rs, g2.rs, fp.rs, fp2.rs). That is not RFC 9380, so the few
steps the library lacks stand here: field elements, the choice of the root, clearing of cofactors.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from errors import FatalError

__all__ = ["BLS12_381", "SEED_SIZE", "Curve", "G1Point", "G2Point", "Keystream", "Scalar"]

SEED_SIZE: Final = 32

_FIELD_SIZE: Final = 48
_COMPRESSED_FLAG: Final = 0x80

# The curve's parameter; the modulus of its base field is a polynomial of it.
_Z: Final = -0xD201000000010000
_P: Final = (_Z - 1) ** 2 * (_Z**4 - _Z**2 + 1) // 3 + _Z
_G1_EFFECTIVE_COFACTOR: Final = 1 - _Z
_G2_COFACTOR: Final = (
    _Z**8 - 4 * _Z**7 + 5 * _Z**6 - 4 * _Z**4 + 6 * _Z**3 - 4 * _Z**2 - 4 * _Z + 13
) // 9
_G2_EFFECTIVE_COFACTOR: Final = 3 * (_Z**2 - 1) * _G2_COFACTOR

Point = TypeVar("Point", G1Point, G2Point)


class Curve(NamedTuple):
    """Two groups and their scalars as classes of the library's shape, and what the library lacks.

    Points of one curve mean nothing on another. `pairing_check` tells whether a product of pairings is
    the identity; `random_g1` and `random_g2` draw a point of the subgroup from a seed of 32 bytes.
    """

    g1: type[G1Point]
    g2: type[G2Point]
    scalar: type[Scalar]
    pairing_check: Callable[[list[G1Point], list[G2Point]], bool]
    random_g1: Callable[[bytes], G1Point]
    random_g2: Callable[[bytes], G2Point]


def random_g1(seed: bytes) -> G1Point:
    """The first point of G1 that a ChaCha20 generator with this 32-byte seed draws.

    Of the two square roots the crate takes t^((p+1)/4), which is the one that is itself a square.
    """
    stream = Keystream(seed)
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
    stream = Keystream(seed)
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


class Keystream:
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


BLS12_381: Final = Curve(G1Point, G2Point, Scalar, GT.pairing_check, random_g1, random_g2)
"""The real one."""
