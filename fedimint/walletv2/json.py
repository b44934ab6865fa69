"""JSON forms of what a walletv2 module says about the chain.

Source: fedimint-walletv2-common src/lib.rs. Amounts are satoshi, txids are written reversed.
"""

import msgspec

from fedimint.codec.bitcoin import BitcoinOutPoint, display_hash, hash_from_display
from fedimint.codec.encoding import BYTES32, from_hex
from fedimint.codec.json_types import json_sat, json_u64
from fedimint.walletv2 import FederationWallet, OutputInfo, TxInfo


class OutputInfoJson(msgspec.Struct, frozen=True):
    """An entry of `output_info_slice`."""

    index: int
    script: str
    value: int
    spent: bool
    outpoint: str | None = None

    def decode(self) -> OutputInfo:
        """Return the typed form. Raises `DecodeError`."""
        return OutputInfo(
            json_u64(self.index),
            from_hex(self.script),
            json_sat(self.value),
            self.spent,
            None if self.outpoint is None else BitcoinOutPoint.parse(self.outpoint),
        )

    @classmethod
    def of(cls, output: OutputInfo) -> "OutputInfoJson":
        """Return the JSON form."""
        return cls(
            output.index,
            output.script_pubkey.hex(),
            output.value_sat,
            output.is_spent,
            None if output.out_point is None else str(output.out_point),
        )


class TxInfoJson(msgspec.Struct, frozen=True):
    """An entry of `pending_transaction_chain` and `transaction_chain`."""

    index: int
    txid: str
    input: int
    output: int
    fee: int
    vbytes: int
    created: int

    def decode(self) -> TxInfo:
        """Return the typed form. Raises `DecodeError`."""
        return TxInfo(
            json_u64(self.index),
            hash_from_display(self.txid),
            json_sat(self.input),
            json_sat(self.output),
            json_sat(self.fee),
            json_u64(self.vbytes),
            json_u64(self.created),
        )

    @classmethod
    def of(cls, tx: TxInfo) -> "TxInfoJson":
        """Return the JSON form."""
        return cls(
            tx.index,
            display_hash(tx.txid),
            tx.input_sat,
            tx.output_sat,
            tx.fee_sat,
            tx.vbytes,
            tx.created,
        )


class FederationWalletJson(msgspec.Struct, frozen=True):
    """The answer of `federation_wallet`."""

    value: int
    outpoint: str
    tweak: str

    def decode(self) -> FederationWallet:
        """Return the typed form. Raises `DecodeError`."""
        return FederationWallet(
            json_sat(self.value),
            BitcoinOutPoint.parse(self.outpoint),
            BYTES32.decode_hex(self.tweak),
        )

    @classmethod
    def of(cls, wallet: FederationWallet) -> "FederationWalletJson":
        """Return the JSON form."""
        return cls(wallet.value_sat, str(wallet.out_point), wallet.tweak.hex())
