"""mintv2: our notes, issued, spent, recovered, and those that others hand in."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import ClassVar

from errors import FatalError
from fedimint import mintv2
from fedimint.codec.wire_types import PeerId, TransactionId
from fedimint.crypto import secrets
from fedimint.crypto.secrets import DerivableSecret
from fedimint.mintv2 import SpendableNote, notes, selection, tweaks
from fedimint.mintv2.api import Mintv2Api
from fedimint.mintv2.collecting import NoteCollector
from fedimint.mintv2.config import MintV2ClientConfig
from fedimint.mintv2.ecash import BITCOIN
from fedimint.mintv2.notes import Note, NoteRequest
from fedimint.mintv2.recovery import recover_notes
from fedimint.transaction import DynItem
from gateway.modules.module import Materials, Module, ModuleKey, SignedInput, of_other_guardians
from gateway.ports import Cpu
from statemachines.items import ForeignNote, HeldNote, Issue
from statemachines.transaction import NotesCollected


class MintV2(Module[MintV2ClientConfig, Mintv2Api]):
    """The mintv2 module of a federation, and our secret in it."""

    kind: ClassVar = mintv2.KIND
    config_type: ClassVar = MintV2ClientConfig
    api_type: ClassVar = Mintv2Api
    major: ClassVar = 1

    @classmethod
    def refusals(
        cls, config: MintV2ClientConfig, network: str, peers: Collection[PeerId]
    ) -> Iterator[str]:
        del network
        for denomination, keys in config.tbs_pks.items():
            what = f"keys of mintv2 for 2^{denomination} msat"
            yield from of_other_guardians(what, keys.keys(), peers)
        if config.amount_unit != BITCOIN:
            yield f"the federation's ecash is of unit {config.amount_unit}, this gateway deals in bitcoin"
        tables: tuple[Mapping[int, object], ...] = (config.tbs_agg_pks, config.tbs_pks)
        lacking = [d for d in selection.DENOMINATIONS if any(d not in known for known in tables)]
        if lacking:
            yield f"the federation issues no notes of 2^{lacking[0]} msat, which this gateway would ask for"

    @classmethod
    def input(
        cls, key: ModuleKey, item: HeldNote | ForeignNote, materials: Materials
    ) -> SignedInput:
        if isinstance(item, ForeignNote):
            foreign = materials.foreign_notes[item.nonce]
            spent, secret_key = mintv2.MintInput(foreign.note()), foreign.secret_key
        else:
            note = _note_of(item)
            spent, secret_key = notes.mint_input(note), notes.spend_secret(key.secret, note)
        return SignedInput(DynItem(key.instance_id, mintv2.INPUT.encode(spent)), secret_key)

    @classmethod
    def output(cls, key: ModuleKey, item: Issue) -> DynItem:
        (asked,) = notes.blinded_outputs(key.secret, _requests((item,)))
        return DynItem(key.instance_id, mintv2.OUTPUT.encode(asked))

    @property
    def tweak_filter(self) -> bytes:
        """What every tweak of ours must meet, so that recovery finds the note."""
        return secrets.mintv2_tweak_filter(self.key.secret)

    async def collect(
        self, txid: str, start: int, issues: Sequence[Issue], cpu: Cpu
    ) -> NotesCollected:
        """The notes that a transaction issued as its outputs from `start` on."""
        collector = NoteCollector(self.api.guardians, self.config, self.key.secret, cpu.run)
        of, end = TransactionId(bytes.fromhex(txid)), start + len(issues)
        found = await collector.collect(
            lambda check: self.api.signature_shares(of, start, end, check), _requests(issues)
        )
        lost_msat = sum(1 << issues[index].denomination for index in found.invalid)
        return NotesCollected(notes=tuple(map(held_note, found.notes)), lost_msat=lost_msat)

    async def recover(self, cpu: Cpu) -> NotesCollected:
        """Our unspent notes in the federation's history. None of ours may be being issued meanwhile."""
        count = await self.api.recovery_count()
        found = await recover_notes(self.api, self.key.secret, self.config, count, cpu.run)
        return NotesCollected(notes=tuple(map(held_note, found.notes)), lost_msat=found.lost_msat)


def held_note(note: Note) -> HeldNote:
    """A note as the log stores it."""
    return HeldNote(note.denomination, note.tweak.hex(), note.nonce.hex(), note.signature.hex())


def spendable_notes(secret: DerivableSecret, held: Sequence[HeldNote]) -> tuple[SpendableNote, ...]:
    """Our notes with their keys, given the module's secret; run in a worker."""
    return tuple(notes.spendable(secret, _note_of(note)) for note in held)


def with_tweaks(
    secret: DerivableSecret,
    issues: Sequence[Issue],
    starts: Sequence[bytes],
    find_tweak: tweaks.FindTweak,
) -> tuple[Issue, ...]:
    """These issues, each with a tweak: one that has none gets the first from its start on.

    Raises FatalError when two have the same.
    """
    tweak_filter, left = secrets.mintv2_tweak_filter(secret), iter(starts)
    filled = tuple(
        issue
        if issue.tweak
        else Issue(issue.denomination, tweaks.grind(tweak_filter, next(left), find_tweak).hex())
        for issue in issues
    )
    if len({issue.tweak for issue in filled}) != len(filled):
        raise FatalError("a tweak would be used twice")
    return filled


def _requests(issues: Sequence[Issue]) -> tuple[NoteRequest, ...]:
    return tuple(NoteRequest(issue.denomination, bytes.fromhex(issue.tweak)) for issue in issues)


def _note_of(held: HeldNote) -> Note:
    return Note(
        held.denomination,
        bytes.fromhex(held.tweak),
        bytes.fromhex(held.nonce),
        bytes.fromhex(held.signature),
    )
