"""Our gateway on the embedded world: the same application as in production, with everything outside in memory."""

from pathlib import Path

import anyio
import anyio.abc
import msgspec

from api import payment_handlers as handlers
from engine.engine import Observers
from engine.store import Store
from fedimint.lnv2_gateway_api import PaymentFee, RoutingInfo, SendPaymentPayload
from gateway.application import Gateway, GatewaySettings, Outside
from gateway.log import read_models
from migrations import SchemaSteps

FEE = PaymentFee(2_000, 3_000)


async def run_gateway(
    directory: Path,
    words: str,
    outside: Outside,
    observers: Observers | None = None,
    *,
    task_status: anyio.abc.TaskStatus[Gateway] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Open the data directory and serve until cancelled; whatever a probe raises leaves here."""
    store = Store(directory, SchemaSteps(), read_models())
    try:
        gateway = Gateway(
            GatewaySettings(directory, "regtest", None, FEE, FEE),
            outside,
            store=store,
            words=words,
            observers=observers,
        )
        async with anyio.create_task_group() as tasks:
            await tasks.start(gateway.run)
            task_status.started(gateway)
    finally:
        store.close()


async def routing_of(gateway: Gateway, federation_id: str) -> RoutingInfo:
    """What the gateway tells a client."""
    answer = await handlers.routing_info(gateway, federation_id)
    assert answer is not None, "every federation that is served has an lnv2 module"
    return answer


async def send(gateway: Gateway, body: SendPaymentPayload) -> bytes:
    """POST `/send_payment` without the HTTP: JSON in, JSON out, everything between as in production."""
    payload = msgspec.json.decode(msgspec.json.encode(body), type=SendPaymentPayload)
    return msgspec.json.encode(await handlers.send_payment(gateway, payload))
