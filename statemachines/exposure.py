"""The gateway's stake in one federation: what it would lose if the guardians broke every promise.

It is ecash, also inside of transactions, contracts and deposits that are ours, contracts that we funded and know no
preimage of yet, and every contract for which a call may have left while it is not claimed: the federation's word is
all that stands for it.
"""

from collections.abc import Iterable
from typing import Final

from engine.machine import State
from statemachines import send
from statemachines.accounts import contracts, deposited, ecash, incoming, transit
from statemachines.federation import Trust
from statemachines.holdings import HOLDING, holdings

#: What an operator who has set no cap has at stake in one federation at most: 0.05 bitcoin. Upstream knows no bound.
#: Gateways of usual size have channels of one to ten million sat, so this is what they pay out in one of them, or hold
#: for receivers, and still a small part of the whole; an operator who serves more knows the federation, and says so.
CAP_DEFAULT_MSAT: Final = 5_000_000_000

#: Sends of which money may have left our node, or a receiver's federation, and is not claimed back yet.
_PAYING = (send.Swapping, send.Dispatching, send.Unanswered, send.InFlight, send.Vanished)
#: Looked up by type, since a gateway may have many thousands of open streams that hold nothing.
_AT_STAKE: frozenset[type[State]] = HOLDING.union(_PAYING)
_ACCOUNTS = (ecash, transit, contracts, incoming, deposited)


def exposure_msat(states: Iterable[State], federation_id: str) -> int:
    """What these states, of all streams that are not over, have at stake in a federation (id in hex)."""
    at_stake_msat = 0
    for state in states:
        if type(state) not in _AT_STAKE:
            continue
        if isinstance(state, _PAYING):
            is_here = state.facts.federation_id == federation_id
            at_stake_msat += state.facts.contract_msat if is_here else 0
        else:
            at_stake_msat += held_msat(state, federation_id)
    return at_stake_msat


def held_msat(state: State, federation_id: str) -> int:
    """What this state holds in a federation, as the books have it."""
    accounts = {account(federation_id) for account in _ACCOUNTS}
    return sum(amount for account, amount in holdings(state).items() if account in accounts)


def cap_msat(trust: Trust) -> int:
    """What may be at stake there at most."""
    return CAP_DEFAULT_MSAT if trust.cap_msat is None else trust.cap_msat


def distrust(trust: Trust, at_stake_msat: int, contract_msat: int) -> str | None:
    """Why nothing is paid for a further contract, `at_stake_msat` being at stake; None when it may be."""
    if trust.refused_claim is not None:
        refused = trust.refused_claim
        return f"the federation refused the claim of {refused.stream}: {refused.error}"
    if at_stake_msat + contract_msat > cap_msat(trust):
        return (
            f"{at_stake_msat} msat are at stake in the federation, and with this contract it would be more than the "
            f"cap of {cap_msat(trust)} msat"
        )
    return None
