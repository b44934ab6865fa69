"""What the public routes do, with which clients pay and receive: async functions from struct to struct."""

import msgspec

from api import payment_structs as structs
from api.ports import Gateway
from api.structs import FederationPayload, Hash256Hex
from errors import ConflictError
from gateway import views


async def gateway_id(gateway: Gateway) -> str:
    """GET `/id`: the key under which this gateway is known over HTTP, which lnv1 clients ask as a sign of life."""
    return await gateway.payments.gateway_id()


async def federation_status(
    gateway: Gateway, payload: FederationPayload
) -> structs.Served | structs.Unserved:
    """POST `/federation_status`: whether a federation is served, and how well."""
    federation_id = payload.federation_id.lower()
    found = await gateway.federations.federation_status(federation_id)
    if found is None:
        return structs.Unserved(federation_id=federation_id)
    return structs.Served(
        federation_id=federation_id,
        connectivity=found.connectivity,
        lnv1=structs.ModuleAbsent(),
        lnv2=_module_status(found.lnv2),
    )


async def routing_info(gateway: Gateway, federation_id: Hash256Hex) -> structs.RoutingInfo | None:
    """POST `/routing_info`: fees, keys and deltas; None when the federation has no lnv2 module."""
    found = await gateway.payments.routing_info(federation_id.lower())
    if found is None:
        return None
    return msgspec.convert(found, structs.RoutingInfo, from_attributes=True)


async def send_payment(
    gateway: Gateway, payload: structs.SendPaymentPayload
) -> structs.SendPaymentOk | structs.SendPaymentErr:
    """POST `/send_payment`: wait until the payment is paid or cancelled, however long that takes."""
    contract, image = payload.contract, payload.contract.payment_image
    outcome = await gateway.payments.send_payment(
        views.SendPaymentRequest(
            federation_id=payload.federation_id.lower(),
            txid=payload.outpoint.txid.lower(),
            out_idx=payload.outpoint.out_idx,
            contract=views.ContractRequest(
                payment_hash=image.hash.lower() if image.hash else None,
                payment_point=image.point.lower() if image.point else None,
                amount_msat=contract.amount,
                expiration_block_height=contract.expiration,
                claim_pk=contract.claim_pk.lower(),
                refund_pk=contract.refund_pk.lower(),
                ephemeral_pk=contract.ephemeral_pk.lower(),
            ),
            invoice=payload.invoice.bolt11,
            auth=payload.auth.lower(),
        )
    )
    if isinstance(outcome, views.Paid):
        return structs.SendPaymentOk(ok=tuple(outcome.preimage))
    return structs.SendPaymentErr(err=outcome.forfeit_signature.hex())


async def create_bolt11_invoice(
    gateway: Gateway, payload: structs.CreateBolt11InvoicePayload
) -> str:
    """POST `/create_bolt11_invoice`: the invoice."""
    commitment, ciphertext = payload.contract.commitment, payload.contract.ciphertext
    image, description_hash = commitment.payment_image, payload.description.hash
    return await gateway.payments.create_invoice(
        views.InvoiceRequest(
            federation_id=payload.federation_id.lower(),
            contract=views.IncomingContractRequest(
                payment_hash=image.hash.lower() if image.hash else None,
                payment_point=image.point.lower() if image.point else None,
                amount_msat=commitment.amount,
                expiration_unix_s=commitment.expiration,
                claim_pk=commitment.claim_pk.lower(),
                refund_pk=commitment.refund_pk.lower(),
                ephemeral_pk=commitment.ephemeral_pk.lower(),
                encrypted_preimage=bytes(ciphertext.encrypted_preimage),
                ciphertext_pk=ciphertext.pk.lower(),
                ciphertext_signature=ciphertext.signature.lower(),
            ),
            amount_msat=payload.amount,
            description=payload.description.direct,
            description_hash=description_hash.lower() if description_hash else None,
            expiry_s=payload.expiry_secs,
        )
    )


async def verify(gateway: Gateway, query: structs.VerifyQuery) -> structs.VerifyResponse:
    """GET `/verify/{payment_hash}`: whether an invoice is paid. Raises ConflictError when its payment failed."""
    found = await gateway.payments.verify(query.payment_hash.lower(), wait=query.wait)
    if found.failure is not None:
        raise ConflictError(found.failure)
    return structs.VerifyResponse(
        settled=found.preimage is not None,
        preimage=found.preimage.hex() if found.preimage is not None else None,
    )


async def receive_ecash(
    gateway: Gateway, payload: structs.ReceiveEcashPayload
) -> structs.ReceiveEcashResponse:
    """POST `/receive_ecash`: take ecash of one of our federations and tell its worth once it is ours."""
    return structs.ReceiveEcashResponse(amount=await gateway.payments.receive_ecash(payload.notes))


def _module_status(
    version: views.ModuleVersion | None,
) -> structs.ModuleAbsent | structs.ModuleSupported:
    if version is None:
        return structs.ModuleAbsent()
    return structs.ModuleSupported(
        consensus_version=structs.ModuleVersion(major=version.major, minor=version.minor),
        registration=structs.FederationManaged(),
    )
