"""The stake in a federation, counted from the books and the state of every stream."""

from collections.abc import Iterable, Mapping

from engine.machine import State
from fedimint import lnv2
from statemachines import accounts, send

_ACCOUNTS = (
    accounts.ecash,
    accounts.transit,
    accounts.contracts,
    accounts.incoming,
    accounts.deposited,
)


def at_stake_msat(federation_id: str, states: Iterable[State], balances: Mapping[str, int]) -> int:
    """Ecash and contracts that are the gateway's by the books, and contracts for which money may be on its way."""
    booked_msat = sum(balances.get(account(federation_id), 0) for account in _ACCOUNTS)
    sends = [facts for state in states if (facts := _facts_of_paid(state)) is not None]
    return booked_msat + sum(
        contract_msat(facts) for facts in sends if facts.federation_id == federation_id
    )


def contract_msat(facts: send.SendFacts) -> int:
    """What a sender's contract holds, by its own bytes."""
    return lnv2.OUTGOING_CONTRACT.decode(bytes.fromhex(facts.contract)).amount_msat


def _facts_of_paid(state: State) -> send.SendFacts | None:
    """Of a payment for which a call was intended, or a swap begun, and of which no end is known."""
    match state:
        case (
            send.Swapping(facts=facts)
            | send.Dispatching(facts=facts)
            | send.Unanswered(facts=facts)
            | send.InFlight(facts=facts)
            | send.Vanished(facts=facts)
        ):
            return facts
    return None
