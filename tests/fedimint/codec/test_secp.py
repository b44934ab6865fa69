"""secp256k1: keys, signatures, ECDH and tweaks."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import FatalError
from fedimint.codec import secp
from fedimint.codec.errors import DecodeError

GENERATOR = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
ONE = (1).to_bytes(32, "big")
SECRETS = st.integers(1, secp.GROUP_ORDER - 1).map(lambda value: value.to_bytes(32, "big"))


def test_bip340_vector_0_has_zero_auxiliary_randomness() -> None:
    secret = (3).to_bytes(32, "big")
    expected = bytes.fromhex(
        "e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca8215"
        "25f66a4a85ea8b71e482a74f382d2ce5ebeee8fdb2172f477df4900d310536c0"
    )
    assert secp.sign_schnorr(secret, bytes(32)) == expected
    x_only = secp.public_key(secret)[1:]
    assert x_only.hex() == "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9"
    assert secp.verify_schnorr(x_only, bytes(32), expected)


def test_public_key_of_one_is_the_generator() -> None:
    assert secp.public_key(ONE) == GENERATOR


@settings(deadline=None)
@given(secret=SECRETS, digest=st.binary(min_size=32, max_size=32))
def test_signature_verifies_under_both_parities_and_x_only(secret: bytes, digest: bytes) -> None:
    key = secp.public_key(secret)
    signature = secp.sign_schnorr(secret, digest)
    assert signature == secp.sign_schnorr(secret, digest)
    for form in (key, bytes([key[0] ^ 1]) + key[1:], key[1:]):
        assert secp.verify_schnorr(form, digest, signature)
    assert not secp.verify_schnorr(key, hashlib.sha256(digest).digest(), signature)


@settings(deadline=None)
@given(key=st.binary(max_size=70), digest=st.binary(max_size=40), sig=st.binary(max_size=70))
def test_verify_never_raises_on_garbage(key: bytes, digest: bytes, sig: bytes) -> None:
    assert secp.verify_schnorr(key, digest, sig) is False


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_verify_refuses_wrong_digest_and_signature_sizes(size: int) -> None:
    signature = secp.sign_schnorr(ONE, bytes(32))
    assert secp.verify_schnorr(GENERATOR, bytes(32), signature)
    assert not secp.verify_schnorr(GENERATOR, bytes(size), signature)
    assert not secp.verify_schnorr(GENERATOR, bytes(32), (signature + signature)[:size][:63])
    assert not secp.verify_schnorr(b"\x04" + GENERATOR[1:], bytes(32), signature)


@settings(deadline=None)
@given(first=SECRETS, second=SECRETS)
def test_ecdh_agrees_and_hashes_the_compressed_point(first: bytes, second: bytes) -> None:
    shared = secp.ecdh(first, secp.public_key(second))
    assert shared == secp.ecdh(second, secp.public_key(first))
    point = secp.multiply_public_key(secp.public_key(first), second)
    assert shared == hashlib.sha256(point).digest()


@settings(deadline=None)
@given(secret=SECRETS, tweak=SECRETS)
def test_tweaks_of_secret_and_key_agree(secret: bytes, tweak: bytes) -> None:
    product = secp.multiply_secret(secret, tweak)
    assert secp.public_key(product) == secp.multiply_public_key(secp.public_key(secret), tweak)
    expected = int.from_bytes(secret, "big") * int.from_bytes(tweak, "big") % secp.GROUP_ORDER
    assert int.from_bytes(product, "big") == expected


BAD_SECRETS = [b"", bytes(31), bytes(32), ONE + b"\0", secp.GROUP_ORDER.to_bytes(32, "big")]
BAD_KEYS = [b"", GENERATOR[1:], b"\x04" + GENERATOR[1:], b"\x02" + b"\xff" * 32, GENERATOR + b"\0"]


@pytest.mark.parametrize("secret", BAD_SECRETS)
def test_bad_secrets_are_decode_errors_without_their_bytes(secret: bytes) -> None:
    assert not secp.is_valid_secret(secret)
    with pytest.raises(DecodeError) as raised:
        secp.public_key(secret)
    assert not secret or secret.hex() not in str(raised.value)
    with pytest.raises(DecodeError):
        secp.multiply_secret(ONE, secret)


@pytest.mark.parametrize("key", BAD_KEYS)
def test_bad_public_keys_are_decode_errors(key: bytes) -> None:
    assert not secp.is_valid_public_key(key)
    with pytest.raises(DecodeError):
        secp.ecdh(ONE, key)
    with pytest.raises(DecodeError):
        secp.multiply_public_key(key, ONE)


def test_only_digests_are_signed() -> None:
    with pytest.raises(FatalError):
        secp.sign_schnorr(ONE, b"a message")
