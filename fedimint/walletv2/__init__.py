"""Wire types of the walletv2 module: inputs, outputs, scripts, errors, and what it tells of the chain.

Source: fedimint-walletv2-common src/lib.rs.
"""

import msgspec

from fedimint.codec.bitcoin import BitcoinOutPoint
from fedimint.codec.encoding import (
    BYTES32,
    U64,
    Codec,
    StructCodec,
    UnknownVariant,
    enum,
    struct,
)
from fedimint.codec.wire_types import (
    AMOUNT_SAT,
    HASH160,
    PUBLIC_KEY,
    X_ONLY_KEY,
    ModuleError,
    module_errors,
)

KIND = "walletv2"


class P2pkh(msgspec.Struct, frozen=True, tag="p2pkh"):
    """Pay to the hash160 (20 bytes) of a public key."""

    digest: bytes


class P2sh(msgspec.Struct, frozen=True, tag="p2sh"):
    """Pay to the hash160 (20 bytes) of a script."""

    digest: bytes


class P2wpkh(msgspec.Struct, frozen=True, tag="p2wpkh"):
    """Pay to the hash160 (20 bytes) of a public key, segwit version 0."""

    digest: bytes


class P2wsh(msgspec.Struct, frozen=True, tag="p2wsh"):
    """Pay to the sha256 (32 bytes) of a script, segwit version 0."""

    digest: bytes


class P2tr(msgspec.Struct, frozen=True, tag="p2tr"):
    """Pay to a taproot output key (32 bytes, x-only)."""

    key: bytes


StandardScript = P2pkh | P2sh | P2wpkh | P2wsh | P2tr | UnknownVariant

STANDARD_SCRIPT: Codec[StandardScript] = enum(
    {
        0: struct(P2pkh, digest=HASH160),
        1: struct(P2sh, digest=HASH160),
        2: struct(P2wpkh, digest=HASH160),
        3: struct(P2wsh, digest=BYTES32),
        4: struct(P2tr, key=X_ONLY_KEY),
    },
    extensible=True,
)


def script_pubkey(script: StandardScript) -> bytes | None:
    """Return the script as bitcoin has it, None for an unknown variant."""
    match script:
        case P2pkh(digest):
            return b"\x76\xa9\x14" + digest + b"\x88\xac"
        case P2sh(digest):
            return b"\xa9\x14" + digest + b"\x87"
        case P2wpkh(digest):
            return b"\x00\x14" + digest
        case P2wsh(digest):
            return b"\x00\x20" + digest
        case P2tr(key):
            return b"\x51\x20" + key
    return None


def standard_script(script: bytes) -> StandardScript | None:
    """Return the destination that `script`, a scriptPubKey, is; None if it is not standard."""
    if len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return P2pkh(script[3:23])
    if len(script) == 23 and script[:2] == b"\xa9\x14" and script[22:] == b"\x87":
        return P2sh(script[2:22])
    if len(script) == 22 and script[:2] == b"\x00\x14":
        return P2wpkh(script[2:])
    if len(script) == 34 and script[:2] == b"\x00\x20":
        return P2wsh(script[2:])
    if len(script) == 34 and script[:2] == b"\x51\x20":
        return P2tr(script[2:])
    return None


class WalletInput(msgspec.Struct, frozen=True, tag="v0"):
    """Claims a deposit: its index, the tweak public key (33) that also signs, the miner fee."""

    output_index: int
    tweak: bytes
    fee_sat: int


class WalletOutput(msgspec.Struct, frozen=True, tag="v0"):
    """Withdraws `value_sat`, with `fee_sat` for the miners."""

    destination: StandardScript
    value_sat: int
    fee_sat: int

    def amount_msat(self) -> int:
        """Return what the output takes from the balance, without the module's fee."""
        return (self.value_sat + self.fee_sat) * 1000


class OutputInfo(msgspec.Struct, frozen=True):
    """An output on chain that passed the guardians' filter, by its index in their list.

    `is_spent` says whether it was claimed. `out_point` is None from guardians that do not tell.
    """

    index: int
    script_pubkey: bytes
    value_sat: int
    is_spent: bool
    out_point: BitcoinOutPoint | None


class TxInfo(msgspec.Struct, frozen=True):
    """A transaction of the federation's on chain; txid in internal order.

    `input_sat` and `output_sat` are what the federation held before and after it, and `created` is
    the consensus block count at which it was made.
    """

    index: int
    txid: bytes
    input_sat: int
    output_sat: int
    fee_sat: int
    vbytes: int
    created: int


class FederationWallet(msgspec.Struct, frozen=True):
    """The one output that holds all of the federation's bitcoin; the tweak (32) is of its keys."""

    value_sat: int
    out_point: BitcoinOutPoint
    tweak: bytes


class OutputOutcome(msgspec.Struct, frozen=True):
    """The outcome of an output: empty, zero bytes; the txid comes from `transaction_id`."""


Input = WalletInput | UnknownVariant
Output = WalletOutput | UnknownVariant

INPUT: Codec[Input] = enum(
    {0: struct(WalletInput, output_index=U64, tweak=PUBLIC_KEY, fee_sat=AMOUNT_SAT)},
    extensible=True,
)
OUTPUT: Codec[Output] = enum(
    {
        0: struct(
            WalletOutput, destination=STANDARD_SCRIPT, value_sat=AMOUNT_SAT, fee_sat=AMOUNT_SAT
        )
    },
    extensible=True,
)
OUTPUT_OUTCOME: StructCodec[OutputOutcome] = struct(OutputOutcome)
INPUT_ERROR: Codec[ModuleError] = module_errors(
    {
        0: ("UnknownInputVariant", U64),
        1: ("OutputAlreadySpent",),
        2: ("UnknownOutputIndex",),
        3: ("WrongTweak",),
        4: ("NoConsensusFeerateAvailable",),
        5: ("InsufficientTotalFee",),
        6: ("ArithmeticOverflow",),
    }
)
OUTPUT_ERROR: Codec[ModuleError] = module_errors(
    {
        0: ("UnknownOutputVariant", U64),
        1: ("UnderDustLimit",),
        2: ("NoFederationUTXO",),
        3: ("NoConsensusFeerateAvailable",),
        4: ("InsufficientTotalFee",),
        5: ("ChangeUnderDustLimit",),
        6: ("ArithmeticOverflow",),
        7: ("UnknownScriptVariant",),
    }
)
