"""The order of transactions that all embedded guardians share, and waiting for it.

As fedimint-server src/consensus/api.rs answers submissions. A transaction takes effect as a whole or
not at all.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import anyio

from backends.simulated.chain import ChainOutput, ChainTransaction
from devnet.guardians.chain_wallet import BLOCK_COUNT_DELAY
from devnet.guardians.ledger import Draft, Ledger
from devnet.guardians.module_rules import Moment
from devnet.guardians.transaction_rules import DecodedTransaction, TransactionRules
from fedimint.codec.wire_types import TransactionId
from fedimint.config import ClientConfig
from fedimint.transaction import Accepted, Rejected, SubmissionOutcome, Transaction


class Blockchain(Protocol):
    """What the federation sees and does of bitcoin, such as `backends.simulated.chain.SimulatedChain`."""

    @property
    def height(self) -> int:
        """Height of the newest block; the block count is one more."""
        ...

    def block(self, height: int) -> Sequence[ChainTransaction]:
        """Return the transactions of a block."""
        ...

    def transaction(self, txid: str) -> ChainTransaction | None:
        """Return a transaction, confirmed or not."""
        ...

    def send(self, *outputs: ChainOutput) -> str:
        """Broadcast somebody's transaction that pays these outputs; return its txid."""
        ...

    def broadcast(self, transaction: ChainTransaction) -> None:
        """Let the transaction wait for a block."""
        ...

    def on_block(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each block."""
        ...


class Consensus:
    """The ledger and the transactions accepted so far.

    `acceptance_delay`, which may be changed at any time, is awaited between a submission and its
    place in the order.
    """

    def __init__(
        self, config: ClientConfig, chain: Blockchain, unix_time_s: Callable[[], int]
    ) -> None:
        self.ledger = Ledger()
        self.accepted: dict[TransactionId, Transaction] = {}
        """In their order."""
        self.gateways: dict[str, None] = {}
        """URLs that guardians vouch for, in the order they were added."""
        self.acceptance_delay: Callable[[], Awaitable[None]] | None = None
        self.rules = TransactionRules(config)
        self.chain = chain
        self._unix_time_s = unix_time_s
        self._changed = anyio.Event()
        self._read_blocks()
        chain.on_block(self._on_block)

    def block_count(self) -> int:
        """Return the number of blocks the federation agrees on."""
        return self.chain.height + 1

    def unix_time_s(self) -> int:
        """Return the time the federation agrees on."""
        return self._unix_time_s()

    def wake(self) -> None:
        """Let all who wait look again."""
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def change(self) -> None:
        """Wait until something may have changed."""
        await self._changed.wait()

    async def submit(self, decoded: DecodedTransaction) -> SubmissionOutcome:
        """Answer once the transaction is accepted or found invalid."""
        if self.acceptance_delay is None:
            return self._place(decoded)
        outcome = self._judge(decoded, Draft(self.ledger))
        if not isinstance(outcome, int):
            return outcome
        try:
            await self.acceptance_delay()
        finally:
            # Once submitted, a transaction takes its way even when the caller has gone.
            placed = self._place(decoded)
        return placed

    def _place(self, decoded: DecodedTransaction) -> SubmissionOutcome:
        """Give the transaction its place in the order, unless it is invalid there."""
        draft = Draft(self.ledger)
        outcome = self._judge(decoded, draft)
        if isinstance(outcome, int):
            txid = decoded.transaction.txid()
            draft.commit(outcome)
            for made in draft.wallet.broadcasts:
                self.chain.broadcast(made)
            self.accepted[txid] = decoded.transaction
            self.wake()
            return Accepted(txid)
        return outcome

    def _on_block(self) -> None:
        self._read_blocks()
        self.wake()

    def _read_blocks(self) -> None:
        """Read what is buried by now, from the first block on, as guardians on regtest do."""
        wallet, scripts = self.ledger.wallet, self.rules.wallet.scripts
        while wallet.block_count < self.block_count() - BLOCK_COUNT_DELAY:
            wallet.read_block(self.chain.block(wallet.block_count), scripts.is_watched)

    def _judge(self, decoded: DecodedTransaction, draft: Draft) -> int | SubmissionOutcome:
        """Return what the federation would keep (msat), or what is decided already."""
        txid = decoded.transaction.txid()
        if txid in self.accepted:
            return Accepted(txid)
        moment = Moment(self.block_count(), self.unix_time_s())
        kept_msat = self.rules.process(decoded, draft, moment)
        return kept_msat if isinstance(kept_msat, int) else Rejected(kept_msat)
