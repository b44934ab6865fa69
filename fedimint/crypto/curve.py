"""The pairing-friendly curve under `bls.py`: the shape of an implementation, and how random points are drawn.

There are two of BLS12-381, `arkworks.py` and `blst.py`, and a stand-in of simulations.

The guardians hash to the curve by seeding ChaCha20 and drawing a random point the way the Rust
crate `bls12_381` 0.8 does (src/g1.rs, g2.rs, fp.rs, fp2.rs). That is not RFC 9380, so the few
steps that libraries lack stand here and in each implementation.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from py_arkworks_bls12381 import G1Point, G2Point, Scalar

from errors import FatalError

__all__ = [
    "FIELD_SIZE",
    "MODULUS",
    "SEED_SIZE",
    "Curve",
    "G1Point",
    "G2Point",
    "Keystream",
    "Scalar",
    "Z",
    "draw_g1",
    "draw_g2",
]

SEED_SIZE: Final = 32
FIELD_SIZE: Final = 48

#: The curve's parameter; the modulus of its base field is a polynomial of it.
Z: Final = -0xD201000000010000
MODULUS: Final = (Z - 1) ** 2 * (Z**4 - Z**2 + 1) // 3 + Z

#: The point that a draw of this x and flip gives, or None when the next one is to be drawn. G1: x in 48 bytes,
#: big-endian. G2: in 96, the imaginary part first.
PointOfG1 = Callable[[bytes, bool], G1Point | None]
PointOfG2 = Callable[[bytes, bool], G2Point | None]


class Curve(NamedTuple):
    """Two groups and their scalars as classes of the shape that arkworks has, and what it lacks.

    Points of one curve mean nothing on another. `multiply_sum_g1` is Σ scalar · point, and `pairing_check`
    tells whether a product of pairings is the identity, over as many of the one as of the other;
    `random_g1` and `random_g2` draw a point of the subgroup from a seed of 32 bytes.
    """

    g1: type[G1Point]
    g2: type[G2Point]
    scalar: type[Scalar]
    multiply_sum_g1: Callable[[list[G1Point], list[Scalar]], G1Point]
    pairing_check: Callable[[list[G1Point], list[G2Point]], bool]
    random_g1: Callable[[bytes], G1Point]
    random_g2: Callable[[bytes], G2Point]


def draw_g1(point_of: PointOfG1, seed: bytes) -> G1Point:
    """The first point of G1 that a ChaCha20 generator with this 32-byte seed draws."""
    stream = Keystream(seed)
    while True:
        x, flip = stream.take_field_element(), stream.take_flip()
        point = point_of(x, flip)
        if point is not None:
            return point


def draw_g2(point_of: PointOfG2, seed: bytes) -> G2Point:
    """The first point of G2 that such a generator draws."""
    stream = Keystream(seed)
    while True:
        real, imaginary = stream.take_field_element(), stream.take_field_element()
        point = point_of(imaginary + real, stream.take_flip())
        if point is not None:
            return point


class Keystream:
    """The output of Rust's ChaCha20 generator: stream 0, block counter from 0."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_SIZE:
            raise FatalError(f"a ChaCha20 seed has {SEED_SIZE} bytes, not {len(seed)}")
        self._encryptor = Cipher(algorithms.ChaCha20(seed, bytes(16)), mode=None).encryptor()

    def take(self, size: int) -> bytes:
        return self._encryptor.update(bytes(size))

    def take_field_element(self) -> bytes:
        """48 bytes, big-endian."""
        low, high = self.take(FIELD_SIZE), self.take(FIELD_SIZE)
        element = (int.from_bytes(low, "big") + (int.from_bytes(high, "big") << 384)) % MODULUS
        return element.to_bytes(FIELD_SIZE, "big")

    def take_flip(self) -> bool:
        return int.from_bytes(self.take(4), "little") & 1 == 1
