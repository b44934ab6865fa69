"""Keeps tweaks ready for every federation's wallet."""

from engine.engine import Engine
from engine.machine import State
from engine.ports import Clock
from errors import BusyError, FaultError, UnavailableError
from gateway.federation import FederationClient
from gateway.modules.mintv2 import MintV2
from gateway.ports import GrindTweak
from statemachines.transaction import wallet_of
from statemachines.wallet import TWEAK_POOL_SIZE, AddTweaks, Wallet

#: Tweaks per event: few enough to be of use soon, enough not to fill the log with them.
TWEAKS_PER_EVENT = 8
#: Before another try when the grinder died, the journal is full, or the wallet fails at it.
TROUBLE_PAUSE_S = 5.0


async def keep_tweaks(
    engine: Engine, federation: FederationClient, grind: GrindTweak, clock: Clock
) -> None:
    """Refill the pool whenever it is not full. A tweak that a crash loses was never used.

    Without the pool transactions only take longer, so no trouble here may disturb anything else.
    """
    stream, tweak_filter = (
        wallet_of(federation.federation_id),
        federation.module(MintV2).tweak_filter,
    )
    while True:
        try:
            await engine.wait(stream, _wants_tweaks)
            tweaks = [(await grind(tweak_filter)).hex() for _ in range(TWEAKS_PER_EVENT)]
            await engine.submit(stream, AddTweaks(tweaks=tuple(tweaks)))
        except (UnavailableError, BusyError, FaultError):
            await clock.sleep(TROUBLE_PAUSE_S)


def _wants_tweaks(state: State) -> bool:
    return isinstance(state, Wallet) and len(state.tweaks) <= TWEAK_POOL_SIZE - TWEAKS_PER_EVENT
