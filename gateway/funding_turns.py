"""Queues payments that find no free notes until change arrives."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import anyio

from engine.engine import Engine
from engine.machine import State
from fedimint.mintv2.selection import InsufficientNotesError
from statemachines import receive, reserving
from statemachines.items import FundedContract
from statemachines.transaction import wallet_of
from statemachines.wallet import Wallet

#: How long a payer is kept waiting for change: seconds when the federation works, and it may stand still.
CHANGE_LIMIT_S = 60.0


class Measured(Protocol):
    """What was found out for a decision to fund; with a refusal nothing is funded."""

    @property
    def refusal(self) -> str | None: ...


M = TypeVar("M", bound=Measured)


class FundingTurns:
    """One turn at a time in each federation, for those alone that find no notes."""

    def __init__(self) -> None:
        self._turns: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)

    async def measured(
        self, engine: Engine, facts: receive.ReceiveFacts, measure: Callable[[], Awaitable[M]]
    ) -> M:
        """What `measure` finds out while the wallet brings what the contract needs, or no change is on its way.

        The caller hands it to the machine without awaiting anything: others may take the notes in between. After
        CHANGE_LIMIT_S it is handed in nevertheless, and the wallet may refuse.
        """
        found = await measure()
        if not _waits(engine, facts, found):
            return found
        async with self._turns[facts.federation_id]:
            with anyio.move_on_after(CHANGE_LIMIT_S):
                while True:
                    await engine.wait(
                        wallet_of(facts.federation_id),
                        lambda wallet: not _lacks_change(wallet, facts),
                    )
                    found = await measure()
                    if not _waits(engine, facts, found):
                        return found
            return await measure()


def _waits(engine: Engine, facts: receive.ReceiveFacts, found: Measured) -> bool:
    wallet = engine.peek(wallet_of(facts.federation_id))
    return found.refusal is None and _lacks_change(wallet, facts)


def _lacks_change(wallet: State, facts: receive.ReceiveFacts) -> bool:
    """Whether the free notes do not bring what the contract needs, and others may come back as change."""
    if not isinstance(wallet, Wallet) or not wallet.spending:
        return False
    contract = FundedContract(facts.contract, facts.contract_msat)
    try:
        reserving.plan(wallet.fees, wallet.notes, outputs=(contract,))
    except InsufficientNotesError:
        return True
    return False
