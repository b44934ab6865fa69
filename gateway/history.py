"""What happened: pages of the payment log, and sums over a time. Reads what is committed (`payment_entries.py`)."""

from statistics import fmean, median

from gateway.context import GatewayContext
from gateway.history_views import DirectionSummary, LogEntry, LogQuery, PaymentSummary
from gateway.payment_entries import (
    INCOMING_FAILED,
    INCOMING_STARTED,
    INCOMING_SUCCEEDED,
    OUTGOING_FAILED,
    OUTGOING_STARTED,
    OUTGOING_SUCCEEDED,
)

LNV2 = "lnv2"

_PAGE = """
    SELECT position, kind, unix_us, payload FROM payment_entry
    WHERE federation_id = ? AND position <= ? {kinds}
    ORDER BY position DESC LIMIT ?
"""
# Both the start and the end of a payment must lie within the time.
_ENDED = """
    SELECT ended.unix_us - began.unix_us, began.fee_msat
    FROM payment_entry AS ended JOIN payment_entry AS began USING (operation)
    WHERE ended.kind = ?1 AND began.kind = ?2
        AND began.unix_us >= ?3 AND began.unix_us < ?4
        AND ended.unix_us >= ?3 AND ended.unix_us < ?4
"""
_NEWEST = (1 << 63) - 1


class History:
    """The history of a running gateway."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context

    async def payment_log(self, query: LogQuery) -> tuple[LogEntry, ...]:
        """Entries of one federation, newest first. Raises InputError for a federation that is not served."""
        federation = self._context.federations.serving(query.federation_id)
        kinds = f"AND kind IN ({', '.join('?' * len(query.kinds))})" if query.kinds else ""
        end_id = _NEWEST if query.end_id is None else min(query.end_id, _NEWEST)
        rows = self._context.store.query(
            _PAGE.format(kinds=kinds),
            (query.federation_id, end_id, *query.kinds, min(query.limit, _NEWEST)),
        )
        return tuple(
            LogEntry(
                id=int(str(position)),
                kind=str(kind),
                module_kind=LNV2,
                module_id=federation.lnv2.module_id,
                unix_us=int(str(unix_us)),
                payload_json=payload if isinstance(payload, bytes) else b"",
            )
            for position, kind, unix_us, payload in rows
        )

    async def payment_summary(self, start_unix_ms: int, end_unix_ms: int) -> PaymentSummary:
        """Payments of start <= time < end, over every federation."""
        return PaymentSummary(
            outgoing=self._summary(
                OUTGOING_STARTED, OUTGOING_SUCCEEDED, OUTGOING_FAILED, start_unix_ms, end_unix_ms
            ),
            incoming=self._summary(
                INCOMING_STARTED, INCOMING_SUCCEEDED, INCOMING_FAILED, start_unix_ms, end_unix_ms
            ),
        )

    def _summary(
        self, started: str, succeeded: str, failed: str, start_unix_ms: int, end_unix_ms: int
    ) -> DirectionSummary:
        times = tuple(min(ms, _NEWEST // 1_000) * 1_000 for ms in (start_unix_ms, end_unix_ms))
        good = self._ended(succeeded, started, times)
        latencies_us = [latency_us for latency_us, _ in good]
        return DirectionSummary(
            average_latency_us=round(fmean(latencies_us)) if latencies_us else None,
            median_latency_us=round(median(latencies_us)) if latencies_us else None,
            total_fees_msat=sum(fee_msat for _, fee_msat in good),
            total_success=len(good),
            total_failure=len(self._ended(failed, started, times)),
        )

    def _ended(self, ended: str, started: str, times: tuple[int, ...]) -> list[tuple[int, int]]:
        rows = self._context.store.query(_ENDED, (ended, started, *times))
        return [(int(str(latency_us)), int(str(fee_msat))) for latency_us, fee_msat in rows]
