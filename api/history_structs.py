"""Requests and responses about past payments, as Rust 0.13 writes them.

Sources: fedimint-gateway-common/src/lib.rs and `PersistedLogEntry` of fedimint-eventlog.
"""

import msgspec

from fedimint.json_types import Hash256Hex, Unsigned


class PaymentLogPayload(msgspec.Struct, frozen=True):
    """Body of POST `/payment_log`: at most `pagination_size` entries up to `end_position`, newest first.

    Without kinds, all of them: those of payments, ecash and coins.
    """

    pagination_size: Unsigned
    federation_id: Hash256Hex
    event_kinds: tuple[str, ...]
    end_position: Unsigned | None = None


class ModuleOfEntry(msgspec.Struct, frozen=True):
    """The module that an entry of the log is about."""

    kind: str
    id: int


class PaymentLogEntry(msgspec.Struct, frozen=True):
    """One element of the answer of POST `/payment_log`; ids may have gaps."""

    id: int
    kind: str
    module: ModuleOfEntry | None
    ts_usecs: int
    payload: msgspec.Raw


class PaymentSummaryPayload(msgspec.Struct, frozen=True):
    """Body of POST `/payment_summary`: start <= time < end in Unix milliseconds."""

    start_millis: Unsigned
    end_millis: Unsigned


class Duration(msgspec.Struct, frozen=True):
    """A span of time as serde writes Rust's `Duration`."""

    secs: int
    nanos: int


class PaymentStats(msgspec.Struct, frozen=True):
    """Payments of one direction; latencies are null when none succeeded. Fees in msat."""

    average_latency: Duration | None
    median_latency: Duration | None
    total_fees: int
    total_success: int
    total_failure: int


class PaymentSummaryResponse(msgspec.Struct, frozen=True):
    """Answer of POST `/payment_summary`."""

    outgoing: PaymentStats
    incoming: PaymentStats
