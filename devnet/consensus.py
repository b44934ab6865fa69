"""The one order of transactions that all embedded guardians share, and waiting for it.

As fedimint-server src/consensus/api.rs answers submissions. A transaction takes effect as a whole or
not at all.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio

from devnet.ledger import Draft, Ledger
from devnet.module_rules import Moment
from devnet.transaction_rules import DecodedTransaction, TransactionRules
from fedimint.config import ClientConfig
from fedimint.transaction import Accepted, Rejected, SubmissionOutcome, Transaction
from fedimint.wire_types import TransactionId


class BlockSource(Protocol):
    """Where the federation sees blocks, such as `backends.simulated_chain.SimulatedChain`."""

    @property
    def height(self) -> int:
        """Height of the newest block; the block count is one more."""
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
        self, config: ClientConfig, chain: BlockSource, unix_time_s: Callable[[], int]
    ) -> None:
        self.ledger = Ledger()
        self.accepted: dict[TransactionId, Transaction] = {}
        """In their order."""
        self.gateways: dict[str, None] = {}
        """URLs that guardians vouch for, in the order they were added."""
        self.acceptance_delay: Callable[[], Awaitable[None]] | None = None
        self.rules = TransactionRules(config)
        self._chain = chain
        self._unix_time_s = unix_time_s
        self._changed = anyio.Event()
        chain.on_block(self.wake)

    def block_count(self) -> int:
        """Return the number of blocks the federation agrees on."""
        return self._chain.height + 1

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
            # Once submitted, a transaction takes its way also when whoever asked has gone.
            placed = self._place(decoded)
        return placed

    def _place(self, decoded: DecodedTransaction) -> SubmissionOutcome:
        """Give the transaction its place in the order, unless it is invalid there."""
        draft = Draft(self.ledger)
        outcome = self._judge(decoded, draft)
        if isinstance(outcome, int):
            txid = decoded.transaction.txid()
            draft.commit(outcome)
            self.accepted[txid] = decoded.transaction
            self.wake()
            return Accepted(txid)
        return outcome

    def _judge(self, decoded: DecodedTransaction, draft: Draft) -> int | SubmissionOutcome:
        """Return what the federation would keep (msat), or what is decided already."""
        txid = decoded.transaction.txid()
        if txid in self.accepted:
            return Accepted(txid)
        moment = Moment(self.block_count(), self.unix_time_s())
        kept_msat = self.rules.process(decoded, draft, moment)
        return kept_msat if isinstance(kept_msat, int) else Rejected(kept_msat)
