"""The derivation from the mnemonic words down to every key of a federation client.

Sources: fedimint-derive-secret and fedimint-hkdf src/lib.rs, fedimint-bip39 src/lib.rs, and the
client crates of the modules for the path of each use. The same words give the same keys as a Rust
gateway, so either can take over from the other.
"""

import hashlib
import hmac
from typing import Final

from mnemonic import Mnemonic

from errors import ConfigError, InputError
from fedimint.codec import secp
from fedimint.crypto import bls

ROOT_SALT: Final = b"Fedimint Client Salt"
WORD_COUNTS: Final = (12, 15, 18, 21, 24)
ENTROPY_SIZE: Final = 16
TWEAK_SIZE: Final = 16
FILTER_SIZE: Final = 32

# Domain of our own, apart from every path of the protocol: only the fingerprint uses it.
_FINGERPRINT_TWEAK: Final = b"fedimint-gateway mnemonic fingerprint"
_IDENTITY_TWEAK: Final = b"fedimint-gateway http identity"

_MNEMONIC = Mnemonic("english")
_WORDS: Final = frozenset(_MNEMONIC.wordlist)
#: What stands beside a word in a numbered list, or in the JSON of `gateway-cli seed`.
_BESIDE_WORDS: Final = "0123456789.,;:()[]\"'-*#"


class DerivableSecret:
    """A node of the derivation tree: a pseudo-random key of 64 bytes, never shown."""

    __slots__ = ("_prk",)

    def __init__(self, prk: bytes) -> None:
        """Take the 64 bytes of an HKDF-SHA512 pseudo-random key. Raises InputError otherwise."""
        if len(prk) != hashlib.sha512().digest_size:
            raise InputError("a derivable secret has 64 bytes")
        self._prk = prk

    def __repr__(self) -> str:
        return "DerivableSecret(hidden)"

    def child(self, index: int) -> "DerivableSecret":
        """The numbered child; index is an unsigned 64-bit integer."""
        return DerivableSecret(self._expand(b"childkey" + _u64(index)))

    def tweak(self, data: bytes) -> "DerivableSecret":
        """The child named by arbitrary bytes, without a tag."""
        return DerivableSecret(self._expand(data))

    def federation_key(self, federation_id: bytes) -> "DerivableSecret":
        """The child of a federation, named by the first 8 of the 32 bytes of its id."""
        if len(federation_id) != 32:
            raise InputError("a federation id has 32 bytes")
        return DerivableSecret(self._expand(federation_id[:8] + _u64(0)))

    def to_secp_secret(self) -> secp.SecretKey:
        """A secp256k1 secret: the first valid one of the numbered tries."""
        attempt = 0
        while True:
            secret = self._expand(b"secp256k" + _u64(attempt))[:32]
            if secp.is_valid_secret(secret):
                return secp.SecretKey(secret)
            attempt += 1

    def to_bls_scalar(self) -> bls.Scalar:
        """A BLS12-381 scalar: 64 bytes, little-endian, reduced."""
        return bls.scalar_from_wide(self._expand(b"bls12381" + _u64(0)))

    def to_random_bytes(self, size: int) -> bytes:
        """Up to 64 bytes that only the holder of this secret can know."""
        if not 0 < size <= len(self._prk):
            raise InputError("between 1 and 64 bytes can be derived")
        return self._expand(b"rawbytes" + _u64(0))[:size]

    def to_bytes(self) -> bytes:
        """The 64 secret bytes, to hand the secret to a worker process; never log or store them."""
        return self._prk

    def _expand(self, info: bytes) -> bytes:
        return hmac.digest(self._prk, info + b"\x01", "sha512")


def generate_mnemonic(entropy: bytes) -> str:
    """Twelve English words from 16 bytes of fresh entropy. Raises InputError for another size."""
    if len(entropy) != ENTROPY_SIZE:
        raise InputError(f"a mnemonic of 12 words needs {ENTROPY_SIZE} bytes of entropy")
    return str(_MNEMONIC.to_mnemonic(entropy))


def normalise_mnemonic(words: str) -> str:
    """The words in lower case with single spaces, checked against the word list and checksum.

    Every length of BIP-39 is taken; they may stand on lines of their own, and be numbered. Raises ConfigError, which
    names a wrong word by its place alone.
    """
    split = [bare for word in words.lower().split() if (bare := word.strip(_BESIDE_WORDS))]
    unknown = [str(place) for place, word in enumerate(split, 1) if word not in _WORDS]
    if unknown and len(split) <= WORD_COUNTS[-1]:
        raise ConfigError(
            f"the mnemonic has words that are not in the English list of BIP-39: number {', '.join(unknown)} "
            f"of {len(split)}"
        )
    if len(split) not in WORD_COUNTS:
        raise ConfigError(
            f"the mnemonic has {len(split)} words; 12 are usual, and 15, 18, 21 or 24 possible"
        )
    normalised = " ".join(split)
    if not _MNEMONIC.check(normalised):
        raise ConfigError(
            "the mnemonic has a wrong checksum: its words are all in the English list, "
            "but one of them is not the right one, or their order is another"
        )
    return normalised


def root_secret(words: str) -> DerivableSecret:
    """The root of all keys from BIP-39 words, with an empty passphrase. Raises ConfigError."""
    seed = Mnemonic.to_seed(normalise_mnemonic(words))
    return DerivableSecret(hmac.digest(ROOT_SALT, seed, "sha512"))


def fingerprint(words: str) -> str:
    """16 hex digits that tell mnemonics apart and lead back to none. Raises ConfigError."""
    return root_secret(words).tweak(_FINGERPRINT_TWEAK).to_random_bytes(8).hex()


def pre_root_secret(root: DerivableSecret, federation_id: bytes) -> DerivableSecret:
    """What the gateway hands to the client of one federation, before the second derivation."""
    wallet_number, key_type_client = 0, 0
    by_federation = root.child(0).federation_key(federation_id)
    return by_federation.child(wallet_number).child(key_type_client)


def client_secret(root: DerivableSecret, federation_id: bytes) -> DerivableSecret:
    """The root of one federation's client. The federation id enters twice, as in the Rust one."""
    return pre_root_secret(root, federation_id).federation_key(federation_id)


def module_secret(client: DerivableSecret, module_instance_id: int) -> DerivableSecret:
    """The secret of one module instance of a federation client."""
    return client.child(0).child(module_instance_id)


def lnv1_redeem_secret(module: DerivableSecret) -> secp.SecretKey:
    """The key that redeems LNv1 contracts of a gateway."""
    return module.child(0).to_secp_secret()


def lnv2_gateway_secret(module: DerivableSecret) -> secp.SecretKey:
    """The key that LNv2 contracts name as the gateway's, one per federation."""
    return module.to_secp_secret()


def mint_note(module: DerivableSecret, index: int, amount_msat: int) -> DerivableSecret:
    """A mint v1 note; its spend key is `child(0)`, its blinding scalar `child(1)`."""
    return module.child(0).child(index).child(amount_msat)


def mintv2_note(module: DerivableSecret, denomination: int, tweak: bytes) -> DerivableSecret:
    """A mintv2 note, spend key and blinding scalar alike. Raises InputError for a wrong tweak."""
    if len(tweak) != TWEAK_SIZE:
        raise InputError(f"a mintv2 tweak has {TWEAK_SIZE} bytes")
    return module.child(denomination).tweak(tweak)


def mintv2_tweak_filter(module: DerivableSecret) -> bytes:
    """The 32 bytes by which recovery recognises tweaks of this client."""
    return module.to_random_bytes(FILTER_SIZE)


def wallet_deposit_secret(module: DerivableSecret, index: int) -> secp.SecretKey:
    """The tweak key of a wallet v1 deposit address."""
    return module.child(0).child(index).to_secp_secret()


def walletv2_deposit_secret(module: DerivableSecret, index: int) -> secp.SecretKey:
    """The tweak key of a walletv2 deposit address."""
    return module.child(index).to_secp_secret()


def gateway_identity_secret(root: DerivableSecret) -> secp.SecretKey:
    """The key by which a gateway is known in LNv1 registrations; ours follows from the mnemonic."""
    return root.tweak(_IDENTITY_TWEAK).to_secp_secret()


def _u64(value: int) -> bytes:
    if not 0 <= value < 1 << 64:
        raise InputError("a derivation index is an unsigned 64-bit integer")
    return value.to_bytes(8, "big")
