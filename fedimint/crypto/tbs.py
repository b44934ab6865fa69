"""Threshold blind signatures of the mints: messages and signatures in G1, public keys in G2.

Source: fedimint-tbs src/lib.rs. Everything here works on points and scalars of `fedimint.crypto.bls`,
which have been checked when they were decoded; bytes are the caller's affair.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from errors import FatalError
from fedimint.codec.wire_types import PeerId
from fedimint.crypto import bls
from fedimint.crypto.bls import G1Point, G2Point, Scalar

_MESSAGE_TAG_V1: Final = b"TBS_BLS12-381_"
_MESSAGE_TAG_V2: Final = b"FEDIMINT_TBS_BLS12_381_MESSAGE"

# A false batch passes with probability 2^-128 when the weights have this many random bytes.
_WEIGHT_SIZE: Final = 16


class DealtKeys(NamedTuple):
    """The keys of one denomination, as a dealer hands them out; lists are in the order of peers."""

    aggregate_key: G2Point
    public_keys: tuple[G2Point, ...]
    secret_shares: tuple[Scalar, ...]

    def __repr__(self) -> str:
        return f"DealtKeys(guardians={len(self.public_keys)})"


class Signed(NamedTuple):
    """A claim to verify: this signature on this message under this key."""

    message: G1Point
    signature: G1Point
    key: G2Point


def message_v1(nonce: bytes) -> G1Point:
    """What a mint v1 guardian signs for a nonce of 33 bytes."""
    return bls.random_g1(hashlib.sha3_256(_MESSAGE_TAG_V1 + nonce).digest())


def message_v2(nonce: bytes) -> G1Point:
    """What a mintv2 guardian signs for a nonce of 33 bytes."""
    return bls.random_g1(hashlib.sha256(_MESSAGE_TAG_V2 + nonce).digest())


def blind(message: G1Point, blinding: Scalar) -> G1Point:
    """The message as the guardians see it."""
    return message * blinding


def sign_share(blinded: G1Point, secret_share: Scalar) -> G1Point:
    """One guardian's share of the blind signature."""
    return blinded * secret_share


def aggregate(shares: Mapping[PeerId, G1Point]) -> G1Point:
    """The blind signature from exactly threshold shares by peer; a single share is used as is."""
    peers = tuple(shares)
    return bls.interpolate(peers, [shares[peer] for peer in peers], bls.g1_identity())


def unblind(blind_signature: G1Point, blinding: Scalar) -> G1Point:
    """The signature on the message itself. A blinding scalar is never zero."""
    return blind_signature * blinding.inverse()


def aggregate_and_unblind(shares: Mapping[PeerId, G1Point], blinding: Scalar) -> G1Point:
    """`unblind(aggregate(shares))` with one full multiplication instead of two."""
    peers = tuple(shares)
    weights = bls.interpolation(peers)
    points = [shares[peer] for peer in peers]
    total = bls.weighted_sum(weights.numerators, points, bls.g1_identity())
    return total * (weights.inverse_denominator * blinding.inverse())


def verify(signed: Signed) -> bool:
    """Whether e(message, key) = e(signature, generator).

    Serves the three checks of the scheme: a guardian's share over the blinded message, a blind
    signature, and a note over its message under the aggregate key.
    """
    return bls.pairings_equal((signed.message, signed.key), (signed.signature, bls.g2_generator()))


def verify_all(batch: Sequence[Signed], random_bytes: Callable[[int], bytes]) -> bool:
    """Whether every member of the batch verifies, by one product of pairings.

    Each equation is raised to a random weight of 128 bits, drawn only now, so that errors of
    different members cannot cancel out. There is one pairing for every distinct key, and one more.
    """
    if not batch:
        return True
    weights = [_weight(random_bytes) for _ in batch]
    by_key: dict[G2Point, tuple[list[G1Point], list[Scalar]]] = {}
    for signed, weight in zip(batch, weights, strict=True):
        messages, message_weights = by_key.setdefault(signed.key, ([], []))
        messages.append(signed.message)
        message_weights.append(weight)
    left = [bls.multiply_sum_g1(*group) for group in by_key.values()]
    right = bls.multiply_sum_g1([signed.signature for signed in batch], weights)
    return bls.pairings_product_is_one([*left, -right], [*by_key, bls.g2_generator()])


def deal(threshold: int, guardians: int, random_bytes: Callable[[int], bytes]) -> DealtKeys:
    """Keys for guardians that live in one process: any `threshold` of them can sign."""
    secret, shares = bls.deal(threshold, guardians, random_bytes)
    generator = bls.g2_generator()
    return DealtKeys(generator * secret, tuple(generator * share for share in shares), shares)


def _weight(random_bytes: Callable[[int], bytes]) -> Scalar:
    drawn = random_bytes(_WEIGHT_SIZE)
    if len(drawn) != _WEIGHT_SIZE:
        raise FatalError(f"the source of randomness gave {len(drawn)} of {_WEIGHT_SIZE} bytes")
    return bls.scalar(int.from_bytes(drawn, "little"))
