"""Pages of the payment log, and sums over a time, from what is committed (`payment_entries.py`)."""

import msgspec

from fedimint.codec.wire_types import Duration
from gateway.context import GatewayContext
from gateway.history_views import (
    LogQuery,
    ModuleOfEntry,
    PaymentLogEntry,
    PaymentStats,
    PaymentSummary,
)
from gateway.payment_events import DEFAULT_KINDS, with_subject

_PAGE = """
    SELECT position, kind, module, unix_us, payload, subject FROM payment_entry
    WHERE federation_id = ? AND position <= ? AND kind IN (SELECT value FROM json_each(?))
    ORDER BY position DESC LIMIT ?
"""
# Both the beginning and the end of a payment must lie within the time.
_ENDED = """
    FROM payment WHERE is_outgoing = ? AND began_unix_us >= ? AND ended_unix_us >= began_unix_us
    AND ended_unix_us < ?
"""
# Fees are summed by halves of 32 bits, since SQLite refuses a sum beyond 64, which few numbers that fit can make.
_SUMS = f"""
    SELECT succeeded, count(*), sum(fee_msat >> 32), sum(fee_msat & 4294967295), sum(ended_unix_us - began_unix_us)
    {_ENDED} GROUP BY succeeded
"""
_MIDDLE = f"""
    SELECT ended_unix_us - began_unix_us AS latency_us
    {_ENDED} AND succeeded ORDER BY latency_us LIMIT ? OFFSET ?
"""
_LARGEST = (1 << 63) - 1


class _Row(msgspec.Struct, frozen=True, array_like=True):
    position: int
    kind: str
    module: str
    unix_us: int
    payload: bytes
    subject: bytes | None


class _Sum(msgspec.Struct, frozen=True, array_like=True):
    succeeded: bool
    count: int
    fees_upper: int
    fees_lower: int
    latency_us: int

    @property
    def fees_msat(self) -> int:
        """The sum; it saturates at 63 bits, the most that JSON holds."""
        sum_msat = (self.fees_upper << 32) + self.fees_lower
        return max(-_LARGEST, min(sum_msat, _LARGEST))


class History:
    """The history of a running gateway."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context

    async def payment_log(self, query: LogQuery) -> tuple[PaymentLogEntry, ...]:
        """Entries of one federation, newest first. Raises InputError for a federation that is not served."""
        federation, _ = self._context.served(query.federation_id)
        end_id = _LARGEST if query.end_id is None else min(query.end_id, _LARGEST)
        kinds = msgspec.json.encode(query.kinds or DEFAULT_KINDS).decode()
        rows = self._context.store.query(
            _PAGE, (query.federation_id, end_id, kinds, min(query.limit, _LARGEST))
        )
        module_ids = {module.kind: id_ for id_, module in federation.config.modules.items()}
        return tuple(self._entry(msgspec.convert(row, _Row), module_ids) for row in rows)

    def _entry(self, row: _Row, module_ids: dict[str, int]) -> PaymentLogEntry:
        network = self._context.settings.network
        payload = with_subject(row.module, row.kind, row.payload, row.subject, network)
        module_id = module_ids.get(row.module)
        return PaymentLogEntry(
            id=row.position,
            kind=row.kind,
            module=None if module_id is None else ModuleOfEntry(row.module, module_id),
            ts_usecs=row.unix_us,
            payload=msgspec.Raw(payload),
        )

    async def payment_summary(self, start_unix_ms: int, end_unix_ms: int) -> PaymentSummary:
        """Payments of start <= time < end, over every federation."""
        times = tuple(min(ms, _LARGEST // 1_000) * 1_000 for ms in (start_unix_ms, end_unix_ms))
        return PaymentSummary(
            outgoing=self._direction((1, *times)), incoming=self._direction((0, *times))
        )

    def _direction(self, which: tuple[int, ...]) -> PaymentStats:
        """Averages and medians are those of upstream's integers (fedimint-core/src/util)."""
        rows = self._context.store.query(_SUMS, which)
        sums = {
            one.succeeded: one for one in (msgspec.convert(r, _Sum, strict=False) for r in rows)
        }
        good, bad = sums.get(True), sums.get(False)
        failures = 0 if bad is None else bad.count
        if good is None:
            return PaymentStats(None, None, 0, 0, failures)
        return PaymentStats(
            average_latency=_duration(good.latency_us // good.count),
            median_latency=_duration(self._median_us(which, good.count)),
            total_fees=good.fees_msat,
            total_success=good.count,
            total_failure=failures,
        )

    def _median_us(self, which: tuple[int, ...], count: int) -> int:
        middle = (2 - count % 2, (count - 1) // 2)
        rows = self._context.store.query(_MIDDLE, (*which, *middle))
        latencies_us = [msgspec.convert(latency_us, int) for (latency_us,) in rows]
        return sum(latencies_us) // len(latencies_us)


def _duration(latency_us: int) -> Duration:
    return Duration(secs=latency_us // 1_000_000, nanos=latency_us % 1_000_000 * 1_000)
