"""What the embedded federation has on chain: deposits it saw, its one output, transactions not yet buried.

Source: fedimint-walletv2-server src/lib.rs and src/db.rs. All guardians sign and broadcast a
transaction the moment it is accepted, so none is ever unsigned.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from backends.simulated.chain import ChainOutput, ChainTransaction
from fedimint.codec.bitcoin import (
    BITCOIN_OUT_POINT,
    BitcoinOutPoint,
    BitcoinTransaction,
    TxIn,
    TxOut,
    display_hash,
    hash_from_display,
)
from fedimint.codec.encoding import BYTES32, StructCodec, struct
from fedimint.codec.wire_types import AMOUNT_SAT, OutPoint, consensus_hash
from fedimint.walletv2 import FederationWallet, OutputInfo, TxInfo

BLOCK_COUNT_DELAY: Final = 7
"""Blocks by which the wallet trails the chain: six confirmations and one of slack."""
REGTEST_FEERATE_SAT_PER_KVB: Final = 1_000

_VERSION: Final = 2
_REPLACEABLE: Final = 0xFFFFFFFD
_WALLET: StructCodec[FederationWallet] = struct(
    FederationWallet, value_sat=AMOUNT_SAT, out_point=BITCOIN_OUT_POINT, tweak=BYTES32
)


def next_tweak(utxo: FederationWallet) -> bytes:
    """Return the tweak (32 bytes) of the output that takes this one's place."""
    return consensus_hash(_WALLET.encode(utxo))


class Spending(msgspec.Struct, frozen=True):
    """What a transaction does with the federation's output: adds a deposit to it or pays from it."""

    change: ChainOutput
    fee_sat: int
    vbytes: int
    deposit: OutputInfo | None = None
    payment: ChainOutput | None = None


@dataclass
class ChainWallet:
    """The committed state."""

    feerate_sat_per_kvb: int | None = REGTEST_FEERATE_SAT_PER_KVB
    """What a threshold of guardians votes for; None when they have no estimate."""
    block_count: int = 0
    """Blocks read."""
    utxo: FederationWallet | None = None
    claimed: set[int] = field(default_factory=set)
    """Indices of the outputs found that were claimed."""
    transactions: list[TxInfo] = field(default_factory=list)
    """All ever made, in their order."""
    unburied: set[bytes] = field(default_factory=set)
    """Ids of those that no block read so far has."""
    withdrawals: dict[OutPoint, bytes] = field(default_factory=dict)
    """The transaction that pays an output."""
    _found: list[OutputInfo] = field(default_factory=list)

    def read_block(
        self, block: Iterable[ChainTransaction], is_watched: Callable[[bytes], bool]
    ) -> None:
        """Read the next block: own transactions there are buried, watched scripts are listed."""
        for transaction in block:
            txid = hash_from_display(transaction.txid)
            self.unburied.discard(txid)
            for vout, output in enumerate(transaction.outputs):
                if is_watched(output.script):
                    found = OutputInfo(
                        index=len(self._found),
                        script_pubkey=output.script,
                        value_sat=output.value_sat,
                        is_spent=False,
                        out_point=BitcoinOutPoint(txid, vout),
                    )
                    self._found.append(found)
        self.block_count += 1

    def outputs(self, start: int, end: int) -> list[OutputInfo]:
        """Return the outputs found with these indices, as far as there are any."""
        return [
            msgspec.structs.replace(found, is_spent=found.index in self.claimed)
            for found in self._found[start:end]
        ]

    def pending(self) -> list[TxInfo]:
        """Return the transactions not yet buried, in their order."""
        return [info for info in self.transactions if info.txid in self.unburied]


class WalletDraft:
    """The changes of one federation transaction, seen on top of the wallet."""

    def __init__(self, wallet: ChainWallet) -> None:
        self.utxo = wallet.utxo
        self.broadcasts: list[ChainTransaction] = []
        self._wallet = wallet
        self._claimed: set[int] = set()
        self._made: list[TxInfo] = []
        self._withdrawals: dict[OutPoint, bytes] = {}

    @property
    def feerate_sat_per_kvb(self) -> int | None:
        """See `ChainWallet`."""
        return self._wallet.feerate_sat_per_kvb

    def pending(self) -> list[TxInfo]:
        """Return all transactions not yet buried, those of this draft included."""
        return [*self._wallet.pending(), *self._made]

    def claim(self, index: int) -> bool:
        """Return False when the output of this index, if there is one, was claimed before."""
        if index in self._claimed or index in self._wallet.claimed:
            return False
        self._claimed.add(index)
        return True

    def output(self, index: int) -> OutputInfo | None:
        """Return the output found with this index."""
        return next(iter(self._wallet.outputs(index, index + 1)), None)

    def spend(self, utxo: FederationWallet, spending: Spending) -> bytes:
        """Make the transaction that puts its change in the place of `utxo`; return its txid."""
        out_points = [utxo.out_point]
        if spending.deposit is not None and spending.deposit.out_point is not None:
            out_points.append(spending.deposit.out_point)
        payments = () if spending.payment is None else (spending.payment,)
        outputs = (spending.change, *payments)
        txid = BitcoinTransaction(
            _VERSION,
            tuple(TxIn(out_point, b"", _REPLACEABLE) for out_point in out_points),
            tuple(TxOut(output.value_sat, output.script) for output in outputs),
            lock_time=0,
        ).txid()
        self.broadcasts.append(ChainTransaction(display_hash(txid), outputs))
        info = TxInfo(
            index=len(self._wallet.transactions) + len(self._made),
            txid=txid,
            input_sat=utxo.value_sat,
            output_sat=spending.change.value_sat,
            fee_sat=spending.fee_sat,
            vbytes=spending.vbytes,
            created=self._wallet.block_count,
        )
        self._made.append(info)
        change_value_sat = spending.change.value_sat
        self.utxo = FederationWallet(change_value_sat, BitcoinOutPoint(txid, 0), next_tweak(utxo))
        return txid

    def withdraw(self, out_point: OutPoint, txid: bytes) -> None:
        """Note which transaction pays an output."""
        self._withdrawals[out_point] = txid

    def commit(self) -> None:
        """Write everything to the wallet; the draft is used up."""
        wallet = self._wallet
        wallet.utxo = self.utxo
        wallet.claimed |= self._claimed
        wallet.transactions += self._made
        wallet.unburied.update(info.txid for info in self._made)
        wallet.withdrawals |= self._withdrawals
