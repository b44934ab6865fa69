"""`/send_payment`: what a request must prove before a payment is recorded for it.

The order is upstream's (fedimint-gwv2-client/src/lib.rs): the sender's signature comes before joining, because
contract ids are public and joining a payment yields its preimage. What fails here writes nothing; what is refused
later is a recorded payment with a forfeit signature.
"""

from dataclasses import dataclass

from errors import InputError
from fedimint import bolt11, lnv2, secp
from fedimint.encoding import from_hex
from fedimint.federation_api import OutgoingContractExpiration
from fedimint.lnv2 import HashImage, LightningInvoice, OutgoingContract, PaymentImage, PointImage
from fedimint.wire_types import OUT_POINT, Network, OutPoint, TransactionId
from gateway import fees
from gateway.federation import FederationClient
from gateway.views import ContractRequest, PaymentFee, SendPaymentRequest
from statemachines.reserving import CLAIM_MAX_MSAT
from statemachines.send import EXPIRATION_DELTA_MINIMUM_BLOCKS, RequestSend, SendFacts


@dataclass(frozen=True)
class AuthenticRequest:
    """A request whose sender owns the contract's refund key."""

    out_point: OutPoint
    contract: OutgoingContract
    invoice: str

    @property
    def contract_id(self) -> str:
        return self.contract.contract_id().hex()


def authenticate(request: SendPaymentRequest, federation: FederationClient) -> AuthenticRequest:
    """Steps 1 and 2: the contract names our key, and its owner signed for this invoice. Raises InputError."""
    contract = _contract(request.contract)
    if contract.claim_pk != federation.module_public_key:
        raise InputError("the contract does not name this gateway's key: it is another gateway's")
    digest = LightningInvoice(request.invoice).auth_digest()
    if not secp.verify_schnorr(contract.refund_pk, digest, from_hex(request.auth)):
        raise InputError("auth is not a signature of the contract's refund key over the invoice")
    out_point = OUT_POINT.decode(
        OUT_POINT.encode(OutPoint(TransactionId(from_hex(request.txid)), request.out_idx))
    )
    return AuthenticRequest(out_point, contract, request.invoice)


def verify(
    request: AuthenticRequest,
    federation: FederationClient,
    confirmed: OutgoingContractExpiration | None,
    *,
    minimum_fee: PaymentFee,
    network: Network,
    own_node: bytes,
) -> RequestSend:
    """Steps 5 to 9: the federation holds this contract there, and it is for this invoice. Raises InputError.

    An invoice whose payee is our own node (33 bytes) is paid by a direct swap; every other one is paid by that node.
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
    invoice = bolt11.decode(request.invoice)
    if invoice.amount_msat is None:
        raise InputError("the invoice names no amount; only invoices with an amount are paid")
    if contract.payment_image != HashImage(invoice.payment_hash):
        raise InputError("the contract's payment image is not the invoice's payment hash")
    facts = SendFacts(
        federation_id=federation.federation_id,
        contract_id=request.contract_id,
        txid=request.out_point.txid.hex(),
        out_idx=request.out_point.out_idx,
        contract=lnv2.OUTGOING_CONTRACT.encode(contract).hex(),
        payment_hash=invoice.payment_hash.hex(),
        invoice=request.invoice,
        invoice_msat=invoice.amount_msat,
        invoice_expires_unix_s=invoice.expires_unix_s,
        contract_msat=contract.amount_msat,
        minimum_msat=max(
            fees.add_to(minimum_fee, invoice.amount_msat),
            # A contract that the fee of its own claim eats up could not be claimed at all.
            federation.facts.module_fees.lnv2.fee_msat(contract.amount_msat),
        ),
        is_swap=invoice.payee == own_node,
        max_delay_blocks=max(0, confirmed.remaining_blocks - EXPIRATION_DELTA_MINIMUM_BLOCKS),
        node=own_node.hex(),
    )
    return RequestSend(
        facts=facts,
        other_network=not bolt11.is_for(invoice, network),
    )


def _contract(request: ContractRequest) -> OutgoingContract:
    image: PaymentImage
    if request.payment_hash is not None:
        image = HashImage(from_hex(request.payment_hash))
    else:
        image = PointImage(from_hex(request.payment_point or ""))
    contract = OutgoingContract(
        payment_image=image,
        amount_msat=request.amount_msat,
        expiration_block_height=request.expiration_block_height,
        claim_pk=from_hex(request.claim_pk),
        refund_pk=from_hex(request.refund_pk),
        ephemeral_pk=from_hex(request.ephemeral_pk),
    )
    # Decoding checks what no field's length shows, such as points off the curve.
    return lnv2.OUTGOING_CONTRACT.decode(lnv2.OUTGOING_CONTRACT.encode(contract))
