"""What the gateway tells about past payments: entries of the payment log, and sums over a time."""

import msgspec


class LogQuery(msgspec.Struct, frozen=True):
    """Entries of one federation, newest first: at most `limit` with an id up to `end_id` (None: the newest).

    `kinds` empty stands for every kind.
    """

    federation_id: str
    end_id: int | None
    limit: int
    kinds: tuple[str, ...]


class LogEntry(msgspec.Struct, frozen=True):
    """One entry in upstream's form: kinds and payloads of fedimint-gwv2-client/src/events.rs, payload as JSON."""

    id: int
    kind: str
    module_kind: str | None
    module_id: int | None
    unix_us: int
    payload_json: bytes


class DirectionSummary(msgspec.Struct, frozen=True):
    """Payments of one direction that began and ended within the time; latencies None when there were none."""

    average_latency_us: int | None
    median_latency_us: int | None
    total_fees_msat: int
    total_success: int
    total_failure: int


class PaymentSummary(msgspec.Struct, frozen=True):
    """Sums over every federation."""

    outgoing: DirectionSummary
    incoming: DirectionSummary
