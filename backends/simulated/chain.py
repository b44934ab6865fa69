"""A bitcoin chain in memory: transactions with outputs, blocks when a test mines them."""

import hashlib
from collections.abc import Callable

import msgspec


class ChainOutput(msgspec.Struct, frozen=True):
    """`script` is a scriptPubKey."""

    script: bytes
    value_sat: int


class ChainTransaction(msgspec.Struct, frozen=True):
    """`txid` is in the usual, reversed hex."""

    txid: str
    outputs: tuple[ChainOutput, ...]


class SimulatedChain:
    """One chain for all nodes and guardians; nothing is confirmed before `mine`."""

    def __init__(self, height: int = 1_000) -> None:
        """Start at a height above 0."""
        self.height = height
        self._blocks: dict[int, tuple[ChainTransaction, ...]] = {}
        self._mempool: list[ChainTransaction] = []
        self._made = 0
        self._listeners: list[Callable[[], None]] = []

    def mine(self, blocks: int = 1) -> None:
        """Find blocks one by one; the first takes everything that waits. Timelocks that pass take effect at once."""
        for _ in range(blocks):
            self.height += 1
            self._blocks[self.height] = tuple(self._mempool)
            self._mempool.clear()
            for listener in self._listeners:
                listener()

    def reorganise(self, blocks: int) -> None:
        """Replace the newest blocks by empty ones and find one more, which takes all of their transactions.

        Everybody who trusts fewer confirmations than that sees transactions move.
        """
        replaced = range(self.height - blocks + 1, self.height + 1)
        returned = [tx for height in replaced for tx in self._blocks.pop(height, ())]
        self._mempool[:0] = returned
        self.mine()

    def send(self, *outputs: ChainOutput) -> str:
        """Broadcast a transaction that pays these outputs and return its txid."""
        self._made += 1
        txid = hashlib.sha256(b"simulated transaction %d" % self._made).hexdigest()
        self.broadcast(ChainTransaction(txid, outputs))
        return txid

    def broadcast(self, transaction: ChainTransaction) -> None:
        """Let a transaction wait for the next block whose maker knows its txid already."""
        self._mempool.append(transaction)

    def block(self, height: int) -> tuple[ChainTransaction, ...]:
        """The transactions of a block, none for one from before this chain was simulated."""
        return self._blocks.get(height, ())

    def transaction(self, txid: str) -> ChainTransaction | None:
        """A transaction, confirmed or not."""
        known = [*self._mempool, *(tx for block in self._blocks.values() for tx in block)]
        return next((tx for tx in known if tx.txid == txid), None)

    def on_block(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each block."""
        self._listeners.append(listener)
