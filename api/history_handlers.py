"""What the routes of past payments do: async functions from struct to struct."""

import msgspec

from api import history_structs as structs
from api.ports import Gateway
from errors import InputError
from gateway import history_views as views


async def payment_log(
    gateway: Gateway, payload: structs.PaymentLogPayload
) -> tuple[structs.PaymentLogEntry, ...]:
    """POST `/payment_log`: newest first."""
    entries = await gateway.history.payment_log(
        views.LogQuery(
            federation_id=payload.federation_id.lower(),
            end_id=payload.end_position,
            limit=payload.pagination_size,
            kinds=payload.event_kinds,
        )
    )
    return tuple(map(_entry, entries))


async def payment_summary(
    gateway: Gateway, payload: structs.PaymentSummaryPayload
) -> structs.PaymentSummaryResponse:
    """POST `/payment_summary`. Raises InputError, in Rust's words, for a range that ends before it starts."""
    if payload.start_millis > payload.end_millis:
        raise InputError("Invalid time range")
    summary = await gateway.history.payment_summary(payload.start_millis, payload.end_millis)
    return structs.PaymentSummaryResponse(
        outgoing=_stats(summary.outgoing), incoming=_stats(summary.incoming)
    )


def _entry(entry: views.LogEntry) -> structs.PaymentLogEntry:
    module = None
    if entry.module_kind is not None and entry.module_id is not None:
        module = structs.ModuleOfEntry(kind=entry.module_kind, id=entry.module_id)
    return structs.PaymentLogEntry(
        id=entry.id,
        kind=entry.kind,
        module=module,
        ts_usecs=entry.unix_us,
        payload=msgspec.Raw(entry.payload_json),
    )


def _stats(summary: views.DirectionSummary) -> structs.PaymentStats:
    return structs.PaymentStats(
        average_latency=_duration(summary.average_latency_us),
        median_latency=_duration(summary.median_latency_us),
        total_fees=summary.total_fees_msat,
        total_success=summary.total_success,
        total_failure=summary.total_failure,
    )


def _duration(duration_us: int | None) -> structs.Duration | None:
    if duration_us is None:
        return None
    return structs.Duration(secs=duration_us // 1_000_000, nanos=duration_us % 1_000_000 * 1000)
