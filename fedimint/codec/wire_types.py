"""Ids, amounts, keys and other wire types shared by the modules of a federation."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, Literal, NewType

import coincurve
import msgspec

from errors import ConfigError
from fedimint.codec import secp
from fedimint.codec.encoding import (
    BYTES,
    BYTES32,
    U8,
    U16,
    U32,
    U64,
    Codec,
    Reader,
    StructCodec,
    checked,
    converted,
    fixed,
    newtype,
    struct,
)
from fedimint.codec.errors import DecodeError

FederationId = NewType("FederationId", bytes)
"""sha256 of the encoded API endpoints, 32 bytes, printed forward."""
TransactionId = NewType("TransactionId", bytes)
"""Id of a federation transaction, 32 bytes, printed forward."""
ContractId = NewType("ContractId", bytes)
"""Id of a Lightning contract (v1 and v2), 32 bytes."""
PeerId = NewType("PeerId", int)
"""Number of a guardian, from 0."""


def threshold(guardian_count: int) -> int:
    """Return how many of `guardian_count` speak for the federation: n - (n-1)//3."""
    return guardian_count - (guardian_count - 1) // 3


FEDERATION_ID: Codec[FederationId] = newtype(BYTES32, FederationId)
TRANSACTION_ID: Codec[TransactionId] = newtype(BYTES32, TransactionId)
CONTRACT_ID: Codec[ContractId] = newtype(BYTES32, ContractId)
PEER_ID: Codec[PeerId] = newtype(U16, PeerId)

MOST_SAT: Final = 21_000_000 * 100_000_000
"""The amount of all bitcoin there will ever be. In msat it fits 63 bits, and so a column of SQLite."""
MOST_MSAT: Final = MOST_SAT * 1_000
LARGEST_DENOMINATION: Final = 41
"""The largest mintv2 note is worth 2^41 msat (fedimint-mintv2-server)."""


def check_msat(amount_msat: int) -> None:
    """Raise `DecodeError` for more than all bitcoin."""
    if amount_msat > MOST_MSAT:
        raise DecodeError(f"{amount_msat} msat are more than all bitcoin")


def check_sat(amount_sat: int) -> None:
    """Raise `DecodeError` for more than all bitcoin."""
    if amount_sat > MOST_SAT:
        raise DecodeError(f"{amount_sat} sat are more than all bitcoin")


def check_denomination(denomination: int) -> None:
    """Raise `DecodeError` for what is no denomination of mintv2."""
    if denomination > LARGEST_DENOMINATION:
        raise DecodeError(
            f"a note of 2^{denomination} msat: the largest is of 2^{LARGEST_DENOMINATION} msat"
        )


AMOUNT_MSAT: Codec[int] = checked(U64, check_msat)
"""fedimint `Amount`, millisatoshi, of all bitcoin at most."""
AMOUNT_SAT: Codec[int] = checked(U64, check_sat)
"""`bitcoin::Amount`, satoshi, of all bitcoin at most."""
DENOMINATION: Codec[int] = checked(U8, check_denomination)
"""fedimint-mintv2-common `Denomination`: a note of d is worth 2^d msat."""
SCHNORR_SIGNATURE = fixed(64)
G1 = fixed(48)
"""BLS12-381 G1, compressed; whether it is in the subgroup is checked where it is used."""
G2 = fixed(96)
"""BLS12-381 G2, compressed; whether it is in the subgroup is checked where it is used."""
HASH160 = fixed(20)


def _check_public_key(data: bytes) -> None:
    secp.decode_public_key(data)


def _check_x_only_key(data: bytes) -> None:
    try:
        coincurve.PublicKeyXOnly(data)
    except ValueError:
        raise DecodeError("not an x-only secp256k1 public key") from None


def _check_secret_key(data: bytes) -> None:
    secp.decode_secret(data)


PUBLIC_KEY: Codec[bytes] = checked(fixed(33), _check_public_key)
"""secp256k1 public key, 33 bytes compressed, on the curve."""
X_ONLY_KEY: Codec[bytes] = checked(BYTES32, _check_x_only_key)
SECRET_KEY: Codec[bytes] = checked(BYTES32, _check_secret_key)
"""secp256k1 secret key (also `Keypair`), 32 bytes."""


class OutPoint(msgspec.Struct, frozen=True):
    """An output of a federation transaction."""

    txid: TransactionId
    out_idx: int


OUT_POINT: StructCodec[OutPoint] = struct(OutPoint, txid=TRANSACTION_ID, out_idx=U64)


_U64_MAX: Final = (1 << 64) - 1


class FeeConsensus(msgspec.Struct, frozen=True):
    """What a module charges for each input and output: base + amount·ppm/10^6, msat."""

    base_msat: int
    parts_per_million: int

    def fee_msat(self, amount_msat: int) -> int:
        """Return the fee on `amount_msat`; the product saturates at 64 bits as upstream's does, and so does the sum."""
        product = min(amount_msat * self.parts_per_million, _U64_MAX)
        return min(product // 1_000_000 + self.base_msat, _U64_MAX)


def fee_consensus(max_parts_per_million: int) -> Codec[FeeConsensus]:
    """Return the codec of a module's fees, of which it refuses excessive relative ones."""

    def check(fee: FeeConsensus) -> None:
        if fee.parts_per_million > max_parts_per_million:
            raise DecodeError(
                f"a relative fee of {fee.parts_per_million} ppm exceeds {max_parts_per_million} ppm"
            )

    return checked(struct(FeeConsensus, base_msat=AMOUNT_MSAT, parts_per_million=U64), check)


FEE_CONSENSUS = fee_consensus(1_000)
"""Fees of mint, mintv2 and lnv2."""
WALLET_FEE_CONSENSUS = fee_consensus(10_000)
"""Fees of walletv2 (fedimint-walletv2-common src/config.rs)."""

Network = Literal["bitcoin", "testnet", "testnet4", "signet", "regtest"]
"""Name of a bitcoin network as fedimint writes it in JSON."""

_MAGIC: dict[Network, bytes] = {
    "bitcoin": bytes.fromhex("f9beb4d9"),
    "testnet": bytes.fromhex("0b110907"),
    "testnet4": bytes.fromhex("1c163f28"),
    "signet": bytes.fromhex("0a03cf40"),
    "regtest": bytes.fromhex("fabfb5da"),
}


def _network_of_magic(magic: bytes) -> Network:
    for network, known in _MAGIC.items():
        if known == magic:
            return network
    raise DecodeError(f"unknown network magic {magic.hex()}")


NETWORK: Codec[Network] = converted(fixed(4), _MAGIC.__getitem__, _network_of_magic)
"""A bitcoin network as its four magic bytes (lnv2, walletv2)."""


def _legacy_number(network: Network) -> int:
    return int.from_bytes(_MAGIC[network], "little")


def _network_of_legacy_number(number: int) -> Network:
    return _network_of_magic(number.to_bytes(4, "little"))


NETWORK_LEGACY: Codec[Network] = converted(U32, _legacy_number, _network_of_legacy_number)
"""A bitcoin network as the BigSize of its magic read little-endian (ln, wallet)."""


class Duration(msgspec.Struct, frozen=True):
    """A time span; JSON is `{"secs": n, "nanos": n}`."""

    secs: int
    nanos: int


class ModuleError(msgspec.Struct, frozen=True):
    """Why a module refused an input or output: the variant's name and its values, for people."""

    name: str
    details: tuple["int | bytes | str | ModuleError", ...] = ()

    def __str__(self) -> str:
        details = ", ".join(
            detail.hex() if isinstance(detail, bytes) else str(detail) for detail in self.details
        )
        return f"{self.name}({details})" if details else self.name


def module_errors(
    variants: Mapping[int, tuple[str, *tuple[Codec[Any], ...]]],
) -> Codec[ModuleError]:
    """Return the codec of an error enum from index -> (name, codecs of its values…)."""
    index_of = {name: index for index, (name, *_) in variants.items()}

    def write(out: bytearray, error: ModuleError) -> None:
        index = index_of[error.name]
        body = bytearray()
        for codec, detail in zip(variants[index][1:], error.details, strict=True):
            codec.write(body, detail)
        U64.write(out, index)
        BYTES.write(out, bytes(body))

    def read(reader: Reader) -> ModuleError:
        index = reader.big_size()
        frame = reader.frame()
        if index not in variants:
            raise DecodeError(f"unknown error variant {index}")
        name, *codecs = variants[index]
        details = tuple(codec.read(frame) for codec in codecs)
        frame.finish()
        return ModuleError(name, details)

    return Codec(write, read)


def hash160(data: bytes) -> bytes:
    """Return ripemd160(sha256(data)), 20 bytes. Raises ConfigError where Python lacks ripemd160."""
    digest = hashlib.sha256(data).digest()
    try:
        return hashlib.new("ripemd160", digest).digest()
    except ValueError:
        raise ConfigError(
            "this Python's OpenSSL has no RIPEMD-160; use one of 3.0.7 or later"
        ) from None


def consensus_hash(encoded: bytes) -> bytes:
    """Return the sha256 of an encoding (fedimint-core `consensus_hash`), 32 bytes."""
    return hashlib.sha256(encoded).digest()
