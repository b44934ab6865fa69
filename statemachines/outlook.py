"""What an operator may know of every open state: how long it may last, whose it is, whom it waits for, what to do.

None of this ends anything: what is overdue goes on, and is shown.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from engine.machine import State
from errors import FatalError

#: What bitcoin aims at.
BLOCK_S: Final = 600
#: The node, a guardian or a worker answers in seconds, and after a restart of its own in minutes.
ANSWER_S: Final = 600
#: A transaction is built, accepted and its notes collected: an answer each.
TRANSACTION_S: Final = 3 * ANSWER_S
#: A receive is a transaction and its decryption.
RECEIVE_S: Final = TRANSACTION_S + ANSWER_S
#: A federation takes deposits one after the other, and quotes no fee while many of its transactions are unconfirmed.
DEPOSIT_S: Final = 24 * 60 * 60
#: Money is lost or stuck unless an operator finds out what happened.
AT_ONCE_S: Final = 0

NODE: Final = "the Lightning node"
FEDERATION: Final = "the federation"
NODE_AND_FEDERATION: Final = "node and federation"
OURSELVES: Final = "the gateway itself"
OPERATOR: Final = "the operator"
RECEIVE: Final = "the receive of the same hash"

LET: Final = "Keep gateway and node running: it continues by itself, also after a restart."
GUARDIANS: Final = "See that a threshold of guardians is reachable; it then continues by itself."

NODE_ENDS: Final = (
    "it ends with the Lightning node's own word, and what the node holds times out with its HTLCs"
)
GUARDIANS_END: Final = (
    "its federation decides; if that is gone for good, "
    "`gateway-cli leave-fed --give-up` ends it without them"
)
RECEIVE_ENDS: Final = "it ends with the receive of the same payment hash"


@dataclass(frozen=True, slots=True)
class Outlook:
    """`due_unix_s` is given the state and when it began, and says when it should be over.

    `federation_id` is given the state, and says whose money it is; None for what is between the operator and the node.
    `what_to_do` is for a state that lasts too long. `ended_by` says why the operator may not dismiss it, which is what
    ends it; None where only patience is left, and it may be dismissed (`gateway/dismissing.py`).
    """

    due_unix_s: Callable[[Any, int], int]
    federation_id: Callable[[Any], str | None]
    waits_for: str
    what_to_do: str
    ended_by: str | None


class OpenState(State, frozen=True):
    """Base of the states of which some money, or an operator, waits for the next.

    Each declares its `outlook`. There is no default, so that none is forgotten: the class is refused with FatalError.
    """

    outlook: ClassVar[Outlook]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "outlook" not in vars(cls):
            raise FatalError(f"open state {cls.__name__} declares no outlook")

    def due_unix_s(self, since_unix_s: int) -> int:
        """When it should be over, having begun at `since_unix_s`."""
        return self.outlook.due_unix_s(self, since_unix_s)

    def whose(self) -> str | None:
        """The federation whose money it is (id in hex), None for what is between the operator and the node."""
        return self.outlook.federation_id(self)


def within(seconds: int) -> Callable[[Any, int], int]:
    """Due as long after the state began, for every payment."""
    return lambda _state, since_unix_s: since_unix_s + seconds


def by_field(state: Any) -> str:
    """The federation that the state names itself."""
    federation_id: str = state.federation_id
    return federation_id


def by_facts(state: Any) -> str:
    """The federation that the state's facts name."""
    return by_field(state.facts)


def by_reservation(state: Any) -> str:
    """The federation that the state's reservation names."""
    return by_field(state.reservation)


def by_none(_state: Any) -> None:
    """No federation."""


def awaits_guardians(seconds: int, federation_id: Callable[[Any], str], also: str = "") -> Outlook:
    """Of a state that its federation's guardians end; `also` is a sentence more of what to do."""
    return Outlook(
        due_unix_s=within(seconds),
        federation_id=federation_id,
        waits_for=FEDERATION,
        what_to_do=f"{GUARDIANS} {also}" if also else GUARDIANS,
        ended_by=GUARDIANS_END,
    )
