"""Paying over a simulated LND: the calls of `routerrpc.Router`, over a simulated node."""

from collections.abc import AsyncGenerator

from lndgrpc.compiled import lightning_pb2, router_pb2

from backends.lightning import (
    Failed,
    InFlight,
    NodeRefusedError,
    NotFound,
    PaymentStatus,
    Succeeded,
)
from backends.simulated.node import MAX_DELAY_CAP_BLOCKS, SimulatedNode
from devnet.lnd_server.rpc import Calls, Message, many_answers
from fedimint.codec import bolt11

Payment = lightning_pb2.Payment

_FAILURES = {
    "no route was found": lightning_pb2.FAILURE_REASON_NO_ROUTE,
    "no route was found within the budgets": lightning_pb2.FAILURE_REASON_NO_ROUTE,
    "the channels hold too little": lightning_pb2.FAILURE_REASON_INSUFFICIENT_BALANCE,
    "the payee refused it": lightning_pb2.FAILURE_REASON_INCORRECT_PAYMENT_DETAILS,
}
"""The words of `backends/simulated/network.py` in LND's numbers; any other is FAILURE_REASON_ERROR."""


class PaymentCalls:
    """SendPaymentV2 and TrackPaymentV2 (lnrpc/routerrpc/router_server.go)."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node

    def calls(self) -> Calls:
        """By name, as `routerrpc.Router` has them."""
        return {
            "SendPaymentV2": many_answers(self.send, router_pb2.SendPaymentRequest),
            "TrackPaymentV2": many_answers(self.track, router_pb2.TrackPaymentRequest),
        }

    async def send(self, request: Message) -> AsyncGenerator[Message, None]:
        """Pay; a `cltv_limit` of 0 is LND's own maximum, more than that is refused."""
        if request.cltv_limit > MAX_DELAY_CAP_BLOCKS:
            raise NodeRefusedError("UNKNOWN", f"cltv limit above {MAX_DELAY_CAP_BLOCKS}")
        invoice = bolt11.decode(request.payment_request)
        statuses = self._node.pay(
            request.payment_request,
            payment_hash=invoice.payment_hash,
            max_fee_msat=request.fee_limit_msat,
            max_delay_blocks=request.cltv_limit or MAX_DELAY_CAP_BLOCKS,
        )
        async with statuses as seen:
            async for status in seen:
                if not (request.no_inflight_updates and isinstance(status, InFlight)):
                    yield payment(invoice.payment_hash, status)

    async def track(self, request: Message) -> AsyncGenerator[Message, None]:
        """Follow the record. NOT_FOUND when there is none."""
        async with self._node.track(request.payment_hash) as seen:
            async for status in seen:
                if isinstance(status, NotFound):
                    raise NodeRefusedError("NOT_FOUND", "payment isn't initiated")
                if not (request.no_inflight_updates and isinstance(status, InFlight)):
                    yield payment(request.payment_hash, status)


def payment(payment_hash: bytes, status: PaymentStatus) -> Message:
    """Render a status as `lnrpc.Payment`."""
    message = Payment(payment_hash=payment_hash.hex(), status=Payment.IN_FLIGHT)
    if isinstance(status, Succeeded):
        message.status = Payment.SUCCEEDED
        message.payment_preimage = status.preimage.hex()
        message.fee_msat = status.fee_msat
    elif isinstance(status, Failed):
        message.status = Payment.FAILED
        message.failure_reason = _FAILURES.get(status.reason, lightning_pb2.FAILURE_REASON_ERROR)
    return message
