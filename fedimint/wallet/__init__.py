"""Wire types of the wallet module (v1): deposit proofs, withdrawals, errors.

Source: fedimint-wallet-common src/lib.rs, src/txoproof.rs. Whether a deposit proof is true is
checked by the guardians; here it is only read and written.
"""

import msgspec

from fedimint.codec.bitcoin import (
    BITCOIN_OUT_POINT,
    BITCOIN_TRANSACTION,
    HEADER,
    PARTIAL_MERKLE_TREE,
    SCRIPT,
    TX_OUT,
    TXID,
    BitcoinOutPoint,
    BitcoinTransaction,
    PartialMerkleTree,
    TxOut,
)
from fedimint.codec.encoding import U32, U64, Codec, UnknownVariant, enum, struct
from fedimint.codec.wire_types import (
    AMOUNT_SAT,
    NETWORK_LEGACY,
    PUBLIC_KEY,
    ModuleError,
    Network,
    module_errors,
)

KIND = "wallet"


class PegInProof(msgspec.Struct, frozen=True, tag="v0"):
    """Claims a deposit by proof: header (80 bytes), Merkle path, transaction, tweak key (33).

    The input is signed by the tweak key.
    """

    block_header: bytes
    merkle_proof: PartialMerkleTree
    transaction: BitcoinTransaction
    output_index: int
    tweak_key: bytes


class PegIn(msgspec.Struct, frozen=True, tag="v1"):
    """Claims a deposit that the guardians know themselves; signed by the tweak key."""

    out_point: BitcoinOutPoint
    tweak_key: bytes
    tx_out: TxOut


class PegOutFees(msgspec.Struct, frozen=True):
    """The miner fee of a withdrawal: rate per 1000 vbytes, weight of the transaction."""

    sats_per_kvb: int
    total_weight: int

    def fee_sat(self) -> int:
        """Return ⌈weight / 4⌉ · rate / 1000 (fedimint-core `Feerate::calculate_fee`)."""
        return (self.total_weight + 3) // 4 * self.sats_per_kvb // 1000


class Address(msgspec.Struct, frozen=True):
    """A bitcoin address as the network and script it stands for."""

    network: Network
    script_pubkey: bytes


class PegOut(msgspec.Struct, frozen=True, tag="peg_out"):
    """Withdraws `amount_sat` to `recipient`."""

    recipient: Address
    amount_sat: int
    fees: PegOutFees


class Rbf(msgspec.Struct, frozen=True, tag="rbf"):
    """Raises the fee of a withdrawal; refused by present guardians."""

    fees: PegOutFees
    txid: bytes


class OutputV0(msgspec.Struct, frozen=True, tag="v0"):
    """The only known version of an output."""

    inner: PegOut | Rbf

    def amount_msat(self) -> int:
        """Return what the output takes from the balance, without the module's fee."""
        amount_sat = self.inner.amount_sat if isinstance(self.inner, PegOut) else 0
        return (amount_sat + self.inner.fees.fee_sat()) * 1000


class OutputOutcomeV0(msgspec.Struct, frozen=True, tag="v0"):
    """The bitcoin txid of a withdrawal, 32 bytes in internal order."""

    txid: bytes


Input = PegInProof | PegIn | UnknownVariant
Output = OutputV0 | UnknownVariant
OutputOutcome = OutputOutcomeV0 | UnknownVariant

ADDRESS: Codec[Address] = struct(Address, network=NETWORK_LEGACY, script_pubkey=SCRIPT)
PEG_OUT_FEES: Codec[PegOutFees] = struct(PegOutFees, sats_per_kvb=U64, total_weight=U64)
_OUTPUT_V0: Codec[PegOut | Rbf] = enum(
    {
        0: struct(PegOut, recipient=ADDRESS, amount_sat=AMOUNT_SAT, fees=PEG_OUT_FEES),
        1: struct(Rbf, fees=PEG_OUT_FEES, txid=TXID),
    }
)
INPUT: Codec[Input] = enum(
    {
        0: struct(
            PegInProof,
            block_header=HEADER,
            merkle_proof=PARTIAL_MERKLE_TREE,
            transaction=BITCOIN_TRANSACTION,
            output_index=U32,
            tweak_key=PUBLIC_KEY,
        ),
        1: struct(PegIn, out_point=BITCOIN_OUT_POINT, tweak_key=PUBLIC_KEY, tx_out=TX_OUT),
    },
    extensible=True,
)
OUTPUT: Codec[Output] = enum({0: struct(OutputV0, inner=_OUTPUT_V0)}, extensible=True)
OUTPUT_OUTCOME: Codec[OutputOutcome] = enum(
    {0: struct(OutputOutcomeV0, txid=TXID)}, extensible=True
)

_PEG_IN_PROOF_ERROR: Codec[ModuleError] = module_errors(
    {
        0: ("TransactionNotInProof",),
        1: ("TooManyTransactionOutputs",),
        2: ("OutputIndexOutOfRange", U64, U64),
        3: ("ScriptDoesNotMatch",),
    }
)
INPUT_ERROR: Codec[ModuleError] = module_errors(
    {
        0: ("UnknownPegInProofBlock", TXID),
        1: ("PegInProofError", _PEG_IN_PROOF_ERROR),
        2: ("PegInAlreadyClaimed",),
        3: ("UnknownInputVariant", U64),
        4: ("UnknownUTXO",),
        5: ("WrongOutputScript",),
        6: ("WrongTxOut",),
    }
)
OUTPUT_ERROR: Codec[ModuleError] = module_errors(
    {
        0: ("WrongNetwork", NETWORK_LEGACY, NETWORK_LEGACY),
        1: ("PegOutFeeBelowConsensus", U64, U64),
        2: ("NotEnoughSpendableUTXO",),
        3: ("PegOutUnderDustLimit",),
        4: ("RbfTransactionIdNotFound",),
        5: ("TxWeightIncorrect", U64, U64),
        6: ("BelowMinRelayFee",),
        7: ("UnknownOutputVariant", U64),
    }
)
