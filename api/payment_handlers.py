"""Handlers of the public routes, by which clients pay and receive: async functions from struct to struct."""

from api import payment_structs as structs
from api.ports import Gateway
from api.structs import FederationPayload
from errors import ConflictError
from fedimint.codec.json_types import Hash256Hex
from fedimint.config import Version
from fedimint.lnv2.gateway_api import (
    CreateBolt11InvoicePayload,
    RoutingInfo,
    SendPaymentErr,
    SendPaymentOk,
    SendPaymentPayload,
    send_answer,
)


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


async def routing_info(gateway: Gateway, federation_id: Hash256Hex) -> RoutingInfo | None:
    """POST `/routing_info`: fees, keys and deltas; None when the federation has no lnv2 module."""
    return await gateway.payments.routing_info(federation_id.lower())


async def send_payment(
    gateway: Gateway, payload: SendPaymentPayload
) -> SendPaymentOk | SendPaymentErr:
    """POST `/send_payment`: wait until the payment is paid or cancelled, however long that takes."""
    return send_answer(await gateway.payments.send_payment(payload.decode()))


async def create_bolt11_invoice(gateway: Gateway, payload: CreateBolt11InvoicePayload) -> str:
    """POST `/create_bolt11_invoice`: the invoice."""
    return await gateway.payments.create_invoice(payload.decode())


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
    version: Version | None,
) -> structs.ModuleAbsent | structs.ModuleSupported:
    if version is None:
        return structs.ModuleAbsent()
    return structs.ModuleSupported(
        consensus_version=version,
        registration=structs.FederationManaged(),
    )
