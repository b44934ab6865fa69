"""`/create_bolt11_invoice`: what is checked before a payment hash is taken (gateway.md 4.2).

The order is upstream's (fedimint-gateway-server/src/lib.rs). What fails here writes nothing.
"""

from backends.lightning import check_terms
from errors import InputError
from fedimint import lnv2
from fedimint.lnv2 import HashImage, tpe
from fedimint.lnv2.gateway_api import CreateInvoice, PaymentFee
from gateway.federation import FederationClient
from gateway.modules.lnv2 import LnV2
from gateway.ports import Cpu
from statemachines.items import IncomingRefund
from statemachines.receive import ReceiveFacts, RequestReceive
from statemachines.reserving import CLAIM_MAX_MSAT, claim_worth_msat

EXPIRY_MAX_S = 86_400


async def verify(
    request: CreateInvoice,
    federation: FederationClient,
    *,
    receive_fee: PaymentFee,
    receive_enabled: bool,
    now_unix_s: int,
    cpu: Cpu,
) -> RequestReceive:
    """The contract can be funded, decrypted and taken back by us, and holds what the invoice brings less our fee.

    An invalid ciphertext is refused here, since under one no guardian's share could be judged. Raises InputError.
    """
    contract, description = request.contract, request.description
    commitment = contract.commitment
    if not await cpu.run(tpe.verify_ciphertext, contract.ciphertext, contract.commitment_hash()):
        raise InputError("the contract's ciphertext is not valid for its commitment")
    if not receive_enabled:
        prefix = federation.federation_id[:8]
        raise InputError(f"Receiving payments is disabled for federation {prefix}")
    if commitment.refund_pk != federation.module(LnV2).public_key:
        raise InputError("the contract does not name this gateway's key: it is another gateway's")
    expected_msat = receive_fee.subtract_from(request.amount_msat)
    if not expected_msat:
        raise InputError("the amount does not cover the gateway's fee")
    if commitment.amount_msat != expected_msat:
        raise InputError(
            f"the contract holds {commitment.amount_msat} msat, "
            f"{request.amount_msat} msat less the fee are {expected_msat}"
        )
    if commitment.amount_msat > CLAIM_MAX_MSAT:
        raise InputError(
            f"a payment of more than {CLAIM_MAX_MSAT} msat is not received at once: take it in parts"
        )
    if commitment.expiration_unix_s <= now_unix_s:
        raise InputError("the contract has expired")
    if not 0 < request.expiry_s <= EXPIRY_MAX_S:
        raise InputError(f"an invoice may be open for 1 to {EXPIRY_MAX_S} seconds")
    if not isinstance(commitment.payment_image, HashImage):
        raise InputError("the contract's payment image is no payment hash")
    check_terms(request.amount_msat, request.expiry_s, description)
    return RequestReceive(
        facts=ReceiveFacts(
            federation_id=federation.federation_id,
            contract_id=contract.contract_id().hex(),
            contract=lnv2.INCOMING_CONTRACT.encode(contract).hex(),
            payment_hash=commitment.payment_image.digest.hex(),
            invoice_msat=request.amount_msat,
            contract_msat=commitment.amount_msat,
            contract_expires_unix_s=commitment.expiration_unix_s,
            invoice_expires_unix_s=now_unix_s + request.expiry_s,
            expiry_s=request.expiry_s,
            refund_worth_msat=claim_worth_msat(
                federation.facts.module_fees, IncomingRefund("", 0, commitment.amount_msat, "")
            ),
            description=description if isinstance(description, str) else None,
            description_hash=description.hex() if isinstance(description, bytes) else None,
        )
    )
