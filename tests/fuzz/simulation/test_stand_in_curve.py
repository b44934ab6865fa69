"""The stand-in curve succeeds and fails as the real one does."""

import random
from collections.abc import Iterator

import pytest

from fedimint.codec.errors import DecodeError
from fedimint.codec.wire_types import PeerId
from fedimint.crypto import bls, tbs
from fedimint.crypto.bls import BLS12_381
from fedimint.crypto.curve import Curve
from fedimint.lnv2 import tpe
from fuzz.simulation.stand_in_curve import STAND_IN

THRESHOLD, GUARDIANS = 3, 4


@pytest.fixture(params=[BLS12_381, STAND_IN], ids=["real", "stand-in"])
def curve(request: pytest.FixtureRequest) -> Iterator[Curve]:
    with bls.using(request.param):
        yield request.param


def _signed(*, forged: bool) -> tbs.Signed:
    random_bytes = random.Random(1).randbytes
    keys = tbs.deal(THRESHOLD, GUARDIANS, random_bytes)
    message = tbs.message_v2(bytes(33))
    blinding = bls.scalar_from_wide(random_bytes(64))
    blinded = tbs.blind(message, blinding)
    shares = {PeerId(p): tbs.sign_share(blinded, keys.secret_shares[p]) for p in (0, 2, 3)}
    for peer, share in shares.items():
        assert tbs.verify(tbs.Signed(blinded, share, keys.public_keys[peer]))
        assert not tbs.verify(tbs.Signed(blinded, share, keys.public_keys[1]))
    if forged:
        shares[PeerId(2)] = bls.g1_generator()
    signature = tbs.aggregate_and_unblind(shares, blinding)
    assert signature == tbs.unblind(tbs.aggregate(shares), blinding)
    return tbs.Signed(message, signature, keys.aggregate_key)


@pytest.mark.usefixtures("curve")
def test_blind_signatures_verify_unless_a_share_is_forged() -> None:
    good, bad = _signed(forged=False), _signed(forged=True)
    assert tbs.verify(good)
    assert not tbs.verify(bad)
    assert tbs.verify_all([good, good, good], random.Random(2).randbytes)
    assert not tbs.verify_all([good, bad, good], random.Random(2).randbytes)


@pytest.mark.usefixtures("curve")
def test_a_preimage_is_decrypted_unless_a_share_is_forged() -> None:
    random_bytes = random.Random(3).randbytes
    keys = tpe.deal(THRESHOLD, GUARDIANS, random_bytes)
    preimage, commitment = random_bytes(32), random_bytes(32)
    ciphertext = tpe.encrypt(keys.aggregate_key, random_bytes(32), preimage, commitment)
    assert tpe.verify_ciphertext(ciphertext, commitment)
    assert not tpe.verify_ciphertext(ciphertext, bytes(32))
    shares = {PeerId(p): tpe.create_share(keys.secret_shares[p], ciphertext) for p in (0, 1, 3)}
    for peer, share in shares.items():
        assert tpe.verify_share(keys.public_keys[peer], share, ciphertext, commitment)
        assert not tpe.verify_share(keys.public_keys[2], share, ciphertext, commitment)
    key = tpe.aggregate(shares)
    assert tpe.verify_aggregate(keys.aggregate_key, key, ciphertext, commitment)
    assert tpe.decrypt(ciphertext, key) == preimage
    wrong = tpe.aggregate({**shares, PeerId(0): bls.encode_g1(bls.g1_generator())})
    assert not tpe.verify_aggregate(keys.aggregate_key, wrong, ciphertext, commitment)
    assert tpe.decrypt(ciphertext, wrong) != preimage


@pytest.mark.usefixtures("curve")
def test_points_and_scalars_travel_in_canonical_form_only() -> None:
    g1, g2 = bls.random_g1(bytes(32)), bls.random_g2(bytes(32))
    assert bls.decode_g1(bls.encode_g1(g1)) == g1
    assert bls.decode_g2(bls.encode_g2(g2)) == g2
    assert g1 - g1 == bls.g1_identity() == g1 + -g1
    for bad in (
        b"",
        bytes(48),
        b"\xff" * 48,
        b"\x9f" + b"\xff" * 47,
        bls.encode_g1(g1)[:-1],
        bls.encode_g2(g2),
    ):
        with pytest.raises(DecodeError):
            bls.decode_g1(bad)
    for bad in (b"", bytes(96), b"\xff" * 96, b"\x9f" + b"\xff" * 95, bls.encode_g1(g1)):
        with pytest.raises(DecodeError):
            bls.decode_g2(bad)
    scalar = bls.random_scalar(bytes(32))
    assert bls.decode_scalar(bls.encode_scalar(scalar)) == scalar
    assert scalar * scalar.inverse() == bls.scalar(1)
    with pytest.raises(DecodeError):
        bls.decode_scalar(b"\xff" * 32)


def test_points_of_one_curve_are_none_on_the_other() -> None:
    real = bls.encode_g1(bls.g1_generator())
    with bls.using(STAND_IN):
        with pytest.raises(DecodeError):
            bls.decode_g1(real)
        stand_in = bls.encode_g1(bls.g1_generator())
    with pytest.raises(DecodeError):
        bls.decode_g1(stand_in)
