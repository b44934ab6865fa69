"""Has the ladder of notes of each wallet made anew when nothing is under way (`statemachines/ladder.py`)."""

from engine.engine import Engine
from engine.machine import State
from engine.ports import Clock
from engine.storage.errors import StorageError
from errors import GatewayError
from statemachines.transaction import wallet_of
from statemachines.wallet import Rebalance, Wallet
from statemachines.wallet_rules import rebuilt_ladder

#: For so long rungs were missing and nothing made them, before a transaction of their own does.
IDLE_S = 5.0
#: Before another try when something is under way, the log is frozen, or the wallet fails at it.
PAUSE_S = 30.0


async def keep_ladder(engine: Engine, federation_id: str, clock: Clock) -> None:
    """Ask for the rungs that are missing, without end; `gateway/conditions.py` says when there may be any.

    Without them payments wait for each other's change, so no trouble here may disturb anything else.
    """
    stream = wallet_of(federation_id)
    while True:
        try:
            await engine.wait(stream, _misses_rungs)
            await clock.sleep(IDLE_S)
            await engine.submit(stream, Rebalance())
        except StorageError:
            raise
        except GatewayError:
            await clock.sleep(PAUSE_S)


def _misses_rungs(state: State) -> bool:
    return isinstance(state, Wallet) and rebuilt_ladder(state) is not None
