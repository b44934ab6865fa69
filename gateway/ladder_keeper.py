"""Has the ladder of notes of each wallet made anew when nothing is under way (`statemachines/ladder.py`)."""

from engine.engine import Engine
from engine.machine import State
from engine.ports import Clock
from engine.storage.errors import StorageError
from errors import GatewayError
from statemachines.transaction import wallet_of
from statemachines.wallet import Rebalance, Wallet
from statemachines.wallet_rules import rebuilt_ladder

#: For so long rungs were missing and nothing made them, before a transaction of their own does. Twice as long before
#: the next one, and so on: a federation that takes no fees and refuses each of them must not fill the log.
IDLE_S = 5.0
#: But no longer; and after so long without one it is IDLE_S again.
IDLE_MAX_S = 3600.0
#: Before another try when something is under way, the log is frozen, or the wallet fails at it.
PAUSE_S = 30.0


async def keep_ladder(engine: Engine, federation_id: str, clock: Clock) -> None:
    """Ask for the rungs that are missing, without end; `gateway/conditions.py` says when there may be any.

    Without them payments wait for each other's change, so no trouble here may disturb anything else.
    """
    stream = wallet_of(federation_id)
    idle_s, asked_unix_us = IDLE_S, 0
    while True:
        try:
            await engine.wait(stream, _misses_rungs)
            if clock.now_unix_us() - asked_unix_us >= IDLE_MAX_S * 1_000_000:
                idle_s = IDLE_S
            await clock.sleep(idle_s)
            await engine.submit(stream, Rebalance())
            idle_s, asked_unix_us = min(2 * idle_s, IDLE_MAX_S), clock.now_unix_us()
        except StorageError:
            raise
        except GatewayError:
            await clock.sleep(PAUSE_S)


def _misses_rungs(state: State) -> bool:
    return isinstance(state, Wallet) and rebuilt_ladder(state) is not None
