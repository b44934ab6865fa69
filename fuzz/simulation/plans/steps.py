"""The steps of a simulated run, as plain values: actions of people, and faults.

Every step begins at its second of the fault phase. Federation 0 has one guardian, federation 1 has four. Amounts of
Lightning and ecash are msat.
"""

from typing import Literal

from backends.simulated.node import Fault
from backends.simulated.part import Call
from devnet.users.receiving import Flaw
from fuzz.simulation.plans import byzantine_steps, operator_steps, time_steps
from fuzz.simulation.plans.step import Step

#: How a payee treats what arrives: takes it; holds it and takes or fails it after `hold_s`; never heard of it.
Payee = Literal["takes", "holds and takes", "holds and fails", "knows nothing"]
#: What is unusual about a payment out: the contract holds too little, ends too soon, is paid for twice by one contract
#: or by two of two federations, was given another's claim key; its sender hangs up and asks again, asks twice, or asks
#: for an output first that is not there; its invoice is of another network; somebody at the node pays it before.
SendTwist = Literal[
    "none",
    "poor",
    "short",
    "two contracts",
    "not ours",
    "hangs up",
    "asks twice",
    "names another output",
    "other network",
    "paid by hand",
]
#: What a payer does with an invoice: pays it; locks another amount; pays twice; pays near the deadline; does not pay;
#: finds it in the node's list and pays before the gateway has heard of it; pays in parts, one after the other, or all
#: but the last; pays an invoice of another gateway of the same node, which its receiver has asked for before, with the
#: same hash, and which that one settles or cancels.
Payer = Literal[
    "pays",
    "locks more",
    "pays twice",
    "pays late",
    "does not pay",
    "pays early",
    "pays in parts",
    "pays in part",
    "pays another",
    "pays another in vain",
]
Lie = Literal["wrong shares", "wrong errors", "garbage"]


# --- people ------------------------------------------------------------------------------------------------------


class Send(Step, frozen=True):
    """A user pays an invoice of another node."""

    federation: int
    amount_msat: int
    payee: Payee
    hold_s: float
    expiry_s: int
    twist: SendTwist


class Receive(Step, frozen=True):
    """A user asks for an invoice, and somebody pays it, or not."""

    federation: int
    amount_msat: int
    payer: Payer
    flaw: Flaw | None
    expiry_s: int
    pays_after_s: float


class Swap(Step, frozen=True):
    """A user of one federation pays one of the other, or of the same; `flaw` is the receiver's."""

    source: int
    target: int
    amount_msat: int
    flaw: Flaw | None
    lightning_too: bool
    """Somebody else pays the same invoice over Lightning at that moment."""
    pays_after_s: float = 0.0


class Deposit(Step, frozen=True):
    """Somebody pays coins to a new address of the gateway's."""

    federation: int
    value_sat: int


class Withdraw(Step, frozen=True):
    """The operator takes coins out; 0 is everything."""

    federation: int
    value_sat: int


class HandIn(Step, frozen=True):
    """Somebody gives the gateway ecash, and perhaps tries to spend it elsewhere at the same time."""

    federation: int
    amount_msat: int
    spent_elsewhere: bool


class Give(Step, frozen=True):
    """The operator takes ecash out, and a user reissues it, or does not."""

    federation: int
    amount_msat: int
    redeemed: bool


class Leave(Step, frozen=True):
    """The operator leaves a federation and comes back."""

    federation: int
    away_s: float


class SetTerms(Step, frozen=True):
    """The operator changes fees, or whether receivers are served."""

    federation: int
    transaction_base_msat: int
    receive_enabled: bool


class OperatorPays(Step, frozen=True):
    """The operator pays an invoice from the node's channels, perhaps one that a client pays too."""

    amount_msat: int
    payee: Payee
    hold_s: float
    again: bool


class OperatorSends(Step, frozen=True):
    """The operator sends coins of the node."""

    value_sat: int


# --- what goes wrong ---------------------------------------------------------------------------------------------


class Crash(Step, frozen=True):
    """The gateway's process dies at the n-th probe from then on (before or after a commit, around an effect)."""

    probes: int
    down_s: float


class CallFault(Step, frozen=True):
    """Something happens to the node's next calls of this kind."""

    call: Call
    faults: tuple[Fault, ...]


class DeliverLate(Step, frozen=True):
    """The node reads the calls that it has not read yet; who made them is gone."""


class NodeDown(Step, frozen=True):
    """The node stops and comes back with the HTLCs that it held."""

    for_s: float


class NodeStreamsCut(Step, frozen=True):
    """Every open stream of the node breaks."""


class NodeRepeats(Step, frozen=True):
    """The node tells of every held HTLC once more."""


class NodeBehind(Step, frozen=True):
    """The node is behind the chain for a while."""

    for_s: float


class GuardianDown(Step, frozen=True):
    """One guardian is away for a while."""

    federation: int
    peer: int
    for_s: float


class GuardianSlow(Step, frozen=True):
    """One guardian takes its time with every call."""

    federation: int
    peer: int
    pause_s: float
    for_s: float


class GuardianLies(Step, frozen=True):
    """Guardian 0 of the federation of four says what is not so."""

    lie: Lie
    for_s: float


class AnswersLost(Step, frozen=True):
    """Every second answer of every guardian of a federation is lost after it did what was asked."""

    federation: int
    for_s: float


class Partition(Step, frozen=True):
    """A whole federation is out of reach."""

    federation: int
    for_s: float


class SlowConsensus(Step, frozen=True):
    """Transactions are accepted late."""

    federation: int
    pause_s: float
    for_s: float


class Mine(Step, frozen=True):
    """Blocks are found."""

    blocks: int


class Reorganise(Step, frozen=True):
    """The newest blocks, fewer than make a transaction final, are replaced by one more with the same transactions."""

    blocks: int


class ClockJump(Step, frozen=True):
    """The gateway's own clock goes wrong by so much, less than what is relied on, and stays so."""

    seconds: float


class SlowDisk(Step, frozen=True):
    """Every commit takes so long: what is decided is not durable for a while."""

    pause_s: float
    for_s: float


class Crowd(Step, frozen=True):
    """Every place for callers is taken for a while."""

    for_s: float


class DiskLost(Step, frozen=True):
    """The log is backed up at the n-th probe from then on, or at a point by its name, as it is then, and goes on.

    It is lost `lost_after_s` after that, and `down_s` later the backup is restored.
    """

    probes: int
    lost_after_s: float
    down_s: float
    point: str = ""


class DirectoryLost(Step, frozen=True):
    """Everything is lost once all is at rest, and an empty directory is started with the mnemonic and recovery."""


class Dismiss(Step, frozen=True):
    """The operator gives up what the node never answered, once nothing can come of it any more."""


People = (
    Send
    | Receive
    | Swap
    | Deposit
    | Withdraw
    | HandIn
    | Give
    | Leave
    | SetTerms
    | operator_steps.SetCap
    | operator_steps.TrustAgain
    | operator_steps.ReplaceNode
    | OperatorPays
    | OperatorSends
)
Trouble = (
    Crash
    | CallFault
    | DeliverLate
    | NodeDown
    | NodeStreamsCut
    | NodeRepeats
    | NodeBehind
    | GuardianDown
    | GuardianSlow
    | GuardianLies
    | AnswersLost
    | Partition
    | SlowConsensus
    | Mine
    | Reorganise
    | ClockJump
    | SlowDisk
    | Crowd
    | time_steps.Paces
    | operator_steps.GiveUp
    | operator_steps.CannotBuild
    | byzantine_steps.CrashAt
    | byzantine_steps.FederationRefuses
    | byzantine_steps.AbsurdGuardians
    | byzantine_steps.AbsurdClient
    | byzantine_steps.AbsurdFederation
    | byzantine_steps.NeighbourCancels
    | byzantine_steps.NeighbourPays
    | byzantine_steps.DepositsTaken
    | byzantine_steps.NodeGivesUp
    | byzantine_steps.NodeForgetsInvoices
    | byzantine_steps.NodeForgetsPayments
    | DiskLost
    | DirectoryLost
    | Dismiss
)
AnyStep = People | Trouble
