"""Ecash text: what is refused, and the invite it carries."""

import json
import os
from pathlib import Path

import msgspec
import pytest

from errors import InputError
from fedimint.codec import secp
from fedimint.codec.invite import InviteCode
from fedimint.codec.wire_types import FederationId, FeeConsensus, PeerId
from fedimint.crypto import bls, tbs
from fedimint.crypto.secrets import DerivableSecret
from fedimint.mintv2 import (
    Ecash,
    EcashApiSecret,
    EcashInvite,
    EcashMint,
    EcashNote,
    EcashUnit,
    SpendableNote,
    ecash,
    notes,
)
from fedimint.mintv2.config import MintV2ClientConfig

VECTORS = Path(__file__).parents[2] / "vectors"
MODULE = DerivableSecret(bytes(range(64)))
FEDERATION_ID = FederationId(b"\x0f" * 32)
DENOMINATIONS = (6, 7, 10, 11)
DEALT = {d: tbs.deal(1, 1, os.urandom) for d in DENOMINATIONS}
MINT = MintV2ClientConfig(
    {d: bls.encode_g2(dealt.aggregate_key) for d, dealt in DEALT.items()},
    {},
    FeeConsensus(100, 0),
    0,
)
INVITE = InviteCode.of(
    {PeerId(1): "wss://one.example/", PeerId(0): "wss://zero.example/"}, FEDERATION_ID
)


def _note(denomination: int, number: int) -> SpendableNote:
    request = notes.NoteRequest(denomination, bytes([number]) * 16)
    [output] = notes.blinded_outputs(MODULE, [request])
    [secret_share] = DEALT[denomination].secret_shares
    share = bls.encode_g1(tbs.sign_share(bls.decode_g1(output.blinded_nonce), secret_share))
    keys = msgspec.structs.replace(MINT, tbs_pks={denomination: {PeerId(0): b""}})
    [note] = notes.finalise(
        MODULE, [request], {PeerId(0): [share]}, keys, threshold=1, random_bytes=os.urandom
    ).notes
    return notes.spendable(MODULE, note)


GOOD = (_note(10, 1), _note(10, 2), _note(11, 1))


def _reissued(given: Ecash, mint: MintV2ClientConfig = MINT) -> tuple[SpendableNote, ...]:
    return ecash.notes_to_reissue(given, FEDERATION_ID, mint, os.urandom)


def test_good_notes_are_taken_in_their_order() -> None:
    given = Ecash.parse(Ecash.of(FEDERATION_ID, GOOD).to_text())
    assert _reissued(given) == GOOD
    assert [note.amount_msat() for note in GOOD] == [1024, 1024, 2048]


def test_ecash_of_a_real_federation_is_taken() -> None:
    federation = json.loads((VECTORS / "federation-v2.json").read_text())
    config = federation["client_config_json"]["modules"]["2"]
    keys = {int(d): bytes.fromhex(key) for d, key in config["tbs_agg_pks"].items()}
    mint = MintV2ClientConfig(
        keys,
        {},
        FeeConsensus(config["fee_consensus"]["base"], config["fee_consensus"]["parts_per_million"]),
        config["amount_unit"],
    )
    federation_id = FederationId(bytes.fromhex(federation["federation_id"]))
    given = Ecash.parse(federation["ecash_1000448_msat"])
    reissued = ecash.notes_to_reissue(given, federation_id, mint, os.urandom)
    assert sum(note.amount_msat() for note in reissued) == 1_000_448


def _moved() -> SpendableNote:
    """A note's signature with another's key."""
    return msgspec.structs.replace(GOOD[0], secret_key=secp.SecretKey(b"\x05" * 32))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (Ecash.of(FederationId(bytes(32)), GOOD), "another federation"),
        (Ecash(tuple(map(EcashNote, GOOD))), "another federation"),
        (Ecash((EcashMint(FEDERATION_ID), EcashNote(GOOD[0]), EcashUnit(7))), "unit 7"),
        (Ecash.of(FEDERATION_ID, ()), "no notes"),
        (Ecash.of(FEDERATION_ID, (*GOOD, GOOD[0])), "twice"),
        (
            Ecash.of(FEDERATION_ID, (msgspec.structs.replace(GOOD[0], denomination=11), GOOD[0])),
            "twice",
        ),
        (Ecash.of(FEDERATION_ID, (_note(6, 1),)), "no more than its fee"),
        (
            Ecash.of(FEDERATION_ID, (msgspec.structs.replace(GOOD[0], denomination=12),)),
            "does not issue",
        ),
        (Ecash.of(FEDERATION_ID, (GOOD[1], _moved())), "1 notes of the ecash are not signed"),
        (
            Ecash.of(FEDERATION_ID, (msgspec.structs.replace(GOOD[0], denomination=11),)),
            "not signed",
        ),
    ],
)
def test_other_ecash_is_refused_without_showing_it(given: Ecash, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as raised:
        _reissued(given)
    for note in given.notes():
        assert note.secret_key.hex() not in str(raised.value)


def test_a_note_must_be_worth_more_than_its_fee() -> None:
    given = Ecash.of(FEDERATION_ID, (_note(7, 1),))
    assert len(_reissued(given)) == 1
    mint = msgspec.structs.replace(MINT, fee_consensus=FeeConsensus(128, 0))
    with pytest.raises(InputError, match="128 msat"):
        _reissued(given, mint)


def test_ecash_in_another_unit_is_taken_by_its_own_mint() -> None:
    mint = msgspec.structs.replace(MINT, amount_unit=7)
    given = ecash.with_invite(GOOD, INVITE, unit=7)
    assert isinstance(given.fields[-1], EcashUnit)
    assert _reissued(given, mint) == GOOD


@pytest.mark.parametrize("api_secret", [None, "hush"])
def test_the_invite_goes_along_and_comes_back(api_secret: str | None) -> None:
    invite = InviteCode.of(INVITE.peers(), FEDERATION_ID, api_secret)
    given = Ecash.parse(ecash.with_invite(GOOD, invite).to_text())
    assert EcashInvite(tuple(INVITE.peers().items()), FEDERATION_ID) in given.fields
    secrets = [field.api_secret for field in given.fields if isinstance(field, EcashApiSecret)]
    assert secrets == ([] if api_secret is None else [api_secret])
    assert given.notes() == GOOD
    assert [type(field) for field in given.fields[:5]] == [
        EcashMint,
        EcashNote,
        EcashNote,
        EcashNote,
        EcashInvite,
    ]
    assert len(given.fields) == (5 if api_secret is None else 6)
