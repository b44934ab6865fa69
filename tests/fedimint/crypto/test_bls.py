"""BLS12-381: random points, encodings, interpolation, pairings."""

import hashlib
from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import FatalError
from fedimint.codec.errors import DecodeError
from fedimint.crypto import bls

P = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf"
    "6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab",
    16,
)
NONCE = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
G1, G2 = bls.g1_generator(), bls.g2_generator()
IDENTITY_G1, IDENTITY_G2 = G1 - G1, G2 - G2


def test_random_g1_follows_the_vectors_of_both_mint_versions() -> None:
    v1 = hashlib.sha3_256(b"TBS_BLS12-381_" + NONCE).digest()
    assert bls.encode_g1(bls.random_g1(v1)).hex() == (
        "8af856273e7f52ac89f7ce86be7a38026dfccc6a375f41e1"
        "41ed3845c2efc8186563ceebf9febecc802037bee1ad51f9"
    )
    v2 = hashlib.sha256(b"FEDIMINT_TBS_BLS12_381_MESSAGE" + NONCE).digest()
    assert bls.encode_g1(bls.random_g1(v2)).hex() == (
        "b2792993bb1ce2ef9078f5704bef8ac761bd503454cfcd40"
        "5051ea7a8e9224b32dc3fbca9dee261b6c0859ba5f506a76"
    )


def test_random_g2_follows_the_vector_of_the_zero_seed() -> None:
    assert bls.encode_g2(bls.random_g2(bytes(32))).hex() == (
        "84fffa0351b79483318771c4a459271907bd8161773f1508b89e2d64db5cb5974019a6c9291843da3fc529040300addb"
        "0f05e4de4456cd0bf95d626db2233a188010038d6b8a6e778f13e39dccc771ce9b0f10c893a480b0dc42ea85949fe74a"
    )


Fp2 = tuple[int, int]


def _multiply(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] * b[0] - a[1] * b[1]) % P, (a[0] * b[1] + a[1] * b[0]) % P


def _power(base: Fp2, exponent: int) -> Fp2:
    result = (1, 0)
    for bit in f"{exponent:b}":
        result = _multiply(result, result)
        if bit == "1":
            result = _multiply(result, base)
    return result


@settings(deadline=None)
@given(st.integers(0, P - 1), st.integers(1, P - 1))
def test_root_rule_of_g2_is_the_exponentiation_of_the_crate(c0: int, c1: int) -> None:
    """The square root by exponentiation is the root whose doubled real part is a square."""
    root = (c0 or 1, c1)
    square = _multiply(root, root)
    a1 = _power(square, (P - 3) // 4)
    alpha = _multiply(_multiply(a1, a1), square)
    x0 = _multiply(a1, square)
    by_crate = _multiply(_power(((1 + alpha[0]) % P, alpha[1]), (P - 1) // 2), x0)
    assert _multiply(by_crate, by_crate) == square
    assert pow(2 * by_crate[0], (P - 1) // 2, P) == 1


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_random_points_lie_in_their_subgroups(seed: bytes) -> None:
    g1, g2 = bls.random_g1(seed), bls.random_g2(seed)
    assert bls.decode_g1(bls.encode_g1(g1)) == g1 == bls.random_g1(seed)
    assert bls.decode_g2(bls.encode_g2(g2)) == g2


def test_random_scalar_is_the_reduced_start_of_the_keystream() -> None:
    # The first 64 bytes of ChaCha20 with a zero key, as published for rand_chacha.
    stream = bytes.fromhex(
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    )
    assert bls.random_scalar(bytes(32)) == bls.scalar_from_wide(stream)
    with pytest.raises(FatalError):
        bls.random_scalar(bytes(31))
    with pytest.raises(FatalError):
        bls.scalar_from_wide(bytes(32))


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_garbage_is_a_decode_error(data: bytes) -> None:
    for decode in (bls.decode_g1, bls.decode_g2, bls.decode_scalar):
        with pytest.raises(DecodeError):
            decode(data[:31])
    for decode, size in ((bls.decode_g1, bls.G1_SIZE), (bls.decode_g2, bls.G2_SIZE)):
        padded = (data + bytes(size))[:size]
        with pytest.raises(DecodeError):
            decode(bytes([padded[0] & 0x7F]) + padded[1:])


def test_points_outside_the_subgroup_are_refused() -> None:
    """The cofactor is so large that the first point over a small x lies outside."""
    for x in range(1, 100):
        data = bytes([0x80]) + x.to_bytes(47, "big")
        try:
            point = bls.G1Point.from_compressed_bytes_unchecked(data)
        except ValueError:
            continue
        assert not point.is_in_subgroup()
        with pytest.raises(DecodeError):
            bls.decode_g1(data)
        return
    pytest.fail("no point with a small x was found")


def test_encoding_round_trips() -> None:
    scalar = bls.random_scalar(bytes(32))
    g1, g2 = G1 * scalar, G2 * scalar
    assert bls.decode_g1(bls.encode_g1(g1)) == g1
    assert bls.decode_g2(bls.encode_g2(g2)) == g2
    assert bls.decode_scalar(bls.encode_scalar(scalar)) == scalar
    with pytest.raises(DecodeError):
        bls.decode_scalar(b"\xff" * 32)


@pytest.mark.parametrize(("threshold", "guardians"), [(1, 1), (3, 4), (4, 5), (5, 7)])
def test_every_threshold_of_shares_gives_the_same_point(threshold: int, guardians: int) -> None:
    coefficients = [bls.random_scalar(bytes([i]) * 32) for i in range(threshold)]
    shares = []
    for peer in range(guardians):
        value = bls.scalar(0)
        for coefficient in reversed(coefficients):
            value = value * bls.scalar(peer + 1) + coefficient
        shares.append(value)
    for peers in combinations(range(guardians), threshold):
        g1 = [G1 * shares[peer] for peer in peers]
        assert bls.interpolate(peers, g1, IDENTITY_G1) == G1 * coefficients[0]
        g2 = [G2 * shares[peer] for peer in peers]
        assert bls.interpolate(peers, g2, IDENTITY_G2) == G2 * coefficients[0]


def test_interpolation_of_three_of_four_has_small_numerators() -> None:
    weights = bls.interpolation((0, 1, 2))
    assert weights.numerators == (3, -3, 1)
    assert weights.inverse_denominator == bls.scalar(1)
    for peers in ((), (1, 1)):
        with pytest.raises(FatalError):
            bls.interpolation(peers)


def test_pairings_are_bilinear() -> None:
    scalar = bls.random_scalar(b"\x07" * 32)
    assert bls.pairings_equal((G1 * scalar, G2), (G1, G2 * scalar))
    assert not bls.pairings_equal((G1 * scalar, G2), (G1, G2))
    assert bls.pairings_product_is_one([], [])


@pytest.mark.parametrize(("size", "decode"), [(48, bls.decode_g1), (96, bls.decode_g2)])
def test_the_identity_has_one_encoding(
    size: int, decode: Callable[[bytes], bls.G1Point | bls.G2Point]
) -> None:
    """Guardians refuse all others: a contract with one could be taken and never be funded."""
    assert decode(b"\xc0" + bytes(size - 1)) in {IDENTITY_G1, IDENTITY_G2}
    for bad in (b"\xff" * size, b"\xe0" + bytes(size - 1), b"\xc0" + bytes(size - 2) + b"\1"):
        with pytest.raises(DecodeError):
            decode(bad)
