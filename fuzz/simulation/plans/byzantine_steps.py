"""Faults of others: a federation, the node and its other users, another holder of the mnemonic.

Honest neighbours never do so, and no gateway can make all of it good. What may be lost by it is judged
(`fuzz/simulation/judging/losses.py`).
"""

from typing import Literal

from fuzz.simulation.plans.step import Step

#: Transactions of one kind: the claim of an outgoing contract, the funding of an incoming one, its taking back for want
#: of a preimage; a withdrawal, the claim of a deposit; notes for notes; whatever is the gateway's.
Kind = Literal["claim", "funding", "taking back", "withdrawal", "deposit", "ecash", "gateway's"]


class CrashAt(Step, frozen=True):
    """The gateway's process dies when this point is reached for the n-th time from then on."""

    point: str
    """As `engine.ports.Probe` names it, such as `after reissue.requested`."""
    hits: int
    down_s: float
    blocks: int = 0
    """So many are found while it is away, whatever there is time for."""


class FederationRefuses(Step, frozen=True):
    """All guardians refuse the next good transactions of a kind, each for good."""

    federation: int
    kind: Kind
    times: int
    for_s: float


class AbsurdGuardians(Step, frozen=True):
    """Guardians tell the gateway this number in the place of every other one, or of those in `field`, for a while."""

    federation: int
    all_of_them: bool
    number: int
    field: Literal["", "value"]
    for_s: float


class AbsurdClient(Step, frozen=True):
    """Somebody asks for whatever can be asked for, of this many msat or sat."""

    federation: int
    number: int


class AbsurdFederation(Step, frozen=True):
    """The operator joins a federation that issues notes of 2^62 msat, or takes nearly 2^64 msat as its fee."""

    kind: Literal["denomination", "fees"]


class DepositsTaken(Step, frozen=True):
    """Somebody else with the gateway's words claims deposits that the gateway has found."""

    federation: int
    for_s: float


class NodeGivesUp(Step, frozen=True):
    """Another user of the node cancels held HTLCs as soon as a contract is funded for some."""

    for_s: float


class NeighbourCancels(Step, frozen=True):
    """Another user of the node cancels the first unpaid or held invoice of the gateway's there."""

    is_held: bool
    for_s: float


class NeighbourPays(Step, frozen=True):
    """Another user of the node pays the first invoice that the gateway is about to pay."""

    for_s: float


class NodeForgetsInvoices(Step, frozen=True):
    """The node's database is one of a moment ago: it knows no invoice that nobody has paid yet."""


class NodeForgetsPayments(Step, frozen=True):
    """The node has no record of payments that it showed in flight, for a while."""

    for_s: float
