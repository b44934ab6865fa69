"""Pages of the payment log, and sums over a time, from what is committed (`payment_entries.py`)."""

from collections.abc import Mapping

import anyio.lowlevel
import msgspec

from engine.chain import StoredStep
from engine.fold import steps
from engine.machine import State
from engine.quarantine import QuarantinedError
from engine.storage.search import row_at
from engine.storage.tables import COLUMN_MAX
from fedimint.codec.wire_types import Duration
from gateway import payment_tables
from gateway.context import GatewayContext
from gateway.log import machines
from gateway.payment_entries import payload_of
from gateway.payment_events import DEFAULT_KINDS
from gateway.payment_payloads import Known
from gateway.payment_tables import Ended, Entry
from gateway.views import (
    LogQuery,
    ModuleOfEntry,
    PaymentLogEntry,
    PaymentStats,
    PaymentSummary,
)


class History:
    """The history of a running gateway."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._machines = machines()

    async def payment_log(self, query: LogQuery) -> tuple[PaymentLogEntry, ...]:
        """Entries of one federation, newest first. Raises InputError for a federation that is not served.

        An entry whose event this program cannot read is left out; its stream is quarantined, which `info` shows.
        """
        federation, _ = self._context.served(query.federation_id)
        end_position = COLUMN_MAX if query.end_id is None else query.end_id
        entries = payment_tables.page(
            self._context.store,
            query.federation_id,
            end_position,
            query.kinds or DEFAULT_KINDS,
            query.limit,
        )
        modules = {
            module.kind: ModuleOfEntry(module.kind, id_)
            for id_, module in federation.config.modules.items()
        }
        told = await self._told({entry.position: entry for entry in entries}, modules)
        return tuple(one for entry in entries if (one := told[entry.position]) is not None)

    async def _told(
        self, entries: Mapping[int, Entry], modules: Mapping[str, ModuleOfEntry]
    ) -> dict[int, PaymentLogEntry | None]:
        """By position. Each stream is read once, and others have their turn in between."""
        known = Known(self._context.settings.network, self._state_of)
        told: dict[int, PaymentLogEntry | None] = {}
        for position in entries:
            if position not in told:
                await anyio.lowlevel.checkpoint()
                stream = row_at(self._context.store, position).stream
                for step in steps(self._machines, self._context.store.rows_of(stream)):
                    entry = entries.get(step.row.position)
                    if entry is not None:
                        module = modules.get(entry.kind.module)
                        told[entry.position] = _told(entry, module, step, known)
        return told

    def _state_of(self, stream: str) -> State | None:
        try:
            return self._context.engine.peek(stream)
        except QuarantinedError:
            return None

    async def payment_summary(self, start_unix_ms: int, end_unix_ms: int) -> PaymentSummary:
        """Payments of start <= time < end, over every federation."""
        start_us, end_us = (
            min(ms, COLUMN_MAX // 1_000) * 1_000 for ms in (start_unix_ms, end_unix_ms)
        )
        return PaymentSummary(
            outgoing=self._direction(Ended(True, start_us, end_us)),
            incoming=self._direction(Ended(False, start_us, end_us)),
        )

    def _direction(self, which: Ended) -> PaymentStats:
        """Averages and medians are those of upstream's integers (fedimint-core/src/util)."""
        store = self._context.store
        sums = payment_tables.sums(store, which)
        good, bad = sums.get(True), sums.get(False)
        failures = 0 if bad is None else bad.count
        if good is None:
            return PaymentStats(None, None, 0, 0, failures)
        middle_us = payment_tables.middle_latencies_us(store, which, good.count)
        return PaymentStats(
            average_latency=_duration(good.latency_us // good.count),
            median_latency=_duration(sum(middle_us) // len(middle_us)),
            total_fees=good.fees_msat,
            total_success=good.count,
            total_failure=failures,
        )


def _told(
    entry: Entry, module: ModuleOfEntry | None, step: StoredStep, known: Known
) -> PaymentLogEntry | None:
    payload = payload_of(step, known)
    if payload is None:
        return None
    return PaymentLogEntry(
        id=entry.position,
        kind=entry.kind.kind,
        module=module,
        ts_usecs=step.row.recorded_unix_us,
        payload=msgspec.Raw(msgspec.json.encode(payload)),
    )


def _duration(latency_us: int) -> Duration:
    return Duration(secs=latency_us // 1_000_000, nanos=latency_us % 1_000_000 * 1_000)
