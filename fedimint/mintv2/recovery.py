"""Recovers mintv2 notes from the mnemonic: which notes the mint issued to us, and which are unspent.

Source: fedimint-mintv2-client src/lib.rs (prepare_recovery, recover). The mint keeps a list of all
outputs and inputs. An output is ours when its tweak meets our filter and its blinded nonce is the
one that follows from it; an input names the nonce it spends.

The length of the list must be fixed, and written down, before a client issues notes of its own: else
recovery would find those too, and the wallet would have them twice.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from errors import PeerError
from fedimint.codec.wire_types import PeerId, consensus_hash, hash160
from fedimint.crypto.secrets import DerivableSecret, mintv2_tweak_filter
from fedimint.mintv2 import RECOVERY_ITEMS, RecoveryInput, RecoveryItem, notes
from fedimint.mintv2.api import Mintv2Api
from fedimint.mintv2.collecting import NoteCollector, RunCpu
from fedimint.mintv2.config import MintV2ClientConfig
from fedimint.mintv2.json import recovery_items
from fedimint.mintv2.notes import Note, NoteRequest
from fedimint.mintv2.tweaks import meets_filter

SLICE_SIZE: Final = 2_500
"""Items asked for at once: up to 430 kB of JSON, a quarter of what upstream asks for, so that decoding is quick."""
NOTES_AT_ONCE: Final = 256


class FoundNotes(msgspec.Struct, frozen=True):
    """Our notes in the part of the list that was read, by the hash160 of their nonces.

    Spent ones are remembered, since anybody can repeat an output of ours later.
    """

    unspent: Mapping[bytes, NoteRequest] = {}
    spent: frozenset[bytes] = frozenset()


class RecoveredNotes(msgspec.Struct, frozen=True):
    """The notes in the order of their issue, and the face value of those the mint signed wrongly."""

    notes: tuple[Note, ...]
    lost_msat: int


async def recover_notes(
    api: Mintv2Api, module: DerivableSecret, keys: MintV2ClientConfig, count: int, run_cpu: RunCpu
) -> RecoveredNotes:
    """Recover the notes among the first `count` items, which `api.recovery_count()` gave once.

    Ecash that was given away and not redeemed yet is among them: the first to spend it has it. Waits for
    guardians without limit. Raises PeerError when more of them lie than a federation can bear.
    """
    found = FoundNotes()
    for start in range(0, count, SLICE_SIZE):
        positions = range(start, min(start + SLICE_SIZE, count))
        found = await _read_slice(api, module, found, positions, run_cpu)
    collector = NoteCollector(api.guardians, keys, module, run_cpu)
    requests = tuple(found.unspent.values())
    recovered: list[Note] = []
    lost_msat = 0
    for first in range(0, len(requests), NOTES_AT_ONCE):
        batch = requests[first : first + NOTES_AT_ONCE]
        finalised = await _collect(api, collector, batch)
        recovered += finalised.notes
        lost_msat += sum(1 << batch[index].denomination for index in finalised.invalid)
    return RecoveredNotes(tuple(recovered), lost_msat)


def fold_answer(
    module: DerivableSecret, found: FoundNotes, answer: object, slice_hash: bytes
) -> FoundNotes:
    """Read the next slice, as one guardian sent it, if it has the hash the others agree on.

    Pure, run in a worker. Raises PeerError or DecodeError.
    """
    items = recovery_items(answer)
    if consensus_hash(RECOVERY_ITEMS.encode(items)) != slice_hash:
        raise PeerError("the guardian's slice is not the one that a threshold of guardians has")
    return fold_items(module, found, items)


def fold_items(
    module: DerivableSecret, found: FoundNotes, items: tuple[RecoveryItem, ...]
) -> FoundNotes:
    """Read the next items of the list, which must come in its order. Pure."""
    unspent, spent = dict(found.unspent), set(found.spent)
    tweak_filter = mintv2_tweak_filter(module)
    for item in items:
        if isinstance(item, RecoveryInput):
            if unspent.pop(item.nonce_hash, None) is not None:
                spent.add(item.nonce_hash)
        elif meets_filter(item.tweak, tweak_filter):
            request = NoteRequest(item.denomination, item.tweak)
            # Somebody else's output can meet the filter: by chance, or because they copied our tweak.
            if hash160(notes.blinded_nonce(module, request)) != item.nonce_hash:
                continue
            nonce_hash = hash160(notes.nonce(module, request))
            if nonce_hash not in spent:
                unspent[nonce_hash] = request
    return FoundNotes(unspent, frozenset(spent))


def blinded_nonces(module: DerivableSecret, requests: tuple[NoteRequest, ...]) -> tuple[bytes, ...]:
    """What the guardians know these notes by, 48 bytes each. Pure, run in a worker."""
    return tuple(notes.blinded_nonce(module, request) for request in requests)


async def _read_slice(
    api: Mintv2Api, module: DerivableSecret, found: FoundNotes, positions: range, run_cpu: RunCpu
) -> FoundNotes:
    slice_hash = await api.recovery_slice_hash(positions.start, positions.stop)

    async def fold(peer: PeerId, answer: object) -> FoundNotes:
        del peer
        return await run_cpu(fold_answer, module, found, answer, slice_hash)

    return await api.recovery_slice(positions.start, positions.stop, fold)


async def _collect(
    api: Mintv2Api, collector: NoteCollector, requests: tuple[NoteRequest, ...]
) -> notes.Finalised:
    blinded = await collector.run_cpu(blinded_nonces, collector.module, requests)
    return await collector.collect(
        lambda check: api.recovery_signature_shares(blinded, check), requests
    )
