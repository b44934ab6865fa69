"""The rules by which the embedded guardians judge notes and Lightning contracts.

Sources: fedimint-mintv2-server and fedimint-lnv2-server src/lib.rs (process_input, process_output).
The order of the checks is theirs, since clients count equal errors.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from devnet.guardians.ledger import Draft, contract_amount_msat
from fedimint import lnv2, mintv2
from fedimint.codec import secp
from fedimint.codec.wire_types import ModuleError, OutPoint
from fedimint.crypto import bls, tbs
from fedimint.lnv2 import IncomingContract, IncomingInput, OutgoingContract, OutgoingInput, tpe
from fedimint.lnv2.config import LnV2ClientConfig
from fedimint.mintv2.config import MintV2ClientConfig


class Moment(NamedTuple):
    """When a transaction is judged: by the blocks and the clock the federation agrees on."""

    block_count: int
    unix_time_s: int


class InputMeta(NamedTuple):
    """What an input brings, what it costs, and whose signature it needs (33 bytes)."""

    amount_msat: int
    fee_msat: int
    public_key: bytes


class OutputMeta(NamedTuple):
    """What an output takes and costs."""

    amount_msat: int
    fee_msat: int


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

    def process_input(self, draft: Draft, note: mintv2.Note) -> InputMeta | ModuleError:
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
        self, draft: Draft, item: mintv2.MintOutput, out_point: OutPoint
    ) -> OutputMeta | ModuleError:
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


@dataclass(frozen=True)
class LightningRules:
    """lnv2: who may take what out of a contract, and when."""

    config: LnV2ClientConfig

    def process_input(
        self, draft: Draft, item: lnv2.LightningInputV0, moment: Moment
    ) -> InputMeta | ModuleError:
        if isinstance(item, OutgoingInput):
            outgoing = draft.close_outgoing(item.out_point)
            if outgoing is None:
                return ModuleError("UnknownContract")
            key = _outgoing_key(outgoing, item.witness, moment.block_count)
            if isinstance(key, bytes) and isinstance(item.witness, lnv2.Claim):
                draft.show_preimage(item.out_point, item.witness.preimage)
            return key if isinstance(key, ModuleError) else self._meta(outgoing, key)
        incoming = draft.close_incoming(item.out_point)
        if incoming is None:
            return ModuleError("UnknownContract")
        key = self._incoming_key(incoming, item)
        return key if isinstance(key, ModuleError) else self._meta(incoming, key)

    def process_output(
        self, draft: Draft, item: lnv2.LightningOutputV0, out_point: OutPoint, moment: Moment
    ) -> OutputMeta | ModuleError:
        contract = item.contract
        if isinstance(contract, IncomingContract):
            if not tpe.verify_ciphertext(contract.ciphertext, contract.commitment_hash()):
                return ModuleError("InvalidContract")
            if contract.commitment.expiration_unix_s <= moment.unix_time_s:
                return ModuleError("ContractExpired")
        draft.open_contract(out_point, contract)
        amount_msat = contract_amount_msat(contract)
        return OutputMeta(amount_msat, self.config.fee_consensus.fee_msat(amount_msat))

    def _meta(self, contract: OutgoingContract | IncomingContract, key: bytes) -> InputMeta:
        amount_msat = contract_amount_msat(contract)
        return InputMeta(amount_msat, self.config.fee_consensus.fee_msat(amount_msat), key)

    def _incoming_key(self, contract: IncomingContract, item: IncomingInput) -> bytes | ModuleError:
        commitment = contract.commitment
        if not tpe.verify_aggregate(
            self.config.tpe_agg_pk,
            item.aggregate_decryption_key,
            contract.ciphertext,
            contract.commitment_hash(),
        ):
            return ModuleError("InvalidDecryptionKey")
        preimage = tpe.decrypt(contract.ciphertext, item.aggregate_decryption_key)
        is_paid = lnv2.is_preimage(commitment.payment_image, preimage)
        return commitment.claim_pk if is_paid else commitment.refund_pk


def _outgoing_key(
    contract: OutgoingContract, witness: lnv2.OutgoingWitness, block_count: int
) -> bytes | ModuleError:
    """Who must sign. The claim ends at the very block count from which the refund is open."""
    is_expired = contract.expiration_block_height <= block_count
    match witness:
        case lnv2.Claim(preimage):
            if is_expired:
                return ModuleError("Expired")
            if not lnv2.is_preimage(contract.payment_image, preimage):
                return ModuleError("InvalidPreimage")
            return contract.claim_pk
        case lnv2.Refund():
            return contract.refund_pk if is_expired else ModuleError("NotExpired")
        case lnv2.Cancel(signature):
            if not secp.verify_schnorr(contract.claim_pk, contract.contract_id(), signature):
                return ModuleError("InvalidForfeitSignature")
            return contract.refund_pk
