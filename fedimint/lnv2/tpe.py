"""Threshold encryption of the preimages of lnv2 incoming contracts.

Source: fedimint-tpe src/lib.rs. Public keys, decryption shares and aggregate decryption keys are
48 bytes (G1, compressed). A `commitment_hash` is the sha256 that the ciphertext is bound to.

Shares and aggregates can be judged only under a ciphertext that `verify_ciphertext` accepts: under
any other, an honest guardian's share looks wrong.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from errors import InputError
from fedimint.codec.errors import DecodeError
from fedimint.codec.wire_types import PeerId
from fedimint.crypto import bls
from fedimint.crypto.bls import G2Point, Scalar
from fedimint.lnv2 import CipherText

PREIMAGE_SIZE: Final = 32
_MESSAGE_TAG: Final = b"FEDIMINT_TPE_BLS12_381_MESSAGE"


class DealtKeys(NamedTuple):
    """The keys of a federation, as a dealer hands them out; lists are in the order of peers."""

    aggregate_key: bytes
    public_keys: tuple[bytes, ...]
    secret_shares: tuple[Scalar, ...]

    def __repr__(self) -> str:
        return f"DealtKeys(guardians={len(self.public_keys)})"


def encrypt(
    aggregate_key: bytes, encryption_seed: bytes, preimage: bytes, commitment_hash: bytes
) -> CipherText:
    """Encrypt a preimage of 32 bytes to a threshold of the guardians.

    The seed, 32 bytes, must be fresh and secret. Raises DecodeError for a bad key.
    """
    ephemeral_secret = bls.random_scalar(encryption_seed)
    key = bls.encode_g1(bls.decode_g1(aggregate_key) * ephemeral_secret)
    encrypted = _mask(preimage, key)
    ephemeral_key = bls.encode_g1(bls.g1_generator() * ephemeral_secret)
    message = _message(encrypted, ephemeral_key, commitment_hash)
    return CipherText(encrypted, ephemeral_key, bls.encode_g2(message * ephemeral_secret))


def verify_ciphertext(ciphertext: CipherText, commitment_hash: bytes) -> bool:
    """Whether the ciphertext is well formed and was made for this commitment; never raises."""
    try:
        ephemeral_key = bls.decode_g1(ciphertext.pk)
        signature = bls.decode_g2(ciphertext.signature)
    except DecodeError:
        return False
    message = _message_of(ciphertext, commitment_hash)
    return bls.pairings_equal((bls.g1_generator(), signature), (ephemeral_key, message))


def create_share(secret_share: Scalar, ciphertext: CipherText) -> bytes:
    """One guardian's decryption share, 48 bytes. Raises DecodeError for a bad ciphertext."""
    return bls.encode_g1(bls.decode_g1(ciphertext.pk) * secret_share)


def verify_share(
    public_key: bytes, share: bytes, ciphertext: CipherText, commitment_hash: bytes
) -> bool:
    """Whether a guardian's share is the right one; False for bytes that are not a point.

    The ciphertext must be valid. Raises DecodeError when the guardian's key is bad.
    """
    key = bls.decode_g1(public_key)
    signature = bls.decode_g2(ciphertext.signature)
    try:
        point = bls.decode_g1(share)
    except DecodeError:
        return False
    message = _message_of(ciphertext, commitment_hash)
    return bls.pairings_equal((point, message), (key, signature))


def aggregate(shares: Mapping[PeerId, bytes]) -> bytes:
    """The aggregate decryption key from exactly threshold shares by peer. Raises DecodeError."""
    peers = tuple(shares)
    points = [bls.decode_g1(shares[peer]) for peer in peers]
    return bls.encode_g1(bls.interpolate(peers, points, bls.g1_identity()))


def verify_aggregate(
    aggregate_key: bytes, decryption_key: bytes, ciphertext: CipherText, commitment_hash: bytes
) -> bool:
    """Whether a decryption key is the one the federation would reach; as `verify_share`."""
    return verify_share(aggregate_key, decryption_key, ciphertext, commitment_hash)


def decrypt(ciphertext: CipherText, decryption_key: bytes) -> bytes:
    """The 32 bytes under the mask; whether they are the preimage, their hash must show."""
    return _mask(ciphertext.encrypted_preimage, decryption_key)


def deal(threshold: int, guardians: int, random_bytes: Callable[[int], bytes]) -> DealtKeys:
    """Keys for guardians that live in one process: any `threshold` of them can decrypt."""
    secret, shares = bls.deal(threshold, guardians, random_bytes)
    generator = bls.g1_generator()
    return DealtKeys(
        bls.encode_g1(generator * secret),
        tuple(bls.encode_g1(generator * share) for share in shares),
        shares,
    )


def _mask(data: bytes, decryption_key: bytes) -> bytes:
    """XOR with the hash of the key: encrypts and decrypts."""
    if len(data) != PREIMAGE_SIZE:
        raise InputError(f"a preimage has {PREIMAGE_SIZE} bytes, not {len(data)}")
    mask = hashlib.sha256(decryption_key).digest()
    return bytes(left ^ right for left, right in zip(data, mask, strict=True))


def _message_of(ciphertext: CipherText, commitment_hash: bytes) -> G2Point:
    return _message(ciphertext.encrypted_preimage, ciphertext.pk, commitment_hash)


def _message(encrypted_preimage: bytes, ephemeral_key: bytes, commitment_hash: bytes) -> G2Point:
    preimage_of_seed = _MESSAGE_TAG + encrypted_preimage + ephemeral_key + commitment_hash
    return bls.random_g2(hashlib.sha256(preimage_of_seed).digest())
