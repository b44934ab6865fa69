"""Base32, bech32, invite codes and ecash texts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedimint import mint, mintv2
from fedimint.codec import base32, bech32
from fedimint.codec.errors import DecodeError
from fedimint.codec.invite import ApiPart, FederationIdPart, InviteCode
from fedimint.codec.wire_types import FederationId, PeerId

INVITE = (
    "fed11qgqpu8rhwden5te0vejkg6tdd9h8gepwd4cxcumxv4jzuen0duhsqqfqh6nl7sgk72caxfx8khtfnn8y436q3"
    "nhyrkev3qp8ugdhdllnh86qmp42pm"
)
INVITE_BASE32 = (
    "fedimint200s1esejrskjns56bp8mkld9jr87ip5d3somppc53ps2jtdfrb0g004ut9vv0p2ifc7disolllj96jsc5tg"
    "07jstgchc0u42v6cnvfup5t1"
)


def test_the_invite_of_upstreams_tests_reads_in_both_forms() -> None:
    invite = InviteCode.parse(INVITE)
    federation_id = "bea7ff4116f2b1d324c7b5d699cce4ac7408cee41db2c88027e21b76fff3b9f4"
    assert invite.parts == (
        ApiPart("wss://fedimintd.mplsfed.foo/", PeerId(0)),
        FederationIdPart(FederationId(bytes.fromhex(federation_id))),
    )
    assert invite.to_text() == INVITE
    assert invite.to_base32() == INVITE_BASE32
    for text in (INVITE.upper(), INVITE_BASE32, INVITE_BASE32.upper()):
        assert InviteCode.parse(text) == invite


def test_recorded_invites_name_their_federation(federations: dict[str, dict[str, Any]]) -> None:
    for federation in federations.values():
        invite = InviteCode.parse(federation["invite_code"])
        assert invite.to_text() == federation["invite_code"]
        assert invite.federation_id().hex() == federation["federation_id"]


def test_the_api_secret_travels_but_does_not_show() -> None:
    invite = InviteCode.of(
        {PeerId(1): "ws://b/", PeerId(0): "ws://a/"}, FederationId(bytes(32)), "hush"
    )
    assert InviteCode.parse(invite.to_text()) == invite
    assert invite.api_secret() == "hush"
    assert invite.peers() == {0: "ws://a/", 1: "ws://b/"}
    assert "hush" not in repr(invite)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fed1",
        "fedimint",
        "fedimint!",
        INVITE[:-1] + "q",
        INVITE[:-20],
        bech32.encode("abcd", bech32.to_words(bytes(8)), "bech32m"),
        bech32.encode("fed1", bech32.to_words(b"\x00"), "bech32m"),
        "fedimint" + base32.encode(b"\x01\x01\x20" + bytes(32)),
    ],
)
def test_bad_invites_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        InviteCode.parse(text)


@given(st.binary(max_size=200))
def test_base32_gives_the_bytes_back(data: bytes) -> None:
    assert base32.decode(base32.encode(data)) == data


@given(st.binary(max_size=200), st.sampled_from(["bech32", "bech32m"]))
def test_bech32_gives_the_bytes_back(data: bytes, spec: bech32.Spec) -> None:
    hrp, words, seen = bech32.decode(bech32.encode("fed1", bech32.to_words(data), spec))
    assert (hrp, bech32.to_bytes(words), seen) == ("fed1", data, spec)


@given(st.text(max_size=120))
def test_arbitrary_text_is_refused_in_our_words(text: str) -> None:
    for parse in (InviteCode.parse, mintv2.Ecash.parse, mint.OobNotes.parse, bech32.decode_segwit):
        with pytest.raises(DecodeError):
            parse(text)


@pytest.mark.parametrize(
    ("text", "hrp", "version", "program"),
    [  # BIP 350
        (
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "bc",
            0,
            "751e76e8199196d454941c45d1b3a323f1433bd6",
        ),
        (
            "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
            "bc",
            1,
            "751e76e8199196d454941c45d1b3a323f1433bd6751e76e8199196d454941c45d1b3a323f1433bd6",
        ),
        ("BC1SW50QGDZ25J", "bc", 16, "751e"),
        (
            "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
            "tb",
            0,
            "1863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
        ),
    ],
)
def test_segwit_addresses_follow_bip_350(text: str, hrp: str, version: int, program: str) -> None:
    assert bech32.decode_segwit(text) == (hrp, version, bytes.fromhex(program))
    assert bech32.encode_segwit(hrp, version, bytes.fromhex(program)) == text.lower()


@pytest.mark.parametrize(
    "text",
    [  # BIP 350
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
        "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh",
        "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4",
        "BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R",
        "bc1pw5dgrnzv",
        "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
        "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq",
        "bc1gmk9yu",
    ],
)
def test_bad_segwit_addresses_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        bech32.decode_segwit(text)


def test_recorded_ecash_reads_and_hides_its_notes(federations: dict[str, dict[str, Any]]) -> None:
    text = federations["v2"]["ecash_1000448_msat"]
    ecash = mintv2.Ecash.parse(text)
    assert ecash.amount_msat() == 1_000_448
    assert len(ecash.notes()) == 6
    federation_id = ecash.federation_id()
    assert federation_id is not None
    assert federation_id.hex() == federations["v2"]["federation_id"]
    assert ecash.to_text() == text
    assert mintv2.Ecash.of(federation_id, ecash.notes()) == ecash
    for note in ecash.notes():
        for secret in (repr(note.secret_key), note.secret_key.hex(), repr(note.signature)):
            assert secret not in repr(ecash)
            assert secret not in str(ecash)


def test_notes_of_v1_read_in_every_form_and_hide() -> None:
    note = mint.SpendableNote(b"\xc0" + bytes(47), bytes(31) + b"\x07")
    notes = mint.OobNotes.of(FederationId(bytes(range(32))), {1024: (note, note), 4: (note,)})
    text = notes.to_text()
    assert notes.amount_msat() == 2052
    standard = text.replace("-", "+").replace("_", "/")
    wrapped = base32.encode_prefixed(mint.OOB_NOTES.encode(notes))
    for form in (text, standard, wrapped, f" {text[:20]}\n{text[20:]} "):
        assert mint.OobNotes.parse(form) == notes
    assert notes.federation_id_prefix() == bytes(range(4))
    assert repr(note.secret_key) not in repr(notes)
    with pytest.raises(DecodeError, match="without any note"):
        mint.OobNotes.parse(mint.OobNotes.of(FederationId(bytes(32)), {}).to_text())
