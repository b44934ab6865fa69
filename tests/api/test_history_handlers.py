"""Handlers of past payments against a canned gateway, in the shapes of a Rust one, on both event loops."""

import msgspec
import pytest

from api import history_handlers as history
from api import history_structs as structs
from api.testing.gateway import CannedGateway
from errors import InputError
from gateway import views
from tests.api.recorded import exchanges, shape_of, written

pytestmark = pytest.mark.anyio


async def test_the_log_has_the_fields_of_rust() -> None:
    recorded = exchanges("/payment_log")[0]
    payload = msgspec.convert(recorded["request"], structs.PaymentLogPayload)
    gateway = CannedGateway()
    succeeded, other = written(await history.payment_log(gateway, payload))
    theirs = recorded["response"][0]
    assert succeeded["kind"] == theirs["kind"] == "outgoing-payment-succeeded"
    assert {**succeeded, "payload": None} == {**theirs, "payload": None}
    assert set(succeeded["payload"]) == set(theirs["payload"])
    assert other == {
        "id": 3,
        "kind": "something-else",
        "module": None,
        "ts_usecs": 1_795_372_391_000_000,
        "payload": {},
    }
    assert gateway.calls == [
        ("payment_log", views.LogQuery(recorded["request"]["federation_id"], None, 50, ()))
    ]


async def test_a_page_of_chosen_kinds() -> None:
    payload = structs.PaymentLogPayload(
        pagination_size=3, federation_id="AB" * 32, event_kinds=("a", "b"), end_position=9
    )
    gateway = CannedGateway()
    await history.payment_log(gateway, payload)
    assert gateway.calls == [("payment_log", views.LogQuery("ab" * 32, 9, 3, ("a", "b")))]


async def test_the_summary_has_the_fields_of_rust() -> None:
    (recorded,) = exchanges("/payment_summary")
    payload = msgspec.convert(recorded["request"], structs.PaymentSummaryPayload)
    gateway = CannedGateway()
    answer = written(await history.payment_summary(gateway, payload))
    assert shape_of(answer["outgoing"]) == shape_of(recorded["response"]["outgoing"])
    assert (
        answer["outgoing"]["median_latency"] == recorded["response"]["incoming"]["median_latency"]
    )
    assert answer["outgoing"]["average_latency"] == {"secs": 1, "nanos": 275_569_000}
    assert answer["incoming"]["average_latency"] is None
    assert gateway.calls == [("payment_summary", 0, 1_900_000_000_000)]


async def test_a_time_that_ends_before_it_starts() -> None:
    gateway = CannedGateway()
    with pytest.raises(InputError, match=r"^Invalid time range$"):
        await history.payment_summary(gateway, structs.PaymentSummaryPayload(2, 1))
    assert gateway.calls == []
