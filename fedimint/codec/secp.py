"""secp256k1: keys, BIP-340 signatures over raw digests, ECDH and multiplicative tweaks.

Public keys are 33-byte compressed points and keep their natural parity: BIP-340 ignores it, but
hashes and comparisons of the federation protocol do not. Secrets are 32 bytes, big-endian.
"""

from typing import NewType

import coincurve

from errors import FatalError
from fedimint.codec.errors import DecodeError

SecretKey = NewType("SecretKey", bytes)
"""32 bytes, big-endian, between 1 and the group order less one."""

PublicKey = NewType("PublicKey", bytes)
"""33 bytes: a compressed point, parity byte 02 or 03 in front."""

Signature = NewType("Signature", bytes)
"""64 bytes: a BIP-340 signature."""

GROUP_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_SECRET_SIZE = 32
_DIGEST_SIZE = 32
_COMPRESSED_SIZE = 33
_X_ONLY_SIZE = 32
_SIGNATURE_SIZE = 64
_NO_AUX_RANDOMNESS = bytes(32)


def is_valid_secret(secret: bytes) -> bool:
    """Whether these bytes are 32 and name a non-zero scalar below the group order."""
    return len(secret) == _SECRET_SIZE and 0 < int.from_bytes(secret, "big") < GROUP_ORDER


def is_valid_public_key(public_key: bytes) -> bool:
    """Whether these bytes are 33 and name a point of the curve in compressed form."""
    if len(public_key) != _COMPRESSED_SIZE or public_key[0] not in (2, 3):
        return False
    try:
        coincurve.PublicKey(bytes(public_key))
    except ValueError:
        return False
    return True


def decode_secret(data: bytes) -> SecretKey:
    """Check a secret that came from outside. Raises DecodeError, which does not show the bytes."""
    if not is_valid_secret(data):
        raise DecodeError("not a secp256k1 secret key: 32 bytes below the group order are expected")
    return SecretKey(bytes(data))


def decode_public_key(data: bytes) -> PublicKey:
    """Check a compressed public key that came from outside. Raises DecodeError."""
    if not is_valid_public_key(data):
        raise DecodeError("not a secp256k1 public key: a compressed point of 33 bytes is expected")
    return PublicKey(bytes(data))


def public_key(secret: bytes) -> PublicKey:
    """The 33-byte compressed public key of a secret. Raises DecodeError for an invalid secret."""
    point = coincurve.PublicKey.from_valid_secret(decode_secret(secret))
    return PublicKey(point.format(compressed=True))


def sign_schnorr(secret: bytes, digest: bytes) -> Signature:
    """Sign a 32-byte digest as it stands (BIP-340, no tag of our own).

    The auxiliary randomness is zero, so equal inputs give equal signatures and a transaction that
    is built twice has the same bytes. Raises DecodeError for an invalid secret.
    """
    if len(digest) != _DIGEST_SIZE:
        raise FatalError(f"a digest to sign has {len(digest)} bytes, 32 are needed")
    return Signature(_private(secret).sign_schnorr(bytes(digest), _NO_AUX_RANDOMNESS))


def verify_schnorr(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether a BIP-340 signature over a 32-byte digest is good.

    The key may be the 33-byte compressed or the 32-byte x-only form. Anything malformed is simply
    not a good signature; this never raises.
    """
    if len(public_key) == _COMPRESSED_SIZE:
        if public_key[0] not in (2, 3):
            return False
        public_key = public_key[1:]
    if len(public_key) != _X_ONLY_SIZE or len(signature) != _SIGNATURE_SIZE:
        return False
    if len(digest) != _DIGEST_SIZE:
        return False
    try:
        key = coincurve.PublicKeyXOnly(bytes(public_key))
    except ValueError:
        return False
    return bool(key.verify(bytes(signature), bytes(digest)))


def ecdh(secret: bytes, public_key: bytes) -> bytes:
    """sha256 of the compressed shared point, the form libsecp256k1 gives: 32 bytes.

    Raises DecodeError when the secret or the key is invalid.
    """
    return bytes(_private(secret).ecdh(decode_public_key(public_key)))


def multiply_secret(secret: bytes, tweak: bytes) -> SecretKey:
    """The product of two scalars modulo the group order. Raises DecodeError if one is invalid."""
    return SecretKey(_private(secret).multiply(decode_secret(tweak)).secret)


def multiply_public_key(public_key: bytes, tweak: bytes) -> PublicKey:
    """The point multiplied by a scalar. Raises DecodeError if one of them is invalid."""
    point = coincurve.PublicKey(decode_public_key(public_key))
    return PublicKey(point.multiply(decode_secret(tweak)).format(compressed=True))


def _private(secret: bytes) -> coincurve.PrivateKey:
    return coincurve.PrivateKey(decode_secret(secret))
