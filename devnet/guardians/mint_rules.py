"""The rules by which the embedded guardians judge notes.

Source: fedimint-mintv2-server src/lib.rs (process_input, process_output). The order of the checks is
theirs, since clients count equal errors.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from devnet.guardians.ledger import Draft
from devnet.guardians.module_rules import InputMeta, Moment, OutputMeta
from fedimint import mintv2
from fedimint.codec.wire_types import ModuleError, OutPoint
from fedimint.crypto import bls, tbs
from fedimint.mintv2.config import MintV2ClientConfig


@dataclass
class MintRules:
    """mintv2: notes are good under the aggregate key, of a known denomination, and spent once."""

    config: MintV2ClientConfig
    _good_notes: set[mintv2.Note] = field(default_factory=set, repr=False)

    def verify_together(self, notes: Sequence[mintv2.Note]) -> None:
        """Remember these notes if all are good, which is found faster at once than one by one."""
        unknown = [note for note in notes if note not in self._good_notes]
        if all(note.denomination in self.config.tbs_agg_pks for note in unknown) and tbs.verify_all(
            [self._signed(note) for note in unknown], os.urandom
        ):
            self._good_notes.update(unknown)

    def check(self, item: mintv2.MintInput | mintv2.MintOutput) -> None:
        if isinstance(item, mintv2.MintInput):
            bls.decode_g1(item.note.signature)
        else:
            bls.decode_g1(item.blinded_nonce)

    def process_input(
        self, draft: Draft, item: mintv2.MintInput, moment: Moment
    ) -> InputMeta | ModuleError:
        del moment
        note = item.note
        if note.denomination not in self.config.tbs_agg_pks:
            return ModuleError("InvalidDenomination")
        if not self._is_good(note):
            return ModuleError("InvalidSignature")
        if not draft.spend_note(note):
            return ModuleError("SpentCoin")
        amount_msat = note.amount_msat()
        fee_msat = self.config.fee_consensus.fee_msat(amount_msat)
        return InputMeta(amount_msat, fee_msat, note.nonce)

    def process_output(
        self, draft: Draft, item: mintv2.MintOutput, out_point: OutPoint, moment: Moment
    ) -> OutputMeta | ModuleError:
        del moment
        if item.denomination not in self.config.tbs_agg_pks:
            return ModuleError("InvalidDenomination")
        draft.issue_note(out_point, item)
        amount_msat = item.amount_msat()
        return OutputMeta(amount_msat, self.config.fee_consensus.fee_msat(amount_msat))

    def _is_good(self, note: mintv2.Note) -> bool:
        """Remembered, since every guardian judges every submission of the same note."""
        if note in self._good_notes:
            return True
        if not tbs.verify(self._signed(note)):
            return False
        self._good_notes.add(note)
        return True

    def _signed(self, note: mintv2.Note) -> tbs.Signed:
        key = bls.decode_g2(self.config.tbs_agg_pks[note.denomination])
        return tbs.Signed(tbs.message_v2(note.nonce), bls.decode_g1(note.signature), key)
