"""The rules of a wallet: the table over the states of `statemachines/wallet.py`, and its fold."""

from collections import Counter
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple, TypeVar, cast

import msgspec

from engine.events import Event
from engine.machine import Decision, Handle, Input, Machine, State, Tell, ignored, refused, table
from fedimint.mintv2 import selection
from fedimint.mintv2.selection import InsufficientNotesError
from statemachines import federation, ladder, reserving, transaction
from statemachines.items import Claim, FundedContract, HeldNote, Issue, Output, Reservation
from statemachines.transaction import (
    Reserve,
    TransactionAbandoned,
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
    TransactionSigned,
)
from statemachines.wallet import (
    AddTweaks,
    ClaimInputs,
    DiscardTweaks,
    ForgetNotes,
    FundingRefused,
    FundOutput,
    Memory,
    NotesLost,
    NotesSpent,
    OpenWallet,
    Rebalance,
    RecoverNotes,
    SpendNotes,
    TweaksAdded,
    TweaksDiscarded,
    Unopened,
    Wallet,
    WalletCredited,
    WalletForgotten,
    WalletOpened,
    WalletRecovered,
    WalletReserved,
    WalletRestored,
    WalletSpent,
)

#: Fewer notes are not worth a transaction that tidies up: it would issue almost as many and pay fees for all of them.
#: Tidying up at once after each claim cost a gateway more than two transactions and 2,000 msat for each payment.
TIDY_LEAST_NOTES = 64

T = TypeVar("T")


# --- transitions -----------------------------------------------------------------------------------------------


def _open(_state: State, input_: OpenWallet) -> Decision:
    return Decision(events=(WalletOpened(federation_id=input_.federation_id, fees=input_.fees),))


def _reopen(state: Wallet, input_: OpenWallet) -> Decision:
    return Decision() if state.fees == input_.fees else _open(state, input_)


def _add_tweaks(state: Wallet, input_: AddTweaks) -> Decision:
    fresh = tuple(tweak for tweak in dict.fromkeys(input_.tweaks) if tweak not in state.tweaks)
    return Decision(events=(TweaksAdded(tweaks=fresh),)) if fresh else Decision()


def _discard_tweaks(state: Wallet, _input: DiscardTweaks) -> Decision:
    return Decision(events=(TweaksDiscarded(),)) if state.tweaks else Decision()


def _forget(state: Wallet, input_: ForgetNotes) -> Decision:
    free = {note.nonce for note in state.notes}
    gone = tuple(nonce for nonce in dict.fromkeys(input_.nonces) if nonce in free)
    return Decision(events=(WalletForgotten(nonces=gone),)) if gone else Decision()


def _recover(state: Wallet, input_: RecoverNotes) -> Decision:
    known = {note.nonce for note in state.notes}
    known |= {note.nonce for notes in state.spending.values() for note in notes}
    found = {note.nonce: note for note in input_.notes if note.nonce not in known}
    return Decision(events=(WalletRecovered(notes=tuple(found.values())),)) if found else Decision()


def _claim(state: Wallet, input_: ClaimInputs) -> Decision:
    planned = _laddered(state, claims=input_.claims)
    return _reserve(state, input_.parent, planned, claims=input_.claims)


def _fund(state: Wallet, input_: FundOutput) -> Decision:
    """With few rungs left a larger note is broken, so that its change brings those that are missing."""
    outputs = (input_.output,)
    try:
        planned = _laddered(state, outputs=outputs)
    except InsufficientNotesError:
        return _refuse(state, input_.parent)
    return _reserve(
        state, input_.parent, planned, outputs=outputs, sign_by_unix_s=input_.sign_by_unix_s
    )


def _spend(state: Wallet, input_: SpendNotes) -> Decision:
    """Notes at hand if they fit exactly; else a transaction that makes such notes first."""
    counts = selection.select_exact(_held(state.notes), input_.amount_msat)
    if counts is not None:
        notes = reserving.pick(state.notes, counts)
        spent = WalletSpent(parent=input_.parent, nonces=_nonces(notes))
        return Decision(events=(spent,), tells=(Tell(input_.parent, NotesSpent(notes=notes)),))
    most_msat = min(reserving.spendable_msat(state.fees, state.notes), selection.MAX_ISSUED_MSAT)
    if input_.amount_msat > most_msat:
        return _refuse(state, input_.parent)
    exactly = selection.binary_denominations(input_.amount_msat)
    try:
        planned = _laddered(state, exactly=exactly)
    except InsufficientNotesError:
        return _refuse(state, input_.parent)
    return _reserve(state, input_.parent, planned)


def _refuse(state: Wallet, parent: str) -> Decision:
    available_msat = reserving.spendable_msat(state.fees, state.notes)
    return Decision(tells=(Tell(parent, FundingRefused(available_msat=available_msat)),))


def _finished(state: Wallet, input_: TransactionFinished) -> Decision:
    """Credit, and tidy up at once when that leaves too many notes of one denomination."""
    credited = WalletCredited(tx=input_.tx, notes=input_.notes)
    after = _credited(state, credited)
    held = _held(after.notes)
    kept = ladder.rungs(state.fees, state.remembered.paid, after.balance_msat)
    counts = selection.consolidate(held, state.fees.mintv2, least_notes=TIDY_LEAST_NOTES, kept=kept)
    tidy = _reissue(after, reserving.pick(after.notes, counts))
    unsigned = f"{input_.lost_msat} msat of its notes are not signed validly"
    broken = (_broken(state, input_.tx, unsigned),) if input_.lost_msat else ()
    return Decision(events=(credited, *tidy.events), tells=(*tidy.tells, *broken))


def _rejected(state: Wallet, input_: TransactionRejected) -> Decision:
    """Re-issue what went in: together first, then in halves; a note refused alone is lost.

    Guardians have seen these notes, so they are worth more re-issued than free; one bad note among them must not
    hold the others. What is suspect and not worth re-issuing is lost too: free again, a bad one would spoil every
    transaction that picks it. Together is as many as a transaction can turn into others without a loss.
    """
    notes = state.spending.get(input_.tx, ())
    if not notes:
        return Decision()
    if input_.is_reissue:
        bundles = reserving.halves_worth_issuing(state.fees, notes)
    else:
        most = selection.MAX_CONSOLIDATED_NOTES
        bundles = [notes[start : start + most] for start in range(0, len(notes), most)]
    restored = tuple(note for bundle in bundles for note in bundle)
    lost = tuple(note for note in notes if note not in restored)
    events: list[Event] = []
    tells: list[Tell] = []
    if lost:
        lost_msat = sum(note.amount_msat for note in lost)
        events.append(NotesLost(tx=input_.tx, nonces=_nonces(lost), amount_msat=lost_msat))
        tells.append(_broken(state, input_.tx, input_.error))
    if restored:
        events.append(WalletRestored(tx=input_.tx, nonces=_nonces(restored)))
    for bundle in bundles:
        after = reduce(MACHINE.evolve, events, cast("State", state))
        decision = _reissue(cast("Wallet", after), bundle)
        events += decision.events
        tells += decision.tells
    return Decision(events=tuple(events), tells=tuple(tells))


def _broken(state: Wallet, tx: str, error: str) -> Tell:
    """Lost notes are no longer at stake, so without this they would make room for the next loss."""
    refused = federation.ClaimRefused(stream=tx, error=error)
    return Tell(federation.stream_of(state.federation_id), refused)


def _abandoned(state: Wallet, input_: TransactionAbandoned) -> Decision:
    """Nobody has seen these notes, so they are as good as before. The tweaks stay used."""
    notes = state.spending.get(input_.tx, ())
    if not notes:
        return Decision()
    return Decision(events=(WalletRestored(tx=input_.tx, nonces=_nonces(notes)),))


def _reissue(state: Wallet, spends: tuple[HeldNote, ...]) -> Decision:
    """Turn notes into other notes; those that fees would eat up are left as they are."""
    planned = reserving.plan(state.fees, state.notes, spends=spends)
    if not spends or not planned.denominations:
        return Decision()
    return _reserve(state, wallet_stream(state), Laddered(planned))


def _rebalance(state: Wallet, _input: Rebalance) -> Decision:
    planned = rebuilt_ladder(state)
    if planned is None:
        return Decision()
    return _reserve(state, wallet_stream(state), Laddered(planned, planned.fee_msat))


def rebuilt_ladder(state: Wallet) -> reserving.Plan | None:
    """What `Rebalance` would reserve now; None while notes are in transactions, whose change may be what is missing."""
    if state.spending:
        return None
    return ladder.rebuilt(
        state.fees,
        state.remembered.paid,
        state.notes,
        state.remembered.allowance_msat,
        len(state.tweaks),
    )


class Laddered(NamedTuple):
    """A plan, and how much of its fees is for rungs of the ladder."""

    plan: reserving.Plan
    ladder_msat: int = 0


def _laddered(
    state: Wallet,
    *,
    claims: tuple[Claim, ...] = (),
    outputs: tuple[Output, ...] = (),
    exactly: tuple[int, ...] = (),
) -> Laddered:
    """`reserving.plan` over the notes that are free, with missing rungs of the ladder among the notes that it makes.

    Raises InsufficientNotesError as it does.
    """
    fees = state.fees

    def make(wanted: tuple[int, ...], spends: tuple[HeldNote, ...] = ()) -> reserving.Plan:
        return reserving.plan(
            fees,
            state.notes,
            claims=claims,
            outputs=outputs,
            exactly=exactly,
            wanted=wanted,
            spends=spends,
        )

    plain = make(())
    held = [note.denomination for note in state.notes]
    coming = [d for issued in state.remembered.coming.values() for d in issued]
    claimed_msat = sum(claim.amount_msat for claim in claims)
    missing = ladder.missing(fees, state.remembered.paid, [*held, *coming], claimed_msat)
    broken: tuple[HeldNote, ...] = ()
    if outputs and len(missing) > ladder.MISSING_MAX:
        needed_msat = reserving.needed_msat(fees, outputs)
        found = ladder.breakable(fees, state.notes, needed_msat, missing)
        broken = () if found is None else (found,)
    planned = ladder.with_rungs(
        plain,
        missing,
        state.remembered.allowance_msat,
        len(state.tweaks),
        lambda wanted: make(wanted, broken),
    )
    return Laddered(planned, max(0, planned.fee_msat - plain.fee_msat))


def _reserve(
    state: Wallet,
    parent: str,
    laddered: Laddered,
    *,
    claims: tuple[Claim, ...] = (),
    outputs: tuple[Output, ...] = (),
    sign_by_unix_s: int = 0,
) -> Decision:
    """Reserve a transaction as planned, with tweaks as far as the pool goes."""
    planned, ladder_msat = laddered
    denominations = planned.denominations
    tweaks = state.tweaks[: len(denominations)]
    padded = tweaks + ("",) * (len(denominations) - len(tweaks))
    tx = transaction.stream_of(state.federation_id, state.transactions + 1)
    reservation = Reservation(
        tx=tx,
        parent=parent,
        federation_id=state.federation_id,
        claims=claims,
        spends=tuple(note.denomination for note in planned.spends),
        outputs=outputs,
        issues=tuple(Issue(d, tweak) for d, tweak in zip(denominations, padded, strict=True)),
        input_fee_msat=planned.input_fee_msat,
        output_fee_msat=planned.output_fee_msat,
        sign_by_unix_s=sign_by_unix_s,
    )
    contracts = tuple(output for output in outputs if isinstance(output, FundedContract))
    reserved = WalletReserved(
        tx=tx,
        nonces=_nonces(planned.spends),
        tweaks=len(tweaks),
        issues=denominations if planned.spends else (),
        pays_msat=reserving.needed_msat(state.fees, contracts),
        fee_msat=planned.fee_msat,
        ladder_msat=ladder_msat,
    )
    return Decision(events=(reserved,), tells=(Tell(tx, Reserve(reservation=reservation)),))


def _nonces(notes: Sequence[HeldNote]) -> tuple[str, ...]:
    return tuple(note.nonce for note in notes)


def wallet_stream(state: Wallet) -> str:
    """The stream this wallet lives in."""
    return transaction.wallet_of(state.federation_id)


def _held(notes: tuple[HeldNote, ...]) -> Counter[int]:
    return Counter(note.denomination for note in notes)


# --- folding ---------------------------------------------------------------------------------------------------


def _opened(state: State, event: WalletOpened) -> Wallet:
    if isinstance(state, Wallet):
        return msgspec.structs.replace(state, fees=event.fees)
    return Wallet(federation_id=event.federation_id, fees=event.fees)


def _tweaks_added(state: Wallet, event: TweaksAdded) -> Wallet:
    return msgspec.structs.replace(state, tweaks=state.tweaks + event.tweaks)


def _tweaks_discarded(state: Wallet, _event: TweaksDiscarded) -> Wallet:
    return msgspec.structs.replace(state, tweaks=())


def _recovered(state: Wallet, event: WalletRecovered) -> Wallet:
    return msgspec.structs.replace(state, notes=state.notes + event.notes)


def _reserved(state: Wallet, event: WalletReserved) -> Wallet:
    known = state.remembered
    spent = set(event.nonces)
    spending = tuple(note for note in state.notes if note.nonce in spent)
    return msgspec.structs.replace(
        state,
        notes=tuple(note for note in state.notes if note.nonce not in spent),
        spending=state.spending | ({event.tx: spending} if spending else {}),
        tweaks=state.tweaks[event.tweaks :],
        transactions=state.transactions + 1,
        memory=_memory(
            Memory(
                known.coming | ({event.tx: event.issues} if event.issues else {}),
                (known.paid + ((event.pays_msat,) if event.pays_msat else ()))[-ladder.RUNGS :],
                ladder.grown(known.allowance_msat, event.fee_msat, event.ladder_msat),
            )
        ),
    )


def _memory(known: Memory) -> Memory | msgspec.UnsetType:
    return msgspec.UNSET if known == Memory() else known


def _has_come(state: Wallet, tx: str) -> Memory | msgspec.UnsetType:
    known = state.remembered
    return _memory(msgspec.structs.replace(known, coming=_without(known.coming, tx)))


def _gone(state: Wallet, event: WalletSpent | WalletForgotten) -> Wallet:
    gone = set(event.nonces)
    return msgspec.structs.replace(
        state, notes=tuple(note for note in state.notes if note.nonce not in gone)
    )


def _credited(state: Wallet, event: WalletCredited) -> Wallet:
    return msgspec.structs.replace(
        state,
        notes=state.notes + event.notes,
        spending=_without(state.spending, event.tx),
        memory=_has_come(state, event.tx),
    )


def _restored(state: Wallet, event: WalletRestored) -> Wallet:
    return msgspec.structs.replace(
        state,
        notes=state.notes + state.spending[event.tx],
        spending=_without(state.spending, event.tx),
        memory=_has_come(state, event.tx),
    )


def _lost(state: Wallet, event: NotesLost) -> Wallet:
    gone = set(event.nonces)
    left = tuple(note for note in state.spending[event.tx] if note.nonce not in gone)
    others = _without(state.spending, event.tx)
    return msgspec.structs.replace(
        state,
        spending=others | ({event.tx: left} if left else {}),
        memory=_has_come(state, event.tx),
    )


def _without(of: dict[str, T], tx: str) -> dict[str, T]:
    return {name: one for name, one in of.items() if name != tx}


_INPUTS: tuple[type[Input], ...] = (
    OpenWallet,
    AddTweaks,
    DiscardTweaks,
    ForgetNotes,
    RecoverNotes,
    ClaimInputs,
    FundOutput,
    SpendNotes,
    Rebalance,
    TransactionSigned,
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
    TransactionAbandoned,
)
_RULES = table(
    {
        (Unopened, OpenWallet): Handle(_open, to=(Wallet,)),
        (Wallet, OpenWallet): Handle(_reopen, to=(Wallet,)),
        (Wallet, AddTweaks): Handle(_add_tweaks, to=(Wallet,)),
        (Wallet, DiscardTweaks): Handle(_discard_tweaks, to=(Wallet,)),
        (Wallet, ForgetNotes): Handle(_forget, to=(Wallet,)),
        (Wallet, RecoverNotes): Handle(_recover, to=(Wallet,)),
        (Wallet, ClaimInputs): Handle(_claim, to=(Wallet,)),
        (Wallet, FundOutput): Handle(_fund, to=(Wallet,)),
        (Wallet, SpendNotes): Handle(_spend, to=(Wallet,)),
        (Wallet, Rebalance): Handle(_rebalance, to=(Wallet,)),
        (Wallet, TransactionFinished): Handle(_finished, to=(Wallet,)),
        (Wallet, TransactionRejected): Handle(_rejected, to=(Wallet,)),
        (Wallet, TransactionAbandoned): Handle(_abandoned, to=(Wallet,)),
    },
    refused(
        (Unopened,),
        (
            AddTweaks,
            DiscardTweaks,
            ForgetNotes,
            RecoverNotes,
            ClaimInputs,
            FundOutput,
            SpendNotes,
            Rebalance,
            TransactionSigned,
            TransactionAccepted,
            TransactionFinished,
            TransactionRejected,
            TransactionAbandoned,
        ),
        "the gateway has not joined this federation",
    ),
    ignored(
        (Wallet,),
        (TransactionSigned, TransactionAccepted),
        "the wallet waits for the end of its own transactions",
    ),
)

MACHINE = Machine(
    kind="wallet",
    initial=Unopened(),
    states=(Unopened, Wallet),
    inputs=_INPUTS,
    rules=_RULES,
    evolvers={
        WalletOpened: _opened,
        TweaksAdded: _tweaks_added,
        TweaksDiscarded: _tweaks_discarded,
        WalletForgotten: _gone,
        WalletRecovered: _recovered,
        WalletReserved: _reserved,
        WalletSpent: _gone,
        WalletCredited: _credited,
        WalletRestored: _restored,
        NotesLost: _lost,
    },
)
