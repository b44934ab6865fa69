"""`/send_payment`: what is checked before a payment is recorded.

The order is upstream's (fedimint-gwv2-client/src/lib.rs): the sender's signature comes before joining, because
contract ids are public and joining a payment yields its preimage. What fails here writes nothing; what is refused
later is a recorded payment with a forfeit signature.
"""

from errors import InputError
from fedimint import lnv2
from fedimint.codec import bolt11, secp
from fedimint.codec.wire_types import Network
from fedimint.lnv2 import HashImage
from fedimint.lnv2.api import OutgoingContractExpiration
from fedimint.lnv2.gateway_api import PaymentFee, SendPayment
from gateway.federation import FederationClient
from gateway.modules.lnv2 import LnV2
from statemachines.items import ContractClaim
from statemachines.reserving import CLAIM_MAX_MSAT, claim_fee_msat
from statemachines.send import EXPIRATION_DELTA_MINIMUM_BLOCKS, RequestSend, SendFacts


def authenticate(request: SendPayment, federation: FederationClient) -> None:
    """Steps 1 and 2: the contract names our key, and its owner signed for this invoice. Raises InputError."""
    contract = request.contract
    if contract.claim_pk != federation.module(LnV2).public_key:
        raise InputError("the contract does not name this gateway's key: it is another gateway's")
    if not secp.verify_schnorr(contract.refund_pk, request.invoice.auth_digest(), request.auth):
        raise InputError("auth is not a signature of the contract's refund key over the invoice")


def verify(
    request: SendPayment,
    federation: FederationClient,
    confirmed: OutgoingContractExpiration | None,
    *,
    minimum_fee: PaymentFee,
    network: Network,
    own_node: bytes,
) -> RequestSend:
    """Steps 5 to 9 for an authentic request: the federation holds its contract, which is for its invoice.

    An invoice whose payee is our own node (33 bytes) is paid by a direct swap; every other one is paid by that node.
    Raises InputError.
    """
    contract = request.contract
    if confirmed is None:
        raise InputError(
            "the federation has no contract at this out point: fund it, then ask again"
        )
    if confirmed.contract_id != contract.contract_id():
        raise InputError("the contract at this out point is another one")
    if contract.amount_msat > CLAIM_MAX_MSAT:
        raise InputError(
            f"the contract holds {contract.amount_msat} msat, at most {CLAIM_MAX_MSAT} can be claimed at once: "
            "pay in parts"
        )
    invoice = bolt11.decode(request.invoice.bolt11)
    if invoice.amount_msat is None:
        raise InputError("the invoice names no amount; only invoices with an amount are paid")
    if contract.payment_image != HashImage(invoice.payment_hash):
        raise InputError("the contract's payment image is not the invoice's payment hash")
    facts = SendFacts(
        federation_id=federation.federation_id,
        contract_id=contract.contract_id().hex(),
        txid=request.out_point.txid.hex(),
        out_idx=request.out_point.out_idx,
        contract=lnv2.OUTGOING_CONTRACT.encode(contract).hex(),
        payment_hash=invoice.payment_hash.hex(),
        invoice=request.invoice.bolt11,
        invoice_msat=invoice.amount_msat,
        invoice_expires_unix_s=invoice.expires_unix_s,
        contract_msat=contract.amount_msat,
        minimum_msat=max(
            minimum_fee.add_to(invoice.amount_msat),
            # A contract that the fee of its own claim eats up could not be claimed at all.
            claim_fee_msat(
                federation.facts.module_fees, ContractClaim("", 0, contract.amount_msat, "")
            ),
        ),
        is_swap=invoice.payee == own_node,
        max_delay_blocks=max(0, confirmed.remaining_blocks - EXPIRATION_DELTA_MINIMUM_BLOCKS),
        node=own_node.hex(),
    )
    return RequestSend(
        facts=facts,
        other_network=not bolt11.is_for(invoice, network),
    )
