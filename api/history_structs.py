"""Requests about past payments, as Rust 0.13 writes them (fedimint-gateway-common/src/lib.rs).

Their answers are in `gateway/views.py`.
"""

import msgspec

from fedimint.codec.json_types import Hash256Hex, Unsigned


class PaymentLogPayload(msgspec.Struct, frozen=True):
    """Body of POST `/payment_log`: at most `pagination_size` entries up to `end_position`, newest first.

    Without kinds, all of them: those of payments, ecash and coins.
    """

    pagination_size: Unsigned
    federation_id: Hash256Hex
    event_kinds: tuple[str, ...]
    end_position: Unsigned | None = None


class PaymentSummaryPayload(msgspec.Struct, frozen=True):
    """Body of POST `/payment_summary`: start <= time < end in Unix milliseconds."""

    start_millis: Unsigned
    end_millis: Unsigned
