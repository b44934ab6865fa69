"""mintv2 notes on the client's side."""

import os
import pickle
from collections.abc import Sequence
from functools import partial

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import FatalError, InputError
from fedimint import mintv2
from fedimint.codec import secp
from fedimint.codec.wire_types import FeeConsensus, PeerId
from fedimint.crypto import bls, secrets, tbs
from fedimint.mintv2 import notes
from fedimint.mintv2.config import MintV2ClientConfig
from fedimint.mintv2.notes import NoteRequest

THRESHOLD, GUARDIANS = 3, 4
DENOMINATIONS = range(9, 13)
MODULE = secrets.root_secret("abandon " * 11 + "about").child(2)
DEALT = {d: tbs.deal(THRESHOLD, GUARDIANS, os.urandom) for d in DENOMINATIONS}
KEYS = MintV2ClientConfig(
    {d: bls.encode_g2(dealt.aggregate_key) for d, dealt in DEALT.items()},
    {
        d: {PeerId(peer): bls.encode_g2(key) for peer, key in enumerate(dealt.public_keys)}
        for d, dealt in DEALT.items()
    },
    FeeConsensus(0, 0),
    0,
)
REQUESTS = tuple(NoteRequest(9 + i % 4, i.to_bytes(16, "big")) for i in range(5))
NOT_A_POINT = b"\xff" * 48

Answers = dict[PeerId, list[bytes]]


def _sign(outputs: Sequence[mintv2.MintOutput], peer: int) -> list[bytes]:
    return [
        bls.encode_g1(
            tbs.sign_share(
                bls.decode_g1(output.blinded_nonce),
                DEALT[output.denomination].secret_shares[peer],
            )
        )
        for output in outputs
    ]


OUTPUTS = notes.blinded_outputs(MODULE, REQUESTS)
ANSWERS: Answers = {PeerId(peer): _sign(OUTPUTS, peer) for peer in range(GUARDIANS)}


def _answers(*peers: int) -> Answers:
    return {PeerId(peer): list(ANSWERS[PeerId(peer)]) for peer in peers}


def _finalise(answers: Answers, keys: MintV2ClientConfig = KEYS) -> notes.Finalised:
    return notes.finalise(
        MODULE, REQUESTS, answers, keys, threshold=THRESHOLD, random_bytes=os.urandom
    )


def test_outputs_name_denomination_and_tweak_and_hide_the_nonce() -> None:
    assert [(output.denomination, output.tweak) for output in OUTPUTS] == [
        (request.denomination, request.tweak) for request in REQUESTS
    ]
    nonces = {note.nonce for note in _finalise(_answers(0, 1, 2)).notes}
    messages = {bls.encode_g1(tbs.message_v2(nonce)) for nonce in nonces}
    assert messages.isdisjoint(output.blinded_nonce for output in OUTPUTS)


@pytest.mark.parametrize("peers", [(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3), (0, 1, 2, 3)])
def test_any_threshold_makes_the_same_notes(peers: tuple[int, ...]) -> None:
    done = _finalise(_answers(*peers))
    assert done == _finalise(_answers(1, 2, 3))
    assert (done.invalid, done.bad_peers, done.missing_peers) == ((), (), 0)
    assert [(note.denomination, note.tweak) for note in done.notes] == [
        (request.denomination, request.tweak) for request in REQUESTS
    ]
    wire = [notes.mint_input(note).note for note in done.notes]
    assert notes.invalid_notes(wire, KEYS, os.urandom) == ()


def test_notes_can_be_spent_by_their_owner_alone() -> None:
    note = _finalise(_answers(0, 1, 2)).notes[0]
    secret = notes.spend_secret(MODULE, note)
    assert secp.public_key(secret) == note.nonce
    assert notes.spendable(MODULE, note).note() == notes.mint_input(note).note
    with pytest.raises(FatalError):
        notes.spend_secret(MODULE.child(0), note)


@settings(deadline=None, max_examples=25)
@given(
    bad_peer=st.integers(0, 3),
    position=st.integers(0, len(REQUESTS) - 1),
    garbage=st.sampled_from([NOT_A_POINT, b"", bls.encode_g1(bls.G1Point())]),
)
def test_a_wrong_share_is_found_and_another_guardian_takes_its_place(
    bad_peer: int, position: int, garbage: bytes
) -> None:
    answers = _answers(0, 1, 2, 3)
    answers[PeerId(bad_peer)][position] = garbage
    done = _finalise(answers)
    assert done.notes == _finalise(_answers(0, 1, 2)).notes
    # Guardian 3 is not looked at unless one of the first three fails.
    assert done.bad_peers == (() if bad_peer == 3 else (bad_peer,))


@pytest.mark.parametrize("shares", [[], ANSWERS[PeerId(0)][:-1], [*ANSWERS[PeerId(0)], b""]])
def test_a_wrong_count_of_shares_is_a_bad_peer(shares: list[bytes]) -> None:
    done = _finalise({**_answers(1, 2, 3), PeerId(0): shares})
    assert done.bad_peers == (0,)
    assert len(done.notes) == len(REQUESTS)


def test_swapped_shares_are_found() -> None:
    answers = _answers(0, 1, 2, 3)
    swapped = answers[PeerId(2)]
    swapped[0], swapped[4] = swapped[4], swapped[0]
    done = _finalise(answers)
    assert (done.bad_peers, len(done.notes)) == ((2,), len(REQUESTS))


def test_too_few_good_guardians_decide_nothing() -> None:
    assert _finalise(_answers(0, 1)) == notes.Finalised((), missing_peers=1)
    assert _finalise({}).missing_peers == THRESHOLD
    answers = _answers(0, 1, 2)
    answers[PeerId(1)][0] = bls.encode_g1(bls.G1Point())
    done = _finalise(answers)
    assert done == notes.Finalised((), bad_peers=(PeerId(1),), missing_peers=1)


def test_a_guardian_without_keys_is_a_bad_peer() -> None:
    dealt = dict(ANSWERS)
    answers = {
        PeerId(0): dealt[PeerId(0)],
        PeerId(1): dealt[PeerId(1)],
        PeerId(7): dealt[PeerId(2)],
    }
    done = _finalise(answers)
    assert done == notes.Finalised((), bad_peers=(PeerId(7),), missing_peers=1)


def test_a_note_that_fails_under_good_shares_is_reported_and_the_others_kept() -> None:
    """The config's aggregate key of one denomination contradicts its guardians' keys."""
    other = bls.encode_g2(bls.G2Point())
    keys = msgspec.structs.replace(KEYS, tbs_agg_pks={**KEYS.tbs_agg_pks, 10: other})
    done = _finalise(_answers(0, 1, 2), keys)
    assert done.invalid == (1,)
    assert done.bad_peers == ()
    good = _finalise(_answers(0, 1, 2)).notes
    assert done.notes == good[:1] + good[2:]


def test_one_guardian_alone_makes_notes() -> None:
    dealt = tbs.deal(1, 1, os.urandom)
    key = bls.encode_g2(dealt.aggregate_key)
    keys = MintV2ClientConfig({9: key}, {9: {PeerId(0): key}}, FeeConsensus(0, 0), 0)
    request = (NoteRequest(9, bytes(16)),)
    (output,) = notes.blinded_outputs(MODULE, request)
    blinded = bls.decode_g1(output.blinded_nonce)
    share = bls.encode_g1(tbs.sign_share(blinded, dealt.secret_shares[0]))
    for answer, good in ((share, True), (bls.encode_g1(bls.G1Point()), False)):
        done = notes.finalise(
            MODULE, request, {PeerId(0): [answer]}, keys, threshold=1, random_bytes=os.urandom
        )
        assert len(done.notes) == int(good)
        assert done.bad_peers == (() if good else (0,))


def test_nothing_asked_for_is_nothing_collected() -> None:
    assert notes.blinded_outputs(MODULE, ()) == ()
    done = notes.finalise(MODULE, (), {}, KEYS, threshold=THRESHOLD, random_bytes=os.urandom)
    assert done == notes.Finalised(())


def test_a_tweak_used_twice_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(FatalError):
        notes.blinded_outputs(MODULE, (REQUESTS[0], REQUESTS[1], REQUESTS[0]))


def test_an_unknown_denomination_is_refused() -> None:
    with pytest.raises(InputError):
        notes.finalise(
            MODULE,
            (NoteRequest(40, bytes(16)),),
            {},
            KEYS,
            threshold=THRESHOLD,
            random_bytes=os.urandom,
        )


def test_foreign_notes_are_judged_one_by_one_when_a_batch_fails() -> None:
    good = [notes.mint_input(note).note for note in _finalise(_answers(0, 1, 2)).notes]
    replace = msgspec.structs.replace
    mixed = [
        good[0],
        replace(good[1], signature=good[2].signature),
        replace(good[2], denomination=40),
        replace(good[3], signature=NOT_A_POINT),
        good[4],
    ]
    assert notes.invalid_notes(mixed, KEYS, os.urandom) == (1, 2, 3)
    assert notes.invalid_notes([], KEYS, os.urandom) == ()


def test_a_collection_can_be_sent_to_a_worker_process() -> None:
    call = partial(
        notes.finalise,
        MODULE,
        REQUESTS,
        _answers(0, 1, 2),
        KEYS,
        threshold=THRESHOLD,
        random_bytes=os.urandom,
    )
    done = pickle.loads(pickle.dumps(call))()  # noqa: S301 - our own bytes
    assert pickle.loads(pickle.dumps(done)) == _finalise(_answers(0, 1, 2))  # noqa: S301 - same


def test_notes_do_not_show_what_they_are_worth_stealing_for() -> None:
    note = _finalise(_answers(0, 1, 2)).notes[0]
    assert repr(note) == "Note(denomination=9, …)"
    assert note.amount_msat() == 512
