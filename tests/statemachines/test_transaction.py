"""A federation transaction: reserved, then signed once, then sent until it is decided."""

import pytest

from engine.machine import Input, State
from errors import ConflictError, FatalError
from fuzz.machines.scene import FEDERATION, WALLET, note, step
from statemachines import send, transaction
from statemachines.items import (
    Claim,
    ContractClaim,
    ForeignNote,
    FundedContract,
    Issue,
    Output,
    Reservation,
    SignedTransaction,
)
from statemachines.transaction import (
    Abandoned,
    Accepted,
    BuildAbandoned,
    Built,
    Finished,
    NotesCollected,
    Rejected,
    Reserve,
    Reserved,
    Signed,
    SubmissionAccepted,
    SubmissionRejected,
    TransactionAbandoned,
    TransactionAccepted,
    TransactionFinished,
    TransactionRejected,
    TransactionSigned,
    Unborn,
)

MACHINE = transaction.MACHINE
PARENT = send.stream_of("c0")
TX = transaction.stream_of(FEDERATION, 1)
TXID = "77" * 32
ISSUES = (Issue(10, "t"), Issue(11, "u"))
SIGNED = SignedTransaction(TXID, b"bytes", ISSUES)


CLAIM = ContractClaim("11" * 32, 0, 4_000, "aa" * 32)
FOREIGN = ForeignNote(12, "nonce")


def reservation(
    *,
    parent: str = PARENT,
    claims: tuple[Claim, ...] = (CLAIM,),
    spends: tuple[int, ...] = (),
    outputs: tuple[Output, ...] = (),
) -> Reservation:
    return Reservation(
        tx=TX,
        parent=parent,
        federation_id=FEDERATION,
        claims=claims,
        spends=spends,
        issues=ISSUES,
        input_fee_msat=100,
        output_fee_msat=200,
        outputs=outputs,
    )


def told(state: State, input_: Input) -> list[tuple[str, Input]]:
    return [(tell.stream, tell.input) for tell in MACHINE.decide(state, input_).tells]


def test_building_follows_the_reserved_facts_alone() -> None:
    state, _, _ = step(MACHINE, Unborn(), Reserve(reservation=reservation()))
    assert state == Reserved(reservation=reservation())
    built = transaction.BuildTransaction(reservation=reservation())
    assert MACHINE.wants(state) == {"build": built}


def test_a_transaction_is_reserved_once() -> None:
    with pytest.raises(ConflictError, match="already reserved"):
        MACHINE.decide(Reserved(reservation=reservation()), Reserve(reservation=reservation()))


def test_bytes_are_decided_once_and_the_parent_hears_of_it() -> None:
    before = Reserved(reservation=reservation())
    state, _, _ = step(MACHINE, before, Built(signed=SIGNED, now_unix_s=5_000))
    assert state == Signed(reservation=reservation(), signed=SIGNED)
    assert told(before, Built(signed=SIGNED, now_unix_s=5_000)) == [
        (PARENT, TransactionSigned(tx=TX, txid=TXID))
    ]
    other = SignedTransaction("88" * 32, b"other bytes", ISSUES)
    assert step(MACHINE, state, Built(signed=other, now_unix_s=5_000))[0] == state
    submit = transaction.SubmitTransaction(federation_id=FEDERATION, txid=TXID, encoded=b"bytes")
    assert MACHINE.wants(state) == {"submit": submit}


def test_notes_of_an_accepted_transaction_are_collected() -> None:
    before = Signed(reservation=reservation(), signed=SIGNED)
    state, _, _ = step(MACHINE, before, SubmissionAccepted())
    assert state == Accepted(reservation=reservation(), signed=SIGNED)
    collect = transaction.CollectNotes(federation_id=FEDERATION, txid=TXID, issues=ISSUES, start=0)
    assert MACHINE.wants(state) == {"collect": collect}


def test_what_was_accepted_is_never_rejected() -> None:
    state = Accepted(reservation=reservation(), signed=SIGNED)
    assert step(MACHINE, state, SubmissionRejected(error="late")) == (state, (), [])


@pytest.mark.parametrize(("parent", "streams"), [(PARENT, [WALLET, PARENT]), (WALLET, [WALLET])])
def test_the_wallet_hears_of_the_end_first_and_once(parent: str, streams: list[str]) -> None:
    accepted = Accepted(reservation=reservation(parent=parent), signed=SIGNED)
    collected = NotesCollected(notes=(note("t", 10),), lost_msat=2_048)
    state, _, _ = step(MACHINE, accepted, collected)
    assert state == Finished(txid=TXID, received_msat=1_024, lost_msat=2_048)
    finished = TransactionFinished(tx=TX, notes=(note("t", 10),), lost_msat=2_048)
    assert told(accepted, collected) == [(stream, finished) for stream in streams]


@pytest.mark.parametrize(
    ("parent", "is_reissue", "streams"),
    [(PARENT, False, [WALLET, PARENT]), (WALLET, True, [WALLET])],
)
def test_a_rejection_says_whether_the_wallet_reissued_notes_for_itself(
    parent: str, is_reissue: bool, streams: list[str]
) -> None:
    signed = Signed(reservation=reservation(parent=parent), signed=SIGNED)
    refused = SubmissionRejected(error="no")
    state, _, _ = step(MACHINE, signed, refused)
    assert state == Rejected(txid=TXID, error="no")
    rejected = TransactionRejected(tx=TX, error="no", is_reissue=is_reissue)
    assert told(signed, refused) == [(stream, rejected) for stream in streams]


def test_notes_are_collected_behind_the_outputs() -> None:
    made = reservation(outputs=(FundedContract("c0", 1_000),))
    wanted = MACHINE.wants(Accepted(reservation=made, signed=SIGNED))["collect"]
    assert isinstance(wanted, transaction.CollectNotes)
    assert wanted.start == 1


def test_a_parent_hears_of_consensus_before_the_notes_are_there() -> None:
    before = Signed(reservation=reservation(), signed=SIGNED)
    accepted = TransactionAccepted(tx=TX, txid=TXID)
    assert told(before, SubmissionAccepted()) == [(PARENT, accepted)]


def test_foreign_notes_whose_keys_are_gone_are_left_to_their_giver() -> None:
    before = Reserved(reservation=reservation(claims=(FOREIGN,)))
    state, _, _ = step(MACHINE, before, BuildAbandoned())
    assert state == Abandoned()
    abandoned = TransactionAbandoned(tx=TX)
    assert told(before, BuildAbandoned()) == [(WALLET, abandoned), (PARENT, abandoned)]


@pytest.mark.parametrize(
    "made",
    [reservation(), reservation(claims=(FOREIGN,), spends=(12,))],
    ids=["a contract", "a note of ours"],
)
def test_what_is_ours_is_never_abandoned(made: Reservation) -> None:
    with pytest.raises(FatalError, match="ours to sign at any time"):
        MACHINE.decide(Reserved(reservation=made), BuildAbandoned())


def test_what_was_signed_is_never_abandoned() -> None:
    signed = Signed(reservation=reservation(claims=(FOREIGN,)), signed=SIGNED)
    assert step(MACHINE, signed, BuildAbandoned()) == (signed, (), [])
