"""What each state holds, by account of `statemachines/accounts.py`; the sum must equal the books."""

from collections.abc import Callable, Mapping
from typing import Any

from engine.machine import State
from statemachines import completion, deposit, federation, receive, send, transaction, wallet
from statemachines.accounts import (
    Amounts,
    contracts,
    deposited,
    ecash,
    given_up,
    htlcs,
    incoming,
    total,
    transit,
)
from statemachines.items import Claim, DepositClaim, IncomingRefund


def holdings(state: State) -> Amounts:
    """What a stream in this state holds, in msat."""
    hold = _HOLDINGS.get(type(state))
    return hold(state) if hold is not None else {}


def _reserved(state: transaction.Reserved) -> Amounts:
    federation_id = state.reservation.federation_id
    claims = [_claimed(claim, federation_id) for claim in state.reservation.claims]
    return total([{transit(federation_id): state.reservation.spent_msat}, *claims])


def _claimed(claim: Claim, federation_id: str) -> Amounts:
    """A claim of a send is held by the send until it is signed, a foreign note by its giver."""
    match claim:
        case IncomingRefund():
            return {contracts(federation_id): claim.amount_msat}
        case DepositClaim():
            return {deposited(federation_id): claim.value_sat * 1_000}
        case _:
            return {}


def _signed(state: transaction.Signed) -> Amounts:
    reservation = state.reservation
    return {transit(reservation.federation_id): reservation.in_msat}


def _accepted(state: transaction.Accepted) -> Amounts:
    issued_msat = sum(1 << issue.denomination for issue in state.signed.issues)
    return {transit(state.reservation.federation_id): issued_msat}


_HOLDINGS: Mapping[type[State], Callable[[Any], Amounts]] = {
    wallet.Wallet: lambda state: {ecash(state.federation_id): state.balance_msat},
    transaction.Reserved: _reserved,
    transaction.Signed: _signed,
    transaction.Accepted: _accepted,
    send.Paid: lambda state: {contracts(state.facts.federation_id): state.facts.contract_msat},
    receive.Decrypting: lambda state: {
        incoming(state.facts.federation_id): state.facts.contract_msat
    },
    completion.Settling: lambda state: {htlcs(state.federation_id): state.amount_msat},
    federation.Left: lambda state: {given_up(state.facts.federation_id): -state.written_off_msat},
    deposit.Found: lambda state: {deposited(state.federation_id): state.output.value_sat * 1_000},
}
#: Every other state holds nothing. Most of what is open is of such a state.
HOLDING: frozenset[type[State]] = frozenset(_HOLDINGS)
