"""Paying with LND: orders, and its record of what became of them."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from lndgrpc.compiled import lightning_pb2, router_pb2

from backends.lightning import (
    Failed,
    InFlight,
    NodeRefusedError,
    NodeUnansweredError,
    NotFound,
    PaymentStatus,
    Succeeded,
    check_order,
    within_bounds_msat,
)
from backends.lnd.connection import ANSWER_TIMEOUT_S, LndPart
from errors import PeerError

_INT64_MAX = 2**63 - 1

_FAILURES = {
    1: "no route was found in time",
    2: "no route was found within the budgets",
    3: "an error that cannot be retried",
    4: "the payee refused it: unknown hash, wrong amount or too little time",
    5: "the node's channels hold too little",
    6: "it was cancelled at the node",
}
"""`lnrpc.PaymentFailureReason`, the last number of which our stubs do not know."""


class LndPayments(LndPart):
    """The part of `LndNode` that pays."""

    @asynccontextmanager
    async def pay(
        self, invoice: str, *, payment_hash: bytes, max_fee_msat: int, max_delay_blocks: int
    ) -> AsyncIterator[AsyncIterator[PaymentStatus]]:
        """Pay once (`SendPaymentV2`); LND goes on with it when the block is left."""
        check_order(invoice, payment_hash, max_fee_msat, max_delay_blocks)
        request = router_pb2.SendPaymentRequest(
            payment_request=invoice,
            fee_limit_msat=min(max_fee_msat, _INT64_MAX),
            cltv_limit=min(max_delay_blocks, self._settings.max_delay_cap_blocks),
            timeout_seconds=self._settings.payment_timeout_s,
            time_pref=self._settings.time_pref,
        )
        payments = self._connection.stream(lambda stubs: stubs.router.SendPaymentV2, request)
        async with aclosing(_statuses(payments, payment_hash)) as statuses:
            yield statuses

    @asynccontextmanager
    async def track(self, payment_hash: bytes) -> AsyncIterator[AsyncIterator[PaymentStatus]]:
        """Follow LND's record (`TrackPaymentV2`)."""
        async with aclosing(self._record(payment_hash)) as statuses:
            yield statuses

    async def lookup(self, payment_hash: bytes) -> PaymentStatus:
        """Read LND's record: the first status of `TrackPaymentV2`."""
        async with aclosing(self._record(payment_hash, ANSWER_TIMEOUT_S)) as statuses:
            return await anext(statuses)

    async def _record(
        self, payment_hash: bytes, timeout_s: float | None = None
    ) -> AsyncGenerator[PaymentStatus, None]:
        payments = self._connection.stream(
            lambda stubs: stubs.router.TrackPaymentV2,
            router_pb2.TrackPaymentRequest(payment_hash=payment_hash),
            timeout_s,
        )
        try:
            async with aclosing(_statuses(payments, payment_hash)) as statuses:
                async for status in statuses:
                    yield status
        except NodeRefusedError as refusal:
            if refusal.code != "NOT_FOUND":
                raise
            yield NotFound()


async def _statuses(
    payments: AsyncGenerator[Any, None], payment_hash: bytes
) -> AsyncGenerator[PaymentStatus, None]:
    async with aclosing(payments):
        async for payment in payments:
            status = _status(payment, payment_hash)
            yield status
            if isinstance(status, Succeeded | Failed):
                return
    raise NodeUnansweredError("LND closed the stream of a payment before its end")


def _status(payment: Any, payment_hash: bytes) -> PaymentStatus:
    """Read `lnrpc.Payment`; every status but the two final ones, known or not, is in flight."""
    if payment.payment_hash != payment_hash.hex():
        raise PeerError("LND answered with the record of another payment")
    if payment.status == lightning_pb2.Payment.SUCCEEDED:
        try:
            preimage = bytes.fromhex(payment.payment_preimage)
        except ValueError:
            raise PeerError("LND reports success with a preimage that is not hex") from None
        if hashlib.sha256(preimage).digest() != payment_hash:
            raise PeerError("LND reports success with a preimage that is not the payment's")
        return Succeeded(preimage, within_bounds_msat(payment.fee_msat))
    if payment.status == lightning_pb2.Payment.FAILED:
        number = payment.failure_reason
        return Failed(_FAILURES.get(number, f"failure reason {number}"))
    return InFlight()
