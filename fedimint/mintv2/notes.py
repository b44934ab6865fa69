"""mintv2 notes on the client's side: request, collect, spend.

Sources: fedimint-mintv2-client src/issuance.rs, src/output.rs, src/input.rs. All functions are pure
and take and return plain data, so that a worker process can run them. Nothing here holds a secret
longer than a call: a note's key and blinding scalar are derived again from the module secret, its
denomination and its tweak. A note is worth 2^denomination msat.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from errors import FatalError, InputError
from fedimint import mintv2
from fedimint.codec import secp
from fedimint.codec.errors import DecodeError
from fedimint.codec.wire_types import PeerId
from fedimint.crypto import bls, tbs
from fedimint.crypto.secrets import DerivableSecret, mintv2_note
from fedimint.mintv2.config import MintV2ClientConfig


class NoteRequest(msgspec.Struct, frozen=True):
    """A note asked for. The tweak, 16 bytes, is used for one note only, ever."""

    denomination: int
    tweak: bytes


class Note(msgspec.Struct, frozen=True):
    """A note this client owns: nonce 33 bytes, signature 48; its key follows from the tweak."""

    denomination: int
    tweak: bytes
    nonce: bytes
    signature: bytes

    def __repr__(self) -> str:
        return f"Note(denomination={self.denomination}, …)"

    def amount_msat(self) -> int:
        """The face value, 2^denomination."""
        return 1 << self.denomination


class Finalised(msgspec.Struct, frozen=True):
    """What came out of collecting the notes of one range of outputs.

    `notes` are in the order of the requests, without those of `invalid`, the indices of requests
    whose shares agree with the guardians' keys and yet make no note. `bad_peers` sent a wrong count
    or a wrong share. While `missing_peers` is not 0, nothing is decided: ask as many more guardians
    and call again.
    """

    notes: tuple[Note, ...]
    invalid: tuple[int, ...] = ()
    bad_peers: tuple[PeerId, ...] = ()
    missing_peers: int = 0


class _Pending(NamedTuple):
    """A request with everything its note needs; holds secrets, so it never leaves this file."""

    request: NoteRequest
    nonce: secp.PublicKey
    message: bls.G1Point
    blinding: bls.Scalar

    def blinded_nonce(self) -> bytes:
        return bls.encode_g1(tbs.blind(self.message, self.blinding))


def blinded_outputs(
    module: DerivableSecret, requests: Sequence[NoteRequest]
) -> tuple[mintv2.MintOutput, ...]:
    """The outputs that ask the guardians for these notes, in the same order.

    Raises FatalError when a request stands there twice: its second note would be worthless.
    """
    if len(set(requests)) != len(requests):
        raise FatalError("the same tweak was reserved for two notes of one denomination")
    return tuple(
        mintv2.MintOutput(
            pending.request.denomination,
            pending.blinded_nonce(),
            pending.request.tweak,
        )
        for pending in (_derive(module, request) for request in requests)
    )


def nonce(module: DerivableSecret, request: NoteRequest) -> secp.PublicKey:
    """The nonce (33 bytes) by which a note is spent."""
    secret = mintv2_note(module, request.denomination, request.tweak)
    return secp.public_key(secret.to_secp_secret())


def blinded_nonce(module: DerivableSecret, request: NoteRequest) -> bytes:
    """What the guardians sign to issue a note: a point of 48 bytes."""
    return _derive(module, request).blinded_nonce()


def finalise(
    module: DerivableSecret,
    requests: Sequence[NoteRequest],
    shares_by_peer: Mapping[PeerId, Sequence[bytes]],
    keys: MintV2ClientConfig,
    *,
    threshold: int,
    random_bytes: Callable[[int], bytes],
) -> Finalised:
    """Make notes of the guardians' answers to `signature_shares` over these requests.

    The first threshold of guardians is believed until the finished notes, all checked at once, say
    otherwise; only then is each guardian's answer looked at, and the next ones take the place of
    those found wrong. Raises InputError when the federation has no such denomination.
    """
    if not requests:
        return Finalised(())
    pending = [_derive(module, request) for request in requests]
    aggregate_keys = [_aggregate_key(keys, request.denomination) for request in requests]
    waiting = sorted(shares_by_peer, reverse=True)
    believed: dict[PeerId, list[bls.G1Point]] = {}
    bad_peers: list[PeerId] = []
    while True:
        while waiting and len(believed) < threshold:
            peer = waiting.pop()
            points = _decode_shares(shares_by_peer[peer], len(pending))
            if points is None:
                bad_peers.append(peer)
            else:
                believed[peer] = points
        if len(believed) < threshold:
            return Finalised((), (), tuple(bad_peers), threshold - len(believed))
        batch = _unblind(pending, aggregate_keys, believed)
        if tbs.verify_all(batch, random_bytes):
            return _finalised(pending, batch, set(), bad_peers)
        guilty = [
            peer
            for peer, points in believed.items()
            if not _shares_are_good(pending, peer, points, keys, random_bytes)
        ]
        if not guilty:
            invalid = {index for index, signed in enumerate(batch) if not tbs.verify(signed)}
            return _finalised(pending, batch, invalid, bad_peers)
        for peer in guilty:
            del believed[peer]
        bad_peers += guilty


def invalid_notes(
    notes: Sequence[mintv2.Note], keys: MintV2ClientConfig, random_bytes: Callable[[int], bytes]
) -> tuple[int, ...]:
    """The indices of notes, usually someone else's, that the federation would not honour.

    Whether a note is spent only the federation knows.
    """
    batch: dict[int, tbs.Signed] = {}
    for index, note in enumerate(notes):
        key = keys.tbs_agg_pks.get(note.denomination)
        try:
            signature = bls.decode_g1(note.signature)
        except DecodeError:
            continue
        if key is not None:
            batch[index] = tbs.Signed(tbs.message_v2(note.nonce), signature, bls.decode_g2(key))
    if not tbs.verify_all(list(batch.values()), random_bytes):
        batch = {index: signed for index, signed in batch.items() if tbs.verify(signed)}
    return tuple(index for index in range(len(notes)) if index not in batch)


def mint_input(note: Note) -> mintv2.MintInput:
    """The transaction input that spends a note."""
    return mintv2.MintInput(mintv2.Note(note.denomination, note.nonce, note.signature))


def spend_secret(module: DerivableSecret, note: Note) -> secp.SecretKey:
    """The key that signs for the input of a note.

    Raises FatalError when it does not fit the nonce: then the notes are of other words.
    """
    secret = mintv2_note(module, note.denomination, note.tweak).to_secp_secret()
    if secp.public_key(secret) != note.nonce:
        raise FatalError("a stored note does not belong to the secret of this module")
    return secret


def spendable(module: DerivableSecret, note: Note) -> mintv2.SpendableNote:
    """The note with its key, to give away as ecash. Raises FatalError as `spend_secret` does."""
    return mintv2.SpendableNote(note.denomination, spend_secret(module, note), note.signature)


def _derive(module: DerivableSecret, request: NoteRequest) -> _Pending:
    secret = mintv2_note(module, request.denomination, request.tweak)
    nonce = secp.public_key(secret.to_secp_secret())
    return _Pending(request, nonce, tbs.message_v2(nonce), secret.to_bls_scalar())


def _aggregate_key(keys: MintV2ClientConfig, denomination: int) -> bls.G2Point:
    key = keys.tbs_agg_pks.get(denomination)
    if key is None:
        raise InputError(f"the federation does not issue notes of denomination {denomination}")
    return bls.decode_g2(key)


def _decode_shares(shares: Sequence[bytes], count: int) -> list[bls.G1Point] | None:
    """One guardian's answer as points; None when it is not a point for each request."""
    if len(shares) != count:
        return None
    try:
        return [bls.decode_g1(share) for share in shares]
    except DecodeError:
        return None


def _unblind(
    pending: Sequence[_Pending],
    aggregate_keys: Sequence[bls.G2Point],
    believed: Mapping[PeerId, Sequence[bls.G1Point]],
) -> list[tbs.Signed]:
    batch = []
    for index, (note, key) in enumerate(zip(pending, aggregate_keys, strict=True)):
        shares = {peer: points[index] for peer, points in believed.items()}
        signature = tbs.aggregate_and_unblind(shares, note.blinding)
        batch.append(tbs.Signed(note.message, signature, key))
    return batch


def _shares_are_good(
    pending: Sequence[_Pending],
    peer: PeerId,
    points: Sequence[bls.G1Point],
    keys: MintV2ClientConfig,
    random_bytes: Callable[[int], bytes],
) -> bool:
    """Whether all shares of one guardian are signatures under its own keys."""
    batch = []
    for note, share in zip(pending, points, strict=True):
        key = keys.tbs_pks.get(note.request.denomination, {}).get(peer)
        if key is None:
            return False
        blinded = tbs.blind(note.message, note.blinding)
        batch.append(tbs.Signed(blinded, share, bls.decode_g2(key)))
    return tbs.verify_all(batch, random_bytes)


def _finalised(
    pending: Sequence[_Pending],
    batch: Sequence[tbs.Signed],
    invalid: set[int],
    bad_peers: Sequence[PeerId],
) -> Finalised:
    notes = tuple(
        Note(
            note.request.denomination,
            note.request.tweak,
            note.nonce,
            bls.encode_g1(signed.signature),
        )
        for index, (note, signed) in enumerate(zip(pending, batch, strict=True))
        if index not in invalid
    )
    return Finalised(notes, tuple(sorted(invalid)), tuple(sorted(bad_peers)))
