"""JSON forms of ids, amounts and keys, with the bounds that msgspec checks and those it cannot."""

from typing import Annotated, Final

import msgspec

from fedimint.codec.errors import DecodeError
from fedimint.codec.wire_types import (
    MOST_MSAT,
    MOST_SAT,
    TRANSACTION_ID,
    OutPoint,
    check_denomination,
    check_msat,
    check_sat,
)

# Rust reads hex of either case. `\Z`, since `$` would let a newline through.
Hash256Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{64}\\Z")]
PublicKeyHex = Annotated[str, msgspec.Meta(pattern="^0[23][0-9a-fA-F]{64}\\Z")]
SchnorrSignatureHex = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{128}\\Z")]
# Points of BLS12-381, compressed.
G1Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{96}\\Z")]
G2Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{192}\\Z")]
Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]
# As serde writes `[u8; 32]`.
ThirtyTwoIntegers = Annotated[tuple[Byte, ...], msgspec.Meta(min_length=32, max_length=32)]
# Rust has u64. No amount of bitcoin and no block height needs the highest bit.
Unsigned = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Unsigned32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
# A u64 to its last bit. msgspec knows no bound that high: `json_u64` refuses what is above.
Unsigned64 = Annotated[int, msgspec.Meta(ge=0)]
Satoshis = Annotated[int, msgspec.Meta(ge=0, le=MOST_SAT)]
Msats = Annotated[int, msgspec.Meta(ge=0, le=MOST_MSAT)]

_U64_MAX: Final = (1 << 64) - 1


class OutPointJson(msgspec.Struct, frozen=True):
    """JSON form of `OutPoint`: `{"txid": hex, "out_idx": n}`."""

    txid: Hash256Hex
    out_idx: Unsigned

    def to_out_point(self) -> OutPoint:
        """Raise `DecodeError` when the txid is not 32 bytes of hex."""
        return OutPoint(TRANSACTION_ID.decode_hex(self.txid), json_u64(self.out_idx))

    @classmethod
    def of(cls, out_point: OutPoint) -> "OutPointJson":
        """Return the JSON form."""
        return cls(out_point.txid.hex(), out_point.out_idx)


def json_u64(value: int) -> int:
    """Return `value`, a JSON integer. Raises `DecodeError` outside of 64 bits."""
    if not 0 <= value <= _U64_MAX:
        # An integer of JSON may have thousands of digits; they are nobody's business.
        raise DecodeError("an integer that does not fit into 64 bits")
    return value


def json_msat(value: int) -> int:
    """Return `value`, a JSON integer of msat. Raises `DecodeError` for more than all bitcoin."""
    amount_msat = json_u64(value)
    check_msat(amount_msat)
    return amount_msat


def json_sat(value: int) -> int:
    """Return `value`, a JSON integer of satoshi. Raises `DecodeError` for more than all bitcoin."""
    amount_sat = json_u64(value)
    check_sat(amount_sat)
    return amount_sat


def json_denomination(value: int) -> int:
    """Return `value`, a JSON integer. Raises `DecodeError` for what is no denomination of mintv2."""
    denomination = json_u64(value)
    check_denomination(denomination)
    return denomination


def json_blocks(value: int) -> int:
    """Return `value`, a JSON integer that counts blocks, at most 2^32-1. Raises `DecodeError` outside of 64 bits.

    Anybody may fund a contract that expires at block 2^64-1, and guardians then say so: no lie, but as good as never.
    """
    return min(json_u64(value), (1 << 32) - 1)
