"""Threshold blind signatures: blinding, combining, verifying."""

import hashlib
import os
from collections.abc import Callable, Iterator
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import FatalError
from fedimint.codec.wire_types import PeerId
from fedimint.crypto import bls, tbs

NONCE = b"\x02" + bytes(32)


def _seeded(seed: int) -> Iterator[bytes]:
    counter = 0
    while True:
        yield hashlib.sha512(f"{seed} {counter}".encode()).digest()
        counter += 1


def random_bytes(seed: int = 0) -> Callable[[int], bytes]:
    stream = _seeded(seed)
    return lambda size: next(stream)[:size]


@pytest.mark.parametrize(("threshold", "guardians"), [(1, 1), (3, 4), (5, 7)])
def test_any_threshold_of_guardians_makes_the_same_valid_note(
    threshold: int, guardians: int
) -> None:
    keys = tbs.deal(threshold, guardians, random_bytes())
    blinding = bls.random_scalar(b"\x01" * 32)
    message = tbs.message_v2(NONCE)
    blinded = tbs.blind(message, blinding)
    shares = [tbs.sign_share(blinded, secret) for secret in keys.secret_shares]
    for share, key in zip(shares, keys.public_keys, strict=True):
        assert tbs.verify(tbs.Signed(blinded, share, key))
    signatures = set()
    for peers in combinations(range(guardians), threshold):
        chosen = {PeerId(peer): shares[peer] for peer in peers}
        blind_signature = tbs.aggregate(chosen)
        assert tbs.verify(tbs.Signed(blinded, blind_signature, keys.aggregate_key))
        signature = tbs.unblind(blind_signature, blinding)
        assert signature == tbs.aggregate_and_unblind(chosen, blinding)
        signatures.add(bls.encode_g1(signature))
    assert len(signatures) == 1
    signature = bls.decode_g1(signatures.pop())
    assert tbs.verify(tbs.Signed(message, signature, keys.aggregate_key))
    assert not tbs.verify(tbs.Signed(tbs.message_v1(NONCE), signature, keys.aggregate_key))


def test_a_single_share_is_used_as_it_is() -> None:
    point = bls.random_g1(bytes(32))
    assert tbs.aggregate({PeerId(0): point}) == point


def test_a_threshold_of_one_less_makes_no_note() -> None:
    keys = tbs.deal(3, 4, random_bytes())
    message = tbs.message_v2(NONCE)
    shares = {PeerId(i): tbs.sign_share(message, keys.secret_shares[i]) for i in range(2)}
    assert not tbs.verify(tbs.Signed(message, tbs.aggregate(shares), keys.aggregate_key))


def _batch(size: int, key_count: int) -> list[tbs.Signed]:
    dealt = [tbs.deal(1, 1, random_bytes(seed)) for seed in range(key_count)]
    batch = []
    for index in range(size):
        message = tbs.message_v2(b"\x02" + index.to_bytes(32, "big"))
        keys = dealt[index % key_count]
        signature = tbs.sign_share(message, keys.secret_shares[0])
        batch.append(tbs.Signed(message, signature, keys.aggregate_key))
    return batch


@settings(max_examples=20, deadline=None)
@given(size=st.integers(0, 7), key_count=st.integers(1, 4), data=st.data())
def test_a_batch_is_good_exactly_when_all_of_it_is(
    size: int, key_count: int, data: st.DataObject
) -> None:
    batch = _batch(size, key_count)
    assert tbs.verify_all(batch, os.urandom)
    if not batch:
        return
    position = data.draw(st.integers(0, size - 1))
    batch[position] = batch[position]._replace(signature=bls.g1_generator())
    assert not tbs.verify_all(batch, os.urandom)


def test_errors_that_cancel_out_in_a_plain_sum_do_not_pass() -> None:
    first, second = _batch(2, 1)
    error = bls.g1_generator()
    forged = [
        first._replace(signature=first.signature + error),
        second._replace(signature=second.signature - error),
    ]
    assert bls.pairings_equal(
        (first.message + second.message, first.key),
        (forged[0].signature + forged[1].signature, bls.g2_generator()),
    )
    assert not tbs.verify_all(forged, os.urandom)


def test_weights_come_from_a_source_that_must_not_run_short() -> None:
    with pytest.raises(FatalError):
        tbs.verify_all(_batch(1, 1), lambda size: bytes(size - 1))


def test_a_dealer_refuses_an_impossible_threshold() -> None:
    for threshold in (0, 5):
        with pytest.raises(FatalError):
            tbs.deal(threshold, 4, random_bytes())


def test_dealt_keys_do_not_show_their_secrets() -> None:
    assert repr(tbs.deal(1, 1, random_bytes())) == "DealtKeys(guardians=1)"
