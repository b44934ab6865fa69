"""A federation transaction: reserved, then signed once, then sent until it is decided."""

import pytest

from engine.machine import Input, State
from errors import ConflictError
from statemachines import send, transaction
from statemachines.items import Reservation, SignedTransaction
from statemachines.transaction import (
    Accepted,
    Built,
    Finished,
    NotesCollected,
    Rejected,
    Reserve,
    Reserved,
    Signed,
    SubmissionAccepted,
    SubmissionRejected,
    TransactionFinished,
    TransactionRejected,
    TransactionSigned,
    Unborn,
)
from tests.statemachines.scene import FEDERATION, WALLET, note, step

MACHINE = transaction.MACHINE
PARENT = send.stream_of("c0")
TX = transaction.stream_of(FEDERATION, 1)
TXID = "77" * 32
ISSUES = (transaction.Issue(10, "t"), transaction.Issue(11, "u"))
SIGNED = SignedTransaction(TXID, b"bytes", ISSUES)


def reservation(*, parent: str = PARENT, claims: bool = True) -> Reservation:
    claim = transaction.ContractClaim("11" * 32, 0, 4_000, "aa" * 32)
    return Reservation(
        tx=TX,
        parent=parent,
        federation_id=FEDERATION,
        claims=(claim,) if claims else (),
        spends=() if claims else (note("a", 12),),
        issues=ISSUES,
        input_fee_msat=100,
        output_fee_msat=200,
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
    state, _, _ = step(MACHINE, before, Built(signed=SIGNED))
    assert state == Signed(reservation=reservation(), signed=SIGNED)
    assert told(before, Built(signed=SIGNED)) == [(PARENT, TransactionSigned(tx=TX, txid=TXID))]
    other = SignedTransaction("88" * 32, b"other bytes", ISSUES)
    assert step(MACHINE, state, Built(signed=other))[0] == state
    submit = transaction.SubmitTransaction(federation_id=FEDERATION, txid=TXID, encoded=b"bytes")
    assert MACHINE.wants(state) == {"submit": submit}


def test_notes_of_an_accepted_transaction_are_collected() -> None:
    before = Signed(reservation=reservation(), signed=SIGNED)
    state, _, _ = step(MACHINE, before, SubmissionAccepted())
    assert state == Accepted(reservation=reservation(), signed=SIGNED)
    collect = transaction.CollectNotes(federation_id=FEDERATION, txid=TXID, issues=ISSUES)
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


@pytest.mark.parametrize("claims", [True, False])
def test_a_rejection_says_whether_a_contract_was_claimed(claims: bool) -> None:
    signed = Signed(reservation=reservation(claims=claims), signed=SIGNED)
    refused = SubmissionRejected(error="no")
    state, _, _ = step(MACHINE, signed, refused)
    assert state == Rejected(txid=TXID, error="no")
    rejected = TransactionRejected(tx=TX, error="no", is_claim=claims)
    assert told(signed, refused) == [(WALLET, rejected), (PARENT, rejected)]
