"""Every msat of a log in double entry: what each event moves, and whether the machines agree with the sum.

Amounts are msat. What we hold is positive, what we owe or earned is negative, so the postings of one event, and of a
whole log, sum to zero. Accounts:

    ecash/<federation>      notes free to spend
    transit/<federation>    inside transactions: what goes in until they are accepted, then what they issue
    contracts/<federation>  contracts that we hold the preimage of and whose claim is not signed yet
    node                    what the Lightning node owes us; negative, since it paid for us
    fees_earned             what senders left above the invoice; negative, being income
    routing_fees, federation_fees, dust, lost

Balances of node and chain are not folded here: they are compared, by others.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

import msgspec

from engine.chain import Row
from engine.events import Event
from engine.fold import Machines, Position
from engine.machine import State
from errors import FatalError
from statemachines import federation, identity, image, send, transaction, wallet
from statemachines.transaction import HeldNote, Issue, Reservation

NODE = "node"
FEES_EARNED = "fees_earned"
ROUTING_FEES = "routing_fees"
FEDERATION_FEES = "federation_fees"
DUST = "dust"
LOST = "lost"

Amounts = Mapping[str, int]
Payable = send.Accepted | send.Dispatching | send.Unanswered | send.InFlight | send.Vanished


def ecash(federation_id: str) -> str:
    """The account of the notes free to spend."""
    return f"ecash/{federation_id}"


def transit(federation_id: str) -> str:
    """The account of what transactions hold that are under way."""
    return f"transit/{federation_id}"


def contracts(federation_id: str) -> str:
    """The account of contracts that are ours and not yet in a signed claim."""
    return f"contracts/{federation_id}"


class Posting(msgspec.Struct, frozen=True):
    """One line of a booking: `amount_msat` is added to `account`."""

    account: str
    amount_msat: int


# --- what events move --------------------------------------------------------------------------------------------


def _reserved(before: wallet.Wallet, event: wallet.WalletReserved) -> Amounts:
    promised = [note for note in before.notes if note.nonce in set(event.nonces)]
    return _move(_worth(promised), ecash(before.federation_id), transit(before.federation_id))


def _restored(before: wallet.Wallet, event: wallet.WalletRestored) -> Amounts:
    back_msat = _worth(before.spending[event.tx])
    return _move(back_msat, transit(before.federation_id), ecash(before.federation_id))


def _credited(before: wallet.Wallet, event: wallet.WalletCredited) -> Amounts:
    new_msat = _worth(event.notes)
    return _move(new_msat, transit(before.federation_id), ecash(before.federation_id))


def _signed(before: transaction.Reserved, _event: transaction.TxSigned) -> Amounts:
    federation_id = before.reservation.federation_id
    return _move(_claimed(before.reservation), contracts(federation_id), transit(federation_id))


def _accepted(before: transaction.Signed, _event: transaction.TxAccepted) -> Amounts:
    """The inputs are gone: what is not issued anew went to the federation, or was too little for a note."""
    reservation = before.reservation
    in_msat = _claimed(reservation) + _worth(reservation.spends)
    fees_msat = reservation.input_fee_msat + reservation.output_fee_msat
    issued_msat = _issued(before.signed.issues)
    return {
        transit(reservation.federation_id): issued_msat - in_msat,
        FEDERATION_FEES: fees_msat,
        DUST: in_msat - issued_msat - fees_msat,
    }


def _rejected(before: transaction.Signed, _event: transaction.TxRejected) -> Amounts:
    """Notes go back by the wallet's own events."""
    federation_id = before.reservation.federation_id
    return _move(_claimed(before.reservation), transit(federation_id), contracts(federation_id))


def _paid(before: Payable, event: send.SendPaid) -> Amounts:
    facts = before.facts
    return {
        NODE: -facts.invoice_msat - event.routing_fee_msat,
        contracts(facts.federation_id): facts.contract_msat,
        FEES_EARNED: facts.invoice_msat - facts.contract_msat,
        ROUTING_FEES: event.routing_fee_msat,
    }


def _move(amount_msat: int, source: str, target: str) -> Amounts:
    return {source: -amount_msat, target: amount_msat}


def _worth(notes: Iterable[HeldNote]) -> int:
    return sum(note.amount_msat for note in notes)


def _claimed(reservation: Reservation) -> int:
    return sum(claim.amount_msat for claim in reservation.claims)


def _issued(issues: Iterable[Issue]) -> int:
    return sum(1 << issue.denomination for issue in issues)


_BOOKINGS: Mapping[type[Event], Callable[[Any, Any], Amounts]] = {
    wallet.WalletReserved: _reserved,
    wallet.WalletRestored: _restored,
    wallet.WalletCredited: _credited,
    wallet.NotesLost: lambda before, event: _move(
        event.amount_msat, transit(before.federation_id), LOST
    ),
    transaction.TxSigned: _signed,
    transaction.TxAccepted: _accepted,
    transaction.TxRejected: _rejected,
    transaction.TxCollected: lambda before, event: _move(
        event.lost_msat, transit(before.reservation.federation_id), LOST
    ),
    send.SendPaid: _paid,
    send.SendClaimRejected: lambda before, _event: _move(
        before.facts.contract_msat, contracts(before.facts.federation_id), LOST
    ),
}

#: Events that move nothing, named so that a new event is never forgotten.
MOVES_NOTHING: frozenset[type[Event]] = frozenset(
    {
        identity.GatewayFounded,
        identity.IndexTaken,
        federation.FederationJoined,
        image.ImageClaimed,
        wallet.WalletOpened,
        wallet.TweaksAdded,
        transaction.TxReserved,  # its wallet's `wallet.reserved` stands in the same append
        send.SendAccepted,
        send.SendDispatching,
        send.SendUnanswered,
        send.SendInFlight,
        send.SendVanished,
        send.SendClaiming,
        send.SendClaimed,
        send.SendCancelling,
        send.SendCancelled,
    }
)


def postings(before: State, event: Event) -> tuple[Posting, ...]:
    """What `event` moves, given its stream's state before it; empty for events that move nothing. Sums to zero.

    Raises FatalError for an event that this ledger was never told how to book.
    """
    if type(event) in MOVES_NOTHING:
        return ()
    booking = _BOOKINGS.get(type(event))
    if booking is None:
        raise FatalError(f"the ledger does not know what {event.kind} moves")
    amounts = booking(before, event)
    return tuple(Posting(account, amount) for account, amount in amounts.items() if amount)


# --- what states hold ----------------------------------------------------------------------------------------------


def holdings(state: State) -> Amounts:
    """What a stream in this state holds, by account; the sum over all streams must be the ledger's balance."""
    match state:
        case wallet.Wallet():
            return {ecash(state.federation_id): state.balance_msat}
        case transaction.Reserved(reservation):
            return {transit(reservation.federation_id): _worth(reservation.spends)}
        case transaction.Signed(reservation):
            in_msat = _claimed(reservation) + _worth(reservation.spends)
            return {transit(reservation.federation_id): in_msat}
        case transaction.Accepted(reservation, signed):
            return {transit(reservation.federation_id): _issued(signed.issues)}
        case send.Paid(facts):
            return {contracts(facts.federation_id): facts.contract_msat}
        case _:
            return {}


# --- the fold ------------------------------------------------------------------------------------------------------


class Ledger:
    """Balances by account; an account that nothing was ever posted to has 0."""

    def __init__(self) -> None:
        self._balances: defaultdict[str, int] = defaultdict(int)

    def post(self, lines: Iterable[Posting]) -> None:
        """Add every line to its account."""
        for line in lines:
            self._balances[line.account] += line.amount_msat

    def balance_msat(self, account: str) -> int:
        return self._balances.get(account, 0)

    def balances(self) -> dict[str, int]:
        """Every account that is not zero, by name."""
        return {name: amount for name, amount in sorted(self._balances.items()) if amount}


class Report(msgspec.Struct, frozen=True):
    """What an audit found: rows read, balances by account in msat, and a sentence for everything that is wrong."""

    rows: int
    balances: dict[str, int]
    problems: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        return not self.problems


def audit(machines: Machines, rows: Iterable[Row]) -> Report:
    """Replay a whole log of verified rows and hold its ledger against the states, after every append.

    Raises FatalError when the rows cannot be folded.
    """
    ledger, held = Ledger(), Ledger()
    known: dict[str, Position] = {}
    problems: list[str] = []
    count = 0
    for append, group in groupby(rows, key=lambda row: row.append):
        touched: set[str] = set()
        for row in group:
            count += 1
            before = _state_of(machines, known, row.stream)
            step = machines.step(known, row)
            known[row.stream] = Position(step.state, row.version, row.position)
            lines = postings(before, step.event)
            problems += _wrong_in(row, lines)
            ledger.post(lines)
            held.post(_change(before, step.state))
            touched.update(line.account for line in lines)
            touched.update(holdings(before), holdings(step.state))
        problems += _differences(append, ledger, held, touched)
    return Report(rows=count, balances=ledger.balances(), problems=tuple(problems))


def _state_of(machines: Machines, known: Mapping[str, Position], stream: str) -> State:
    position = known.get(stream)
    return position.state if position is not None else machines.of(stream).initial


def _change(before: State, after: State) -> Iterator[Posting]:
    for account, amount_msat in holdings(before).items():
        yield Posting(account, -amount_msat)
    for account, amount_msat in holdings(after).items():
        yield Posting(account, amount_msat)


def _wrong_in(row: Row, lines: tuple[Posting, ...]) -> Iterator[str]:
    total_msat = sum(line.amount_msat for line in lines)
    if total_msat:
        yield f"{row.kind} at {row.position} creates {total_msat} msat"
    for line in lines:
        if line.account == DUST and line.amount_msat < 0:
            yield f"{row.kind} at {row.position} brings {-line.amount_msat} msat out of nowhere"


def _differences(append: int, ledger: Ledger, held: Ledger, accounts: set[str]) -> Iterator[str]:
    """Only accounts that states know of can differ; an account is checked when an append touched it."""
    for account in sorted(accounts):
        if "/" not in account:
            continue
        booked_msat, held_msat = ledger.balance_msat(account), held.balance_msat(account)
        if booked_msat != held_msat:
            yield f"after {append}: {account} is booked at {booked_msat} msat, held are {held_msat}"
