"""Calls a gateway in this process, without HTTP."""

from pathlib import Path

import msgspec

from api import payment_handlers as handlers
from fedimint.lnv2.gateway_api import PaymentFee, RoutingInfo, SendPaymentPayload
from gateway.application import Gateway, GatewaySettings

FEE = PaymentFee(2_000, 3_000)


def settings_in(directory: Path) -> GatewaySettings:
    """Settings of a gateway on regtest with this data directory."""
    return GatewaySettings(directory, "regtest", None, FEE, FEE)


async def routing_of(gateway: Gateway, federation_id: str) -> RoutingInfo:
    """What the gateway tells a client."""
    answer = await handlers.routing_info(gateway, federation_id)
    assert answer is not None, "every federation that is served has an lnv2 module"
    return answer


async def send(gateway: Gateway, body: SendPaymentPayload) -> bytes:
    """POST `/send_payment`: JSON in, JSON out."""
    payload = msgspec.json.decode(msgspec.json.encode(body), type=SendPaymentPayload)
    return msgspec.json.encode(await handlers.send_payment(gateway, payload))
