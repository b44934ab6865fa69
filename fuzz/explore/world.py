"""The world outside the gateway in an exploration: a node, one or two federations, people, and time.

Time stands at one of a few moments, the edges at which something becomes too late. Everything here is small and
abstract; what the gateway makes of it is its own code.
"""

from typing import NamedTuple

from fuzz.explore.script import Ask

#: The federations: of who sends, and of who receives.
SENDERS = "a1" * 32
RECEIVERS = "b2" * 32


class Moment(NamedTuple):
    """A place in time, and why it matters. `is_near` when it is only minutes after the one before.

    Calls take seconds. So what was begun at one moment may go on at the next one that is near, and is over before any
    other; only a process that is gone, or that pauses, lets more time pass.
    """

    unix_s: int
    height: int
    what: str
    is_near: bool = False


class Bounds(NamedTuple):
    """How much goes wrong on one path, at the most. What is above is not looked at."""

    crashes: int = 1
    losses: int = 1
    """Answers that do not come: the call was made, was not, or is still under way."""
    orders: int = 2
    """What the operator does: leave, join again, switch receiving off and on."""
    restores: int = 0
    """Backups taken at any moment, that go on in place of a log which was lost at any other."""


class World(NamedTuple):
    """Everything outside, and what the process knows beside its log. Numbers of what may go wrong count down."""

    left: Bounds
    moment: int = 0
    is_up: bool = True
    served: tuple[str, ...] = ()
    answered: tuple[str, ...] = ()
    is_flawed: bool = False
    """Whether the receiver's contract holds no preimage."""
    invoice: str = ""
    """Of the receiver at our node: open, held, settled, cancelled."""
    htlc: str = ""
    """Of who pays it: locked, paid, failed by us, over at its deadline."""
    locked_msat: int = 0
    """What that HTLC holds."""
    record: str = ""
    """Of the payment that our node makes: flying, succeeded, failed."""
    record_ends: int = 0
    """The height at which that payment's HTLC is over, if nobody settles it."""
    in_transit: tuple[Ask, ...] = ()
    """Calls to pay whose caller is gone and which the node has not read yet."""
    contract: str = ""
    """Of the sender: locked, claimed by us, back with the sender."""
    fundings: tuple[str, ...] = ()
    """Transactions that funded the receiver's contract."""
    accepted: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    spent: frozenset[str] = frozenset()
    ours: frozenset[str] = frozenset()
    """Nonces of notes that the federations issued to us and nobody has spent."""
    backup: int = -1
    """The memory that a backup holds, if one was taken."""
    heard: str = ""
    """What the sender was answered: preimage, forfeit."""


class Outcome(NamedTuple):
    """One way in which a call may end: what the caller hears (nothing yet when None), and the world after it."""

    value: object
    world: World
    what: str
