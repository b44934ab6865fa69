"""Decrypting incoming contracts: by dealt keys, with shares that are wrong, missing or of others."""

import os
import pickle

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import InputError
from fedimint import lnv2
from fedimint.codec import secp
from fedimint.codec.wire_types import FeeConsensus, PeerId, consensus_hash
from fedimint.crypto import bls
from fedimint.lnv2 import tpe
from fedimint.lnv2.config import LnV2ClientConfig
from fedimint.lnv2.decryption import Decrypted, Decryption, decrypt

THRESHOLD, GUARDIANS = 3, 4
PREIMAGE = b"\x02" * 32
DEALT = tpe.deal(THRESHOLD, GUARDIANS, os.urandom)
KEYS = LnV2ClientConfig(
    DEALT.aggregate_key,
    {PeerId(peer): key for peer, key in enumerate(DEALT.public_keys)},
    FeeConsensus(0, 0),
    "regtest",
)


def _contract() -> lnv2.IncomingContract:
    key = secp.public_key(b"\x01" * 32)
    image = lnv2.HashImage(consensus_hash(PREIMAGE))
    commitment = lnv2.Commitment(image, 1_000, 2_000_000_000, key, key, key)
    commitment_hash = consensus_hash(lnv2.COMMITMENT.encode(commitment))
    ciphertext = tpe.encrypt(DEALT.aggregate_key, b"\x03" * 32, PREIMAGE, commitment_hash)
    return lnv2.IncomingContract(commitment, ciphertext)


CONTRACT = _contract()
SHARES = {
    PeerId(peer): tpe.create_share(secret, CONTRACT.ciphertext)
    for peer, secret in enumerate(DEALT.secret_shares)
}
ANOTHER_POINT = bls.encode_g1(bls.G1Point())


def _decrypt(shares: dict[PeerId, bytes], keys: LnV2ClientConfig = KEYS) -> Decryption:
    return decrypt(CONTRACT, shares, keys, threshold=THRESHOLD)


def test_any_threshold_shows_the_preimage_and_the_same_key() -> None:
    keys = set()
    for left_out in SHARES:
        done = _decrypt({peer: share for peer, share in SHARES.items() if peer != left_out})
        assert done.decrypted is not None
        assert lnv2.is_preimage(CONTRACT.commitment.payment_image, done.decrypted.preimage)
        assert (done.bad_peers, done.missing_peers) == ((), 0)
        keys.add(done.decrypted.decryption_key)
    assert len(keys) == 1
    assert _decrypt(SHARES).decrypted == Decrypted(PREIMAGE, keys.pop())


@settings(deadline=None, max_examples=20)
@given(
    bad_peer=st.sampled_from(sorted(SHARES)),
    garbage=st.sampled_from([b"", b"\xff" * 48, ANOTHER_POINT, SHARES[PeerId(3)]]),
)
def test_a_wrong_share_is_found_and_another_takes_its_place(
    bad_peer: PeerId, garbage: bytes
) -> None:
    done = _decrypt({**SHARES, bad_peer: garbage})
    assert done.decrypted is not None
    assert done.decrypted.preimage == PREIMAGE
    # Guardian 3 is not looked at unless one of the first three fails.
    assert done.bad_peers == (() if bad_peer == 3 else (bad_peer,))


def test_too_few_good_shares_decide_nothing() -> None:
    assert _decrypt({}) == Decryption(None, (), 3)
    shares = {**SHARES, PeerId(0): ANOTHER_POINT, PeerId(2): b""}
    assert _decrypt(shares) == Decryption(None, (PeerId(0), PeerId(2)), 1)


def test_a_stranger_among_the_guardians_is_a_bad_peer() -> None:
    shares = {PeerId(9): ANOTHER_POINT, PeerId(0): SHARES[PeerId(0)], PeerId(1): SHARES[PeerId(1)]}
    assert _decrypt(shares) == Decryption(None, (PeerId(9),), 1)


def test_keys_that_contradict_each_other_blame_nobody() -> None:
    other = tpe.deal(THRESHOLD, GUARDIANS, os.urandom)
    keys = msgspec.structs.replace(KEYS, tpe_agg_pk=other.aggregate_key)
    assert _decrypt(SHARES, keys) == Decryption(None)


def test_an_invalid_ciphertext_blames_no_guardian() -> None:
    ciphertext = msgspec.structs.replace(CONTRACT.ciphertext, encrypted_preimage=bytes(32))
    contract = msgspec.structs.replace(CONTRACT, ciphertext=ciphertext)
    with pytest.raises(InputError, match="ciphertext"):
        decrypt(contract, SHARES, KEYS, threshold=THRESHOLD)


def test_it_can_cross_to_a_worker_and_hides_what_it_found() -> None:
    done: Decryption = pickle.loads(pickle.dumps(_decrypt(SHARES)))  # noqa: S301 - our own
    assert done.decrypted is not None
    assert done.decrypted.preimage == PREIMAGE
    assert repr(done) == "Decryption(decrypted=Decrypted(…), bad_peers=(), missing_peers=0)"
