"""Answers about past payments: entries of the payment log, and sums over a time.

Answers are as the API writes them. Sources: fedimint-gateway-common/src/lib.rs and `PersistedLogEntry` of
fedimint-eventlog.
"""

import msgspec

from fedimint.codec.wire_types import Duration


class LogQuery(msgspec.Struct, frozen=True):
    """Entries of one federation, newest first: at most `limit` with an id up to `end_id` (None: the newest).

    `kinds` empty stands for every kind.
    """

    federation_id: str
    end_id: int | None
    limit: int
    kinds: tuple[str, ...]


class ModuleOfEntry(msgspec.Struct, frozen=True):
    """The module that an entry of the log is about."""

    kind: str
    id: int


class PaymentLogEntry(msgspec.Struct, frozen=True):
    """One entry in upstream's form: kinds and payloads of fedimint-gwv2-client/src/events.rs. Ids may have gaps."""

    id: int
    kind: str
    module: ModuleOfEntry | None
    ts_usecs: int
    payload: msgspec.Raw


class PaymentStats(msgspec.Struct, frozen=True):
    """Payments of one direction within the time: fees in msat, latencies None when none succeeded."""

    average_latency: Duration | None
    median_latency: Duration | None
    total_fees: int
    total_success: int
    total_failure: int


class PaymentSummary(msgspec.Struct, frozen=True):
    """Sums over every federation; the answer of POST `/payment_summary`."""

    outgoing: PaymentStats
    incoming: PaymentStats
