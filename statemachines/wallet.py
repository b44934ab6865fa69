"""The ecash of one federation: notes held, tweaks ground ahead, and every transaction that moves notes.

The wallet alone decides which notes a transaction spends and which it issues, so no note is promised twice. Claims
never spend notes: a claim must not fail for a reason of the wallet's own. A request for more than
the notes bring gets an answer that says so, and no error. `statemachines/wallet_rules.py` decides; this file names
what can be. Stream: `wallet/<federation id>`.
"""

from typing import ClassVar

import msgspec

from engine.events import Event
from engine.machine import Input, State
from statemachines import ladder
from statemachines.items import Claim, HeldNote, Output
from statemachines.reserving import FederationFees

#: Tweaks kept ground ahead: what some twenty claims use, so that a burst of payments does not wait for grinding.
TWEAK_POOL_SIZE = 256

# --- states ----------------------------------------------------------------------------------------------------


class Unopened(State, frozen=True):
    """The federation was never joined."""


class Memory(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the ladder of notes is planned from (`statemachines/ladder.py`).

    `coming` are the denominations that transactions make which spend notes, `paid` what notes had to bring for each of
    the contracts funded last; `allowance_msat` is what the ladder may cost.
    """

    coming: dict[str, tuple[int, ...]] = msgspec.field(default_factory=dict)
    paid: tuple[int, ...] = ()
    allowance_msat: int = ladder.ALLOWANCE_AHEAD_MSAT


class Wallet(State, frozen=True):
    """`notes` are free to spend, `spending` are in the transactions named, `tweaks` (hex) were never used.

    `memory` is there once there is anything to remember: logs older than the ladder fold to what they always did.
    """

    federation_id: str
    fees: FederationFees
    notes: tuple[HeldNote, ...] = ()
    spending: dict[str, tuple[HeldNote, ...]] = msgspec.field(default_factory=dict)
    tweaks: tuple[str, ...] = ()
    transactions: int = 0
    memory: Memory | msgspec.UnsetType = msgspec.UNSET

    @property
    def remembered(self) -> Memory:
        return Memory() if self.memory is msgspec.UNSET else self.memory

    @property
    def balance_msat(self) -> int:
        """The worth of the notes free to spend."""
        return sum(note.amount_msat for note in self.notes)


# --- inputs ----------------------------------------------------------------------------------------------------


class OpenWallet(Input, frozen=True):
    """The federation is joined, or joined again: its fees as its config has them."""

    federation_id: str
    fees: FederationFees


class AddTweaks(Input, frozen=True):
    """Freshly ground tweaks (hex), each from randomness of its own."""

    tweaks: tuple[str, ...]


class DiscardTweaks(Input, frozen=True):
    """The log is a backup: events that are lost may have used its tweaks."""


class ForgetNotes(Input, frozen=True):
    """Notes (by nonce) that the federation says are spent, by events that are lost; those not free are left."""

    nonces: tuple[str, ...]


class RecoverNotes(Input, frozen=True):
    """Notes of ours that the federation's history holds; those known already are left out."""

    notes: tuple[HeldNote, ...]


class ClaimInputs(Input, frozen=True):
    """Turn what `parent` has a right to into notes."""

    parent: str
    claims: tuple[Claim, ...]


class FundOutput(Input, frozen=True):
    """Pay for an output of `parent`, which is then output 0 of its transaction, or tell it FundingRefused.

    What is not signed until `sign_by_unix_s` is abandoned, and `parent` told so.
    """

    parent: str
    output: Output
    sign_by_unix_s: int


class SpendNotes(Input, frozen=True):
    """Give `parent` notes of exactly this face value, a multiple of 512 msat.

    It is told NotesSpent; or the end of a transaction that makes such notes, after which it asks again; or
    FundingRefused.
    """

    parent: str
    amount_msat: int


class Rebalance(Input, frozen=True):
    """Nothing is under way: make the rungs that the ladder of notes misses, if it misses many and may cost that."""


# --- what parents are told ---------------------------------------------------------------------------------------


class FundingRefused(Input, frozen=True):
    """The notes do not bring what is needed; nothing was reserved."""

    available_msat: int


class NotesSpent(Input, frozen=True):
    """These notes are the parent's now."""

    notes: tuple[HeldNote, ...]


# --- events ----------------------------------------------------------------------------------------------------


class WalletOpened(Event, frozen=True):
    kind: ClassVar[str] = "wallet.opened"
    federation_id: str
    fees: FederationFees


class TweaksAdded(Event, frozen=True):
    kind: ClassVar[str] = "wallet.tweaks_added"
    tweaks: tuple[str, ...]


class TweaksDiscarded(Event, frozen=True):
    """The whole pool is never used."""

    kind: ClassVar[str] = "wallet.tweaks_discarded"


class WalletForgotten(Event, frozen=True):
    """Notes (by nonce) were spent by events that are lost; what they brought is found by recovery."""

    kind: ClassVar[str] = "wallet.forgotten"
    nonces: tuple[str, ...]


class WalletRecovered(Event, frozen=True):
    """Notes found in the federation's history by our mnemonic."""

    kind: ClassVar[str] = "wallet.recovered"
    notes: tuple[HeldNote, ...]


class WalletReserved(Event, frozen=True, omit_defaults=True):
    """Notes (by nonce) and the first so many tweaks are promised to transaction `tx` and to nothing else.

    `issues` are the denominations that it makes of notes, `pays_msat` what these had to bring for a contract,
    `fee_msat` all its fees, `ladder_msat` those of them that the ladder of notes costs.
    """

    kind: ClassVar[str] = "wallet.reserved"
    tx: str
    nonces: tuple[str, ...]
    tweaks: int
    issues: tuple[int, ...] = ()
    pays_msat: int = 0
    fee_msat: int = 0
    ladder_msat: int = 0


class WalletSpent(Event, frozen=True):
    """Notes (by nonce) left the wallet for `parent`, which gives them away."""

    kind: ClassVar[str] = "wallet.spent"
    parent: str
    nonces: tuple[str, ...]


class WalletCredited(Event, frozen=True):
    """Transaction `tx` is final: its new notes are ours, those it spent are gone."""

    kind: ClassVar[str] = "wallet.credited"
    tx: str
    notes: tuple[HeldNote, ...]


class WalletRestored(Event, frozen=True):
    """Transaction `tx` was rejected for good or never signed: these of its notes are free again."""

    kind: ClassVar[str] = "wallet.restored"
    tx: str
    nonces: tuple[str, ...]


class NotesLost(Event, frozen=True):
    """The federation refuses these notes even alone, or as few as a fee is worth: somebody spent some of them."""

    kind: ClassVar[str] = "wallet.notes_lost"
    tx: str
    nonces: tuple[str, ...]
    amount_msat: int
