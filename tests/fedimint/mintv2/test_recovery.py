"""Recovery of notes: from the lists of guardians that hold dealt keys, some of which lie or are slow."""

import json
import os
import pickle
from collections.abc import Callable, Sequence
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.lowlevel
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from errors import ConfigError, PeerError
from fedimint.client.query import Guardians
from fedimint.client.transport import GuardianRefused, GuardianUnreachable
from fedimint.codec import secp, wire_types
from fedimint.codec.errors import DecodeError
from fedimint.codec.wire_types import FeeConsensus, PeerId, consensus_hash, hash160
from fedimint.crypto import bls, tbs
from fedimint.crypto.secrets import DerivableSecret, mintv2_tweak_filter
from fedimint.mintv2 import (
    RECOVERY_ITEMS,
    RecoveryInput,
    RecoveryItem,
    RecoveryOutput,
    notes,
    recovery,
    tweaks,
)
from fedimint.mintv2.api import Mintv2Api
from fedimint.mintv2.config import MintV2ClientConfig
from fedimint.mintv2.json import RecoveryItemJson, recovery_items
from fedimint.mintv2.notes import NoteRequest
from fedimint.mintv2.recovery import FoundNotes, RecoveredNotes, fold_items, recover_notes
from tests.fedimint.played import Nap

T = TypeVar("T")
Args = TypeVarTuple("Args")

VIRTUAL_TIME = ("trio", {"clock": MockClock(autojump_threshold=0)})
MODULE = DerivableSecret(bytes(range(64)))
THRESHOLD, GUARDIANS = 3, 4
DENOMINATION = 10
DEALT = tbs.deal(THRESHOLD, GUARDIANS, os.urandom)
KEYS = MintV2ClientConfig(
    {DENOMINATION: bls.encode_g2(DEALT.aggregate_key)},
    {
        DENOMINATION: {
            PeerId(peer): bls.encode_g2(key) for peer, key in enumerate(DEALT.public_keys)
        }
    },
    FeeConsensus(0, 0),
    0,
)
FILTER = mintv2_tweak_filter(MODULE)


def _ground_requests(count: int) -> tuple[NoteRequest, ...]:
    starts = (bytes([number]) * 16 for number in range(count))
    return tuple(NoteRequest(DENOMINATION, tweaks.grind(FILTER, start)) for start in starts)


REQUESTS = _ground_requests(4)


def _issued(request: NoteRequest) -> RecoveryOutput:
    blinded = notes.blinded_nonce(MODULE, request)
    return RecoveryOutput(request.denomination, hash160(blinded), request.tweak)


def _spent(request: NoteRequest) -> RecoveryInput:
    return RecoveryInput(hash160(notes.nonce(MODULE, request)))


ISSUED = [_issued(request) for request in REQUESTS]
STRANGERS: list[RecoveryItem] = [
    RecoveryOutput(DENOMINATION, bytes([number]) * 20, bytes([number]) * 16) for number in range(9)
] + [RecoveryInput(bytes([number]) * 20) for number in range(9)]


async def _inline(function: Callable[[*Args], T], *arguments: *Args) -> T:
    await anyio.lowlevel.checkpoint()
    return function(*arguments)


class Mint:
    """One guardian's mint: a list of items, and the shares it signed. The subclasses fail."""

    def __init__(self, peer: int, items: Sequence[RecoveryItem]) -> None:
        self.peer = peer
        self.items = tuple(items)
        self.calls: list[str] = []

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        await anyio.lowlevel.checkpoint()
        name = method.removeprefix("module_2_")
        self.calls.append(name)
        return await self.answer(name, json.loads(msgspec.json.encode(params)))

    async def answer(self, name: str, params: list[int]) -> object:
        if name == "recovery_count":
            return len(self.items)
        if name == "recovery_signature_shares":
            return [self.share(bytes.fromhex(str(blinded))).hex() for blinded in params]
        items = self.items[params[0] : params[1]]
        if name == "recovery_slice_hash":
            return consensus_hash(RECOVERY_ITEMS.encode(items)).hex()
        assert name == "recovery_slice"
        return self.slice([json.loads(msgspec.json.encode(RecoveryItemJson.of(i))) for i in items])

    def share(self, blinded: bytes) -> bytes:
        secret = DEALT.secret_shares[self.peer]
        return bls.encode_g1(tbs.sign_share(bls.decode_g1(blinded), secret))

    def slice(self, answer: list[object]) -> object:
        return answer

    async def aclose(self) -> None:
        """Nothing is open."""


class ForgetfulMint(Mint):
    def slice(self, answer: list[object]) -> object:
        return answer[1:]


class GarbledMint(Mint):
    def slice(self, answer: list[object]) -> object:
        return [*answer, {"Output": None}]


class LyingMint(Mint):
    def share(self, blinded: bytes) -> bytes:
        return bls.encode_g1(bls.decode_g1(blinded) * bls.Scalar(7))


class SilentMint(Mint):
    async def answer(self, name: str, params: list[int]) -> object:
        if name == "recovery_slice":
            await anyio.sleep_forever()
        return await super().answer(name, params)


class DeadMint(Mint):
    async def answer(self, name: str, params: list[int]) -> object:
        raise GuardianUnreachable("down")


def _api(items: Sequence[RecoveryItem], *kinds: type[Mint], first: int = 0) -> Mintv2Api:
    """The module of a federation whose first guardians are of these kinds; slices come first of `first`."""
    all_kinds = [*kinds, *[Mint] * (GUARDIANS - len(kinds))]
    connections = {PeerId(peer): kind(peer, items) for peer, kind in enumerate(all_kinds)}
    guardians = Guardians(connections, sleep_s=Nap(), jitter=lambda: first / GUARDIANS)
    return Mintv2Api(guardians, 2)


async def _recover(api: Mintv2Api) -> RecoveredNotes:
    return await recover_notes(api, MODULE, KEYS, await api.recovery_count(), _inline)


# --- reading the list -----------------------------------------------------------------------------


@settings(max_examples=25)
@given(data=st.data())
def test_what_is_issued_and_not_spent_is_found_however_the_list_is_cut(data: st.DataObject) -> None:
    issued = data.draw(st.lists(st.sampled_from(range(4)), max_size=5))
    spent = data.draw(st.sets(st.sampled_from(issued))) if issued else set()
    items: list[RecoveryItem] = [ISSUED[number] for number in issued]
    for number in sorted(spent):
        earliest = items.index(ISSUED[number]) + 1
        items.insert(data.draw(st.integers(earliest, len(items))), _spent(REQUESTS[number]))
    for stranger in data.draw(st.lists(st.sampled_from(STRANGERS), max_size=5)):
        items.insert(data.draw(st.integers(0, len(items))), stranger)
    cut = data.draw(st.integers(0, len(items)))
    found = fold_items(MODULE, FoundNotes(), tuple(items[:cut]))
    found = fold_items(MODULE, found, tuple(items[cut:]))
    assert set(found.unspent.values()) == {REQUESTS[number] for number in set(issued) - spent}


def test_a_note_of_somebody_who_copied_our_tweak_is_not_ours() -> None:
    copied = msgspec.structs.replace(ISSUED[0], nonce_hash=bytes(20))
    other_denomination = msgspec.structs.replace(ISSUED[0], denomination=DENOMINATION + 1)
    items = (copied, other_denomination)
    assert fold_items(MODULE, FoundNotes(), items) == FoundNotes()
    assert fold_items(MODULE.child(0), FoundNotes(), tuple(ISSUED)) == FoundNotes()


def test_a_spent_note_stays_spent_when_its_output_is_repeated() -> None:
    items = (ISSUED[0], _spent(REQUESTS[0]), ISSUED[0])
    assert fold_items(MODULE, FoundNotes(), items).unspent == {}


def test_what_was_found_can_cross_to_a_worker() -> None:
    found = fold_items(MODULE, FoundNotes(), (*ISSUED, _spent(REQUESTS[0])))
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - our own
    assert (len(found.unspent), len(found.spent)) == (3, 1)


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"Output": {"denomination": 256, "nonce_hash": "00" * 20, "tweak": [0] * 16}},
        {"Output": {"denomination": 10, "nonce_hash": "00" * 19, "tweak": [0] * 16}},
        {"Output": {"denomination": 10, "nonce_hash": "00" * 20, "tweak": [0] * 15}},
        {"Output": {"denomination": 10, "nonce_hash": "00" * 20, "tweak": [256] * 16}},
        {"Input": {"nonce_hash": "zz" * 20}},
        {
            "Input": {"nonce_hash": "00" * 20},
            "Output": {"denomination": 10, "nonce_hash": "00" * 20, "tweak": [0] * 16},
        },
    ],
)
def test_an_item_must_be_an_output_or_an_input(bad: object) -> None:
    with pytest.raises(DecodeError):
        recovery_items([bad])


def test_items_encode_and_show_as_upstream_has_them() -> None:
    items = (RecoveryOutput(10, b"\x01" * 20, b"\x02" * 16), RecoveryInput(b"\x03" * 20))
    encoded = RECOVERY_ITEMS.encode(items)
    assert encoded.hex() == f"020025{'0a'}{'01' * 20}{'02' * 16}0114{'03' * 20}"
    assert RECOVERY_ITEMS.decode(encoded) == items
    shown = [json.loads(msgspec.json.encode(RecoveryItemJson.of(item))) for item in items]
    assert shown == [
        {"Output": {"denomination": 10, "nonce_hash": "01" * 20, "tweak": [2] * 16}},
        {"Input": {"nonce_hash": "03" * 20}},
    ]
    assert recovery_items(shown) == items


# --- with guardians -------------------------------------------------------------------------------

HISTORY = [*STRANGERS[:5], *ISSUED, *STRANGERS[9:], _spent(REQUESTS[1]), *STRANGERS[5:9]]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "kinds",
    [(), (DeadMint,), (ForgetfulMint,), (GarbledMint,), (LyingMint,), (Mint, LyingMint)],
    ids=lambda kinds: "-".join(kind.__name__ for kind in kinds),
)
async def test_notes_come_back_whoever_of_the_guardians_fails(
    kinds: tuple[type[Mint], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "SLICE_SIZE", 6)
    monkeypatch.setattr(recovery, "NOTES_AT_ONCE", 2)
    recovered = await _recover(_api(HISTORY, *kinds))
    assert recovered.lost_msat == 0
    assert [note.tweak for note in recovered.notes] == [
        REQUESTS[number].tweak for number in (0, 2, 3)
    ]
    wire = [notes.mint_input(note).note for note in recovered.notes]
    assert notes.invalid_notes(wire, KEYS, os.urandom) == ()
    for note in recovered.notes:
        assert secp.public_key(notes.spend_secret(MODULE, note)) == note.nonce


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", [VIRTUAL_TIME], ids=["trio"])
async def test_a_slice_is_carried_once_and_by_the_next_guardian_when_one_is_silent() -> None:
    async def take(peer: PeerId, answer: object) -> PeerId:
        assert len(recovery_items(answer)) == 5
        return peer

    asked = {}
    for first in range(GUARDIANS):
        api = _api(HISTORY, SilentMint, DeadMint, first=first)
        answered_by = await api.recovery_slice(0, 5, take)
        mints = [mint for mint in api.guardians.connections.values() if isinstance(mint, Mint)]
        asked[first] = answered_by, [len(mint.calls) for mint in mints]
    assert asked == {
        0: (2, [1, 1, 1, 0]),
        1: (2, [0, 1, 1, 0]),
        2: (2, [0, 0, 1, 0]),
        3: (3, [0, 0, 0, 1]),
    }


@pytest.mark.anyio
async def test_an_empty_list_asks_nobody_for_anything() -> None:
    api = _api([])
    assert await _recover(api) == RecoveredNotes((), 0)
    for mint in api.guardians.connections.values():
        assert isinstance(mint, Mint)
        # A guardian that is not needed for the threshold may be left unasked.
        assert set(mint.calls) <= {"recovery_count"}


@pytest.mark.anyio
async def test_more_liars_than_a_federation_can_bear_end_the_recovery() -> None:
    with pytest.raises(PeerError, match="wrong signature shares"):
        await _recover(_api(HISTORY, LyingMint, LyingMint))


@pytest.mark.anyio
async def test_notes_that_the_mint_signed_wrongly_are_counted() -> None:
    # Another aggregate key in the config than the guardians' own keys make.
    other = tbs.deal(THRESHOLD, GUARDIANS, os.urandom)
    keys = msgspec.structs.replace(
        KEYS, tbs_agg_pks={DENOMINATION: bls.encode_g2(other.aggregate_key)}
    )
    recovered = await recover_notes(_api(HISTORY), MODULE, keys, len(HISTORY), _inline)
    assert recovered == RecoveredNotes((), 3 << DENOMINATION)


@pytest.mark.anyio
async def test_a_guardian_without_the_shares_is_asked_again() -> None:
    class LateMint(Mint):
        async def answer(self, name: str, params: list[int]) -> object:
            if name == "recovery_signature_shares" and self.calls.count(name) < 3:
                raise GuardianRefused(400, "No blinded signature share found")
            return await super().answer(name, params)

    recovered = await _recover(_api(HISTORY, LateMint, LateMint))
    assert len(recovered.notes) == 3


def test_a_python_without_ripemd160_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, data: bytes) -> None:
        raise ValueError(name, data)

    assert hash160(b"").hex() == "b472a266d0bd89c13706a4132ccfb16f7c3b9fcb"
    monkeypatch.setattr(wire_types.hashlib, "new", missing)  # type: ignore[attr-defined] # the module's own import
    with pytest.raises(ConfigError, match="RIPEMD-160"):
        hash160(b"")
