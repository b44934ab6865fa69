"""The ecash of one federation: notes held, tweaks ground ahead, and every transaction that moves notes.

The wallet alone decides which notes a transaction spends and which it issues, so no note is promised twice. Claims
never spend notes: a claim must not fail for a reason of the wallet's own. Stream: `wallet/<federation id>`.
"""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from engine.events import Event
from engine.machine import Decision, Handle, Ignore, Input, Machine, Refuse, State, Tell
from errors import ConflictError
from fedimint import selection
from fedimint.wire_types import FeeConsensus
from statemachines import transaction
from statemachines.transaction import (
    ContractClaim,
    HeldNote,
    Issue,
    Reservation,
    Reserve,
    TransactionFinished,
    TransactionRejected,
    TransactionSigned,
)

#: Tweaks kept ground ahead: what a handful of claims use.
TWEAK_POOL_SIZE = 64

#: Fewer notes are not worth a transaction that tidies up: it would issue almost as many and pay fees for all of them.
#: Tidying up at once after each claim cost a gateway more than two transactions and 2,000 msat for each payment.
TIDY_LEAST_NOTES = 64


class FederationFees(msgspec.Struct, frozen=True):
    """What the federation charges for each lnv2 and each mint item."""

    lnv2: FeeConsensus
    mint: FeeConsensus


# --- states ----------------------------------------------------------------------------------------------------


class Unopened(State, frozen=True):
    """The federation was never joined."""


class Wallet(State, frozen=True):
    """`notes` are free to spend, `spending` are in the transactions named, `tweaks` (hex) were never used."""

    federation_id: str
    fees: FederationFees
    notes: tuple[HeldNote, ...] = ()
    spending: dict[str, tuple[HeldNote, ...]] = msgspec.field(default_factory=dict)
    tweaks: tuple[str, ...] = ()
    transactions: int = 0

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


class ClaimContract(Input, frozen=True):
    """Claim an outgoing contract for `parent`, which holds its preimage."""

    parent: str
    claim: ContractClaim


# --- events ----------------------------------------------------------------------------------------------------


class WalletOpened(Event, frozen=True):
    kind: ClassVar[str] = "wallet.opened"
    federation_id: str
    fees: FederationFees


class TweaksAdded(Event, frozen=True):
    kind: ClassVar[str] = "wallet.tweaks_added"
    tweaks: tuple[str, ...]


class WalletReserved(Event, frozen=True):
    """Notes (by nonce) and tweaks are promised to transaction `tx` and to nothing else."""

    kind: ClassVar[str] = "wallet.reserved"
    tx: str
    nonces: tuple[str, ...]
    tweaks: tuple[str, ...]


class WalletCredited(Event, frozen=True):
    """Transaction `tx` is final: its new notes are ours, those it spent are gone."""

    kind: ClassVar[str] = "wallet.credited"
    tx: str
    notes: tuple[HeldNote, ...]


class WalletRestored(Event, frozen=True):
    """Transaction `tx` was rejected for good: these of its notes are free again."""

    kind: ClassVar[str] = "wallet.restored"
    tx: str
    nonces: tuple[str, ...]


class NotesLost(Event, frozen=True):
    """The federation refuses these notes even alone: somebody spent them, with our keys or our mistake."""

    kind: ClassVar[str] = "wallet.notes_lost"
    tx: str
    nonces: tuple[str, ...]
    amount_msat: int


# --- transitions -----------------------------------------------------------------------------------------------


def _open(_state: State, input_: OpenWallet) -> Decision:
    return Decision(events=(WalletOpened(federation_id=input_.federation_id, fees=input_.fees),))


def _reopen(state: Wallet, input_: OpenWallet) -> Decision:
    return Decision() if state.fees == input_.fees else _open(state, input_)


def _add_tweaks(state: Wallet, input_: AddTweaks) -> Decision:
    fresh = tuple(tweak for tweak in dict.fromkeys(input_.tweaks) if tweak not in state.tweaks)
    return Decision(events=(TweaksAdded(tweaks=fresh),)) if fresh else Decision()


def _claim(state: Wallet, input_: ClaimContract) -> Decision:
    return _reserve(state, parent=input_.parent, claims=(input_.claim,))


def _finished(state: Wallet, input_: TransactionFinished) -> Decision:
    """Credit, and tidy up at once when that leaves too many notes of one denomination."""
    credited = WalletCredited(tx=input_.tx, notes=input_.notes)
    after = _credited(state, credited)
    counts = selection.consolidate(
        _held(after.notes), state.fees.mint, least_notes=TIDY_LEAST_NOTES
    )
    spends = _pick(after.notes, counts)
    if not spends:
        return Decision(events=(credited,))
    tidy = _reserve(after, parent=wallet_stream(after), spends=spends)
    return Decision(events=(credited, *tidy.events), tells=tidy.tells)


def _rejected(state: Wallet, input_: TransactionRejected) -> Decision:
    """Re-issue what went in: together first, then each note by itself; a note refused alone is lost.

    Guardians have seen these notes, so they are worth more re-issued than free; one bad note among them must not
    hold the others.
    """
    notes = state.spending.get(input_.tx, ())
    if not notes:
        return Decision()
    if len(notes) == 1 and not input_.is_claim:
        lost = NotesLost(tx=input_.tx, nonces=(notes[0].nonce,), amount_msat=notes[0].amount_msat)
        return Decision(events=(lost,))
    bundles = [notes] if input_.is_claim else [(note,) for note in notes]
    restored = WalletRestored(tx=input_.tx, nonces=tuple(note.nonce for note in notes))
    events: list[Event] = [restored]
    tells: list[Tell] = []
    after = _restored(state, restored)
    for bundle in bundles:
        decision = _reserve(after, parent=wallet_stream(state), spends=bundle)
        for event in decision.events:
            after = MACHINE.evolve(after, event)  # type: ignore[assignment]  # a wallet stays one
        events += decision.events
        tells += decision.tells
    return Decision(events=tuple(events), tells=tuple(tells))


def _reserve(
    state: Wallet,
    *,
    parent: str,
    claims: tuple[ContractClaim, ...] = (),
    spends: tuple[HeldNote, ...] = (),
) -> Decision:
    """Reserve a transaction that turns everything that goes in into notes.

    Notes that would all be eaten by fees are left as they are; a claim is made even then, since it also ends the
    contract.
    """
    fees = state.fees
    claimed_msat = sum(claim.amount_msat for claim in claims)
    input_fee_msat = sum(fees.lnv2.fee_msat(claim.amount_msat) for claim in claims)
    input_fee_msat += sum(fees.mint.fee_msat(note.amount_msat) for note in spends)
    available_msat = claimed_msat + sum(note.amount_msat for note in spends) - input_fee_msat
    kept = [note for note in state.notes if note not in spends]
    represented = selection.represent_amount(max(0, available_msat), _held(kept), fees.mint)
    denominations = represented.denominations
    if spends and not denominations:
        return Decision()
    tweaks = state.tweaks[: len(denominations)]
    padded = tweaks + ("",) * (len(denominations) - len(tweaks))
    tx = transaction.stream_of(state.federation_id, state.transactions + 1)
    reservation = Reservation(
        tx=tx,
        parent=parent,
        federation_id=state.federation_id,
        claims=claims,
        spends=spends,
        issues=tuple(Issue(d, tweak) for d, tweak in zip(denominations, padded, strict=True)),
        input_fee_msat=input_fee_msat,
        output_fee_msat=sum(fees.mint.fee_msat(1 << d) for d in denominations),
    )
    reserved = WalletReserved(tx=tx, nonces=tuple(note.nonce for note in spends), tweaks=tweaks)
    return Decision(events=(reserved,), tells=(Tell(tx, Reserve(reservation=reservation)),))


def wallet_stream(state: Wallet) -> str:
    """The stream this wallet lives in."""
    return transaction.wallet_of(state.federation_id)


def _held(notes: Sequence[HeldNote]) -> Counter[int]:
    return Counter(note.denomination for note in notes)


def _pick(notes: Sequence[HeldNote], counts: dict[int, int]) -> tuple[HeldNote, ...]:
    """The oldest notes, as many of each denomination as `counts` says."""
    left = dict(counts)
    picked = []
    for note in notes:
        if left.get(note.denomination, 0) > 0:
            left[note.denomination] -= 1
            picked.append(note)
    return tuple(picked)


# --- folding ---------------------------------------------------------------------------------------------------


def _opened(state: State, event: WalletOpened) -> Wallet:
    if isinstance(state, Wallet):
        return msgspec.structs.replace(state, fees=event.fees)
    return Wallet(federation_id=event.federation_id, fees=event.fees)


def _tweaks_added(state: Wallet, event: TweaksAdded) -> Wallet:
    return msgspec.structs.replace(state, tweaks=state.tweaks + event.tweaks)


def _reserved(state: Wallet, event: WalletReserved) -> Wallet:
    used, spent = set(event.tweaks), set(event.nonces)
    spending = tuple(note for note in state.notes if note.nonce in spent)
    return msgspec.structs.replace(
        state,
        notes=tuple(note for note in state.notes if note.nonce not in spent),
        spending=state.spending | ({event.tx: spending} if spending else {}),
        tweaks=tuple(tweak for tweak in state.tweaks if tweak not in used),
        transactions=state.transactions + 1,
    )


def _credited(state: Wallet, event: WalletCredited) -> Wallet:
    return msgspec.structs.replace(
        state, notes=state.notes + event.notes, spending=_without(state.spending, event.tx)
    )


def _restored(state: Wallet, event: WalletRestored) -> Wallet:
    return msgspec.structs.replace(
        state,
        notes=state.notes + state.spending[event.tx],
        spending=_without(state.spending, event.tx),
    )


def _lost(state: Wallet, event: NotesLost) -> Wallet:
    return msgspec.structs.replace(state, spending=_without(state.spending, event.tx))


def _without(spending: dict[str, tuple[HeldNote, ...]], tx: str) -> dict[str, tuple[HeldNote, ...]]:
    return {name: notes for name, notes in spending.items() if name != tx}


_NOT_JOINED = Refuse("the gateway has not joined this federation", ConflictError)

MACHINE = Machine(
    kind="wallet",
    initial=Unopened(),
    states=(Unopened, Wallet),
    inputs=(
        OpenWallet,
        AddTweaks,
        ClaimContract,
        TransactionSigned,
        TransactionFinished,
        TransactionRejected,
    ),
    events=(
        WalletOpened,
        TweaksAdded,
        WalletReserved,
        WalletCredited,
        WalletRestored,
        NotesLost,
    ),
    rules={
        (Unopened, OpenWallet): Handle(_open, to=(Wallet,)),
        (Unopened, AddTweaks): _NOT_JOINED,
        (Unopened, ClaimContract): _NOT_JOINED,
        (Unopened, TransactionSigned): _NOT_JOINED,
        (Unopened, TransactionFinished): _NOT_JOINED,
        (Unopened, TransactionRejected): _NOT_JOINED,
        (Wallet, OpenWallet): Handle(_reopen, to=(Wallet,)),
        (Wallet, AddTweaks): Handle(_add_tweaks, to=(Wallet,)),
        (Wallet, ClaimContract): Handle(_claim, to=(Wallet,)),
        (Wallet, TransactionSigned): Ignore("the wallet waits for the end of its own transactions"),
        (Wallet, TransactionFinished): Handle(_finished, to=(Wallet,)),
        (Wallet, TransactionRejected): Handle(_rejected, to=(Wallet,)),
    },
    evolvers={
        WalletOpened: _opened,
        TweaksAdded: _tweaks_added,
        WalletReserved: _reserved,
        WalletCredited: _credited,
        WalletRestored: _restored,
        NotesLost: _lost,
    },
)
