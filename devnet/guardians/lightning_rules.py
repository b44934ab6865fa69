"""The rules by which the embedded guardians judge Lightning contracts.

Source: fedimint-lnv2-server src/lib.rs (process_input, process_output). The order of the checks is
theirs, since clients count equal errors.
"""

from dataclasses import dataclass

from devnet.guardians.ledger import Draft, contract_amount_msat
from devnet.guardians.module_rules import InputMeta, Moment, OutputMeta
from fedimint import lnv2
from fedimint.codec import secp
from fedimint.codec.wire_types import ModuleError, OutPoint
from fedimint.crypto import bls
from fedimint.lnv2 import IncomingContract, IncomingInput, OutgoingContract, OutgoingInput, tpe
from fedimint.lnv2.config import LnV2ClientConfig


@dataclass(frozen=True)
class LightningRules:
    """lnv2: who may take what out of a contract, and when."""

    config: LnV2ClientConfig

    def check(self, item: lnv2.InputV0 | lnv2.OutputV0) -> None:
        match item.inner:
            case IncomingInput(aggregate_decryption_key=key):
                bls.decode_g1(key)
            case lnv2.IncomingOutput(contract):
                bls.decode_g1(contract.ciphertext.pk)
                bls.decode_g2(contract.ciphertext.signature)

    def process_input(
        self, draft: Draft, item: lnv2.InputV0, moment: Moment
    ) -> InputMeta | ModuleError:
        spent = item.inner
        if isinstance(spent, OutgoingInput):
            outgoing = draft.close_outgoing(spent.out_point)
            if outgoing is None:
                return ModuleError("UnknownContract")
            key = _outgoing_key(outgoing, spent.witness, moment.block_count)
            if isinstance(key, bytes) and isinstance(spent.witness, lnv2.Claim):
                draft.show_preimage(spent.out_point, spent.witness.preimage)
            return key if isinstance(key, ModuleError) else self._meta(outgoing, key)
        incoming = draft.close_incoming(spent.out_point)
        if incoming is None:
            return ModuleError("UnknownContract")
        key = self._incoming_key(incoming, spent)
        return key if isinstance(key, ModuleError) else self._meta(incoming, key)

    def process_output(
        self, draft: Draft, item: lnv2.OutputV0, out_point: OutPoint, moment: Moment
    ) -> OutputMeta | ModuleError:
        contract = item.inner.contract
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
