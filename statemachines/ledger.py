"""The books of a log in double entry: its balances, and whether the machines agree with them.

What each event moves and what each state holds is in `bookings.py` and `holdings.py`, the accounts in
`accounts.py`. Balances of node and chain are not folded here: they are compared, by others.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from engine.chain import Row, StoredStep
from engine.events import Event, Unread
from engine.fold import Machines, Position
from engine.machine import State
from errors import FatalError
from statemachines.accounts import DUST, SWAPS, UNREAD, Amounts
from statemachines.bookings import BOOKINGS, MOVES_NOTHING
from statemachines.holdings import holdings


class Posting(msgspec.Struct, frozen=True):
    """One line of a booking: `amount_msat` is added to `account`."""

    account: str
    amount_msat: int


def postings(before: State, event: Event) -> tuple[Posting, ...]:
    """What `event` moves, given its stream's state before it; empty for events that move nothing. Sums to zero.

    Raises FatalError for an event that this ledger was never told how to book.
    """
    if isinstance(event, Unread) or type(event) in MOVES_NOTHING:
        return ()
    booking = BOOKINGS.get(type(event))
    if booking is None:
        raise FatalError(f"the ledger does not know what {event.kind} moves")
    amounts = booking(before, event)
    return tuple(Posting(account, amount) for account, amount in amounts.items() if amount)


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


class Auditor:
    """Holds the books of a log against the states of its machines, append by append, while it is folded."""

    def __init__(self) -> None:
        self.rows = 0
        self._ledger, self._held = Ledger(), Ledger()
        self._append = 0
        # What open streams hold: a wallet counts all of its notes to tell.
        self._holdings: dict[str, Amounts] = {}
        self._touched: set[str] = set()
        self._has_unread = False

    @property
    def balances(self) -> dict[str, int]:
        """Every account that is not zero, in msat by name."""
        return self._ledger.balances()

    def inspect(self, before: State, step: StoredStep) -> Iterator[str]:
        """What is wrong with the appends that end before this step, and with its own booking."""
        if step.row.append != self._append:
            yield from self.finish()
            self._append = step.row.append
        self.rows += 1
        self._has_unread = self._has_unread or step.fault is not None
        lines = postings(before, step.event)
        yield from _wrong_in(step.row, lines)
        self._ledger.post(lines)
        was = self._holdings.pop(step.row.stream, None)
        was, now = holdings(before) if was is None else was, holdings(step.state)
        if not step.final:
            self._holdings[step.row.stream] = now
        self._held.post(Posting(account, -amount_msat) for account, amount_msat in was.items())
        self._held.post(Posting(account, amount_msat) for account, amount_msat in now.items())
        self._touched.update(was, now, (line.account for line in lines))

    def finish(self) -> Iterator[str]:
        """What is wrong after the newest append.

        What an event moved that this program cannot read is what the other events of its append leave open.
        """
        if self._has_unread:
            self._ledger.post(_left_open(self._ledger, self._held, self._touched))
            self._has_unread = False
        yield from _differences(self._append, self._ledger, self._held, self._touched)
        self._touched.clear()


def audit(machines: Machines, rows: Iterable[Row]) -> Report:
    """Replay a whole log of verified rows and hold its ledger against the states, after every append.

    Raises FatalError when the rows cannot be folded.
    """
    auditor = Auditor()
    open_now: dict[str, Position] = {}
    problems: list[str] = []
    for row in rows:
        known = open_now.get(row.stream)
        before = known.state if known is not None else machines.of(row.stream).initial
        step = machines.step(open_now, row)
        problems += auditor.inspect(before, step)
        if step.final:
            open_now.pop(row.stream, None)
        else:
            open_now[row.stream] = Position.after(step)
    problems += auditor.finish()
    return Report(rows=auditor.rows, balances=auditor.balances, problems=tuple(problems))


def _wrong_in(row: Row, lines: tuple[Posting, ...]) -> Iterator[str]:
    total_msat = sum(line.amount_msat for line in lines)
    if total_msat:
        yield f"{row.kind} at {row.position} creates {total_msat} msat"
    for line in lines:
        if line.account == DUST and line.amount_msat < 0:
            yield f"{row.kind} at {row.position} brings {-line.amount_msat} msat out of nowhere"


def _left_open(ledger: Ledger, held: Ledger, accounts: set[str]) -> Iterator[Posting]:
    for account, booked_msat, held_msat in _unequal(ledger, held, accounts):
        yield Posting(account, held_msat - booked_msat)
        yield Posting(UNREAD, booked_msat - held_msat)


def _differences(append: int, ledger: Ledger, held: Ledger, accounts: set[str]) -> Iterator[str]:
    for account, booked_msat, held_msat in _unequal(ledger, held, accounts):
        yield f"after {append}: {account} is booked at {booked_msat} msat, held are {held_msat}"


def _unequal(ledger: Ledger, held: Ledger, accounts: set[str]) -> list[tuple[str, int, int]]:
    """Only accounts that states know of can differ; an account is checked when an append touched it."""
    known = [account for account in sorted(accounts) if "/" in account or account == SWAPS]
    both = [(one, ledger.balance_msat(one), held.balance_msat(one)) for one in known]
    return [found for found in both if found[1] != found[2]]
