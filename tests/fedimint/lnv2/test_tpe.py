"""Threshold encryption of preimages."""

import os
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import InputError
from fedimint.codec.errors import DecodeError
from fedimint.codec.wire_types import PeerId
from fedimint.crypto import bls
from fedimint.lnv2 import CipherText, tpe

SEED, PREIMAGE, COMMITMENT = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32


@pytest.mark.parametrize(("threshold", "guardians"), [(1, 1), (3, 4)])
def test_any_threshold_of_guardians_decrypts(threshold: int, guardians: int) -> None:
    keys = tpe.deal(threshold, guardians, os.urandom)
    ciphertext = tpe.encrypt(keys.aggregate_key, SEED, PREIMAGE, COMMITMENT)
    assert tpe.verify_ciphertext(ciphertext, COMMITMENT)
    shares = [tpe.create_share(secret, ciphertext) for secret in keys.secret_shares]
    for share, key in zip(shares, keys.public_keys, strict=True):
        assert tpe.verify_share(key, share, ciphertext, COMMITMENT)
    for peers in combinations(range(guardians), threshold):
        key = tpe.aggregate({PeerId(peer): shares[peer] for peer in peers})
        assert tpe.verify_aggregate(keys.aggregate_key, key, ciphertext, COMMITMENT)
        assert tpe.decrypt(ciphertext, key) == PREIMAGE


def test_the_same_seed_encrypts_the_same() -> None:
    keys = tpe.deal(3, 4, os.urandom)
    first = tpe.encrypt(keys.aggregate_key, SEED, PREIMAGE, COMMITMENT)
    assert first == tpe.encrypt(keys.aggregate_key, SEED, PREIMAGE, COMMITMENT)
    assert first != tpe.encrypt(keys.aggregate_key, bytes(32), PREIMAGE, COMMITMENT)


def test_a_ciphertext_cannot_be_changed_or_moved() -> None:
    keys = tpe.deal(1, 1, os.urandom)
    good = tpe.encrypt(keys.aggregate_key, SEED, PREIMAGE, COMMITMENT)
    other = tpe.encrypt(keys.aggregate_key, bytes(32), PREIMAGE, COMMITMENT)
    assert not tpe.verify_ciphertext(good, bytes(32))
    for changed in (
        CipherText(other.encrypted_preimage, good.pk, good.signature),
        CipherText(good.encrypted_preimage, other.pk, good.signature),
        CipherText(good.encrypted_preimage, good.pk, other.signature),
    ):
        assert not tpe.verify_ciphertext(changed, COMMITMENT)


@settings(deadline=None, max_examples=50)
@given(pk=st.binary(max_size=60), signature=st.binary(max_size=100))
def test_garbage_is_not_a_valid_ciphertext(pk: bytes, signature: bytes) -> None:
    assert not tpe.verify_ciphertext(CipherText(bytes(32), pk, signature), COMMITMENT)


def test_wrong_shares_are_told_apart() -> None:
    keys = tpe.deal(3, 4, os.urandom)
    ciphertext = tpe.encrypt(keys.aggregate_key, SEED, PREIMAGE, COMMITMENT)
    shares = [tpe.create_share(secret, ciphertext) for secret in keys.secret_shares]
    assert not tpe.verify_share(keys.public_keys[0], shares[1], ciphertext, COMMITMENT)
    for garbage in (b"", bytes(48), shares[0] + b"\0"):
        assert not tpe.verify_share(keys.public_keys[0], garbage, ciphertext, COMMITMENT)
    wrong = tpe.aggregate({PeerId(0): shares[0], PeerId(1): shares[1], PeerId(2): shares[3]})
    assert not tpe.verify_aggregate(keys.aggregate_key, wrong, ciphertext, COMMITMENT)
    assert tpe.decrypt(ciphertext, wrong) != PREIMAGE


def test_what_is_ours_to_get_right_is_refused_loudly() -> None:
    keys = tpe.deal(1, 1, os.urandom)
    with pytest.raises(InputError):
        tpe.encrypt(keys.aggregate_key, SEED, bytes(31), COMMITMENT)
    with pytest.raises(DecodeError):
        tpe.encrypt(bytes(48), SEED, PREIMAGE, COMMITMENT)
    with pytest.raises(DecodeError):
        tpe.aggregate({PeerId(0): bytes(48)})
    with pytest.raises(DecodeError):
        tpe.create_share(bls.Scalar(1), CipherText(bytes(32), b"", b""))
    assert repr(keys) == "DealtKeys(guardians=1)"
