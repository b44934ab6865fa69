"""Handlers of past payments: async functions from struct to struct."""

from api import history_structs as structs
from api.ports import Gateway
from errors import InputError
from gateway import views


async def payment_log(
    gateway: Gateway, payload: structs.PaymentLogPayload
) -> tuple[views.PaymentLogEntry, ...]:
    """POST `/payment_log`: newest first."""
    return await gateway.history.payment_log(
        views.LogQuery(
            federation_id=payload.federation_id.lower(),
            end_id=payload.end_position,
            limit=payload.pagination_size,
            kinds=payload.event_kinds,
        )
    )


async def payment_summary(
    gateway: Gateway, payload: structs.PaymentSummaryPayload
) -> views.PaymentSummary:
    """POST `/payment_summary`. Raises InputError, in Rust's words, for a range that ends before it starts."""
    if payload.start_millis > payload.end_millis:
        raise InputError("Invalid time range")
    return await gateway.history.payment_summary(payload.start_millis, payload.end_millis)
