"""Pages of the payment log of a running gateway, and sums whose arithmetic is upstream's."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import apsw
import msgspec
import pytest

from api import history_handlers, history_structs
from errors import InputError
from fedimint.codec.wire_types import Duration
from fedimint.lnv2.gateway_api import Forfeited
from fuzz.mutants.mutant import evolved
from gateway import payment_tables
from gateway.application import Gateway
from gateway.context import GatewayContext
from gateway.history import History
from gateway.payment_entries import PaymentEntries
from gateway.payment_events import DEFAULT_KINDS, EntryKind
from gateway.views import LogQuery, PaymentStats, WithdrawalRequest
from statemachines import send, send_rules
from tests.api.recorded import exchanges, shape_of, written
from tests.gateway.scene import START_UNIX_S, Scene, ask, asking, stream_of, until

pytestmark = pytest.mark.anyio
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
COINS_SAT = 102_400
NOTHING = PaymentStats(None, None, 0, 0, 0)
#: What a query may ask for at most: every number of the API is of 64 bits.
U64_MAX = (1 << 64) - 1


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def _ids(gateway: Gateway, scene: Scene, **changes: object) -> list[int]:
    query = LogQuery(federation_id=scene.federation_id, end_id=None, limit=100, kinds=())
    entries = await gateway.history.payment_log(msgspec.structs.replace(query, **changes))
    return [entry.id for entry in entries]


async def test_what_was_paid_and_what_failed_is_told_newest_first_in_pages(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        for _ in range(2):
            user, payment = await scene.funded(routing)
            await ask(gateway, user.body(payment))
            await until(gateway, payment, send.Claimed)
        scene.world.middle.is_down = True
        user, payment = await scene.funded(routing)
        assert isinstance(await ask(gateway, user.body(payment)), Forfeited)
        request = history_structs.PaymentLogPayload(
            pagination_size=100, federation_id=scene.federation_id.upper(), event_kinds=()
        )
        told = written(await history_handlers.payment_log(gateway, request))
        assert [entry["kind"] for entry in told] == [
            "outgoing-payment-failed",
            "outgoing-payment-started",
            *("outgoing-payment-succeeded", "outgoing-payment-started") * 2,
        ]
        theirs = exchanges("/payment_log")[0]["response"]
        for entry in told:
            like = next(other for other in theirs if other["kind"] == entry["kind"])
            assert _shape(entry) == _shape(like)
        ids = [entry["id"] for entry in told]
        assert ids == sorted(ids, reverse=True)
        assert await _ids(gateway, scene, limit=2) == ids[:2]
        assert await _ids(gateway, scene, limit=3, end_id=ids[2]) == ids[2:5]
        assert await _ids(gateway, scene, limit=100, end_id=ids[2] - 1) == ids[3:]
        assert await _ids(gateway, scene, limit=U64_MAX, end_id=U64_MAX) == ids
        assert await _ids(gateway, scene, limit=0) == []
        assert await _ids(gateway, scene, end_id=0) == []
        kinds = ("outgoing-payment-failed", "payment-send", "no such kind")
        assert await _ids(gateway, scene, kinds=kinds) == ids[:1]
    async with scene.serving() as gateway:
        assert await _ids(gateway, scene) == ids


async def test_what_this_program_cannot_read_is_left_out(scene: Scene) -> None:
    def fail(*_args: object) -> NoReturn:
        raise ZeroDivisionError

    async with scene.joined() as (gateway, routing):
        for _ in range(2):
            user, payment = await scene.funded(routing)
            await ask(gateway, user.body(payment))
            await until(gateway, payment, send.Claimed)
        ids = await _ids(gateway, scene)
    with evolved(send_rules.MACHINE, send.SendPaid, fail):
        async with scene.serving() as gateway:
            assert await _ids(gateway, scene) == ids[1::2]
    async with scene.serving() as gateway:
        assert await _ids(gateway, scene) == ids


async def test_without_a_filter_ecash_and_coins_are_told_as_well(scene: Scene) -> None:
    async with scene.joined() as (gateway, _):
        scene.federation.endow(COINS_SAT)
        ecash = scene.federation.issue_ecash(COINS_SAT * 1_000).to_text()
        await gateway.payments.receive_ecash(ecash)
        await gateway.treasury.spend_ecash(scene.federation_id, 1_024)
        await gateway.treasury.withdraw(
            WithdrawalRequest(scene.federation_id, ADDRESS, COINS_SAT // 2, None)
        )
        query = LogQuery(federation_id=scene.federation_id, end_id=None, limit=25, kinds=())
        entries = await gateway.history.payment_log(query)
        told = [(entry.module.kind, entry.kind) for entry in entries if entry.module is not None]
    assert told == [
        ("walletv2", "payment-send-update"),
        ("walletv2", "payment-send"),
        ("mintv2", "payment-send"),
        ("mintv2", "payment-receive-update"),
        ("mintv2", "payment-receive"),
    ]


def test_every_kind_has_a_number_of_its_own_and_is_told_without_a_filter() -> None:
    assert sorted(one.number for one in EntryKind) == list(range(len(EntryKind)))
    assert {one.kind for one in EntryKind} == DEFAULT_KINDS
    assert len(DEFAULT_KINDS) == 11


def _shape(entry: dict[str, Any]) -> object:
    """Without what is null or a text by turns."""
    payload = {key: value for key, value in entry["payload"].items() if key != "target_federation"}
    return shape_of({**entry, "payload": payload})


async def test_the_log_of_a_federation_that_is_not_served_is_refused(scene: Scene) -> None:
    async with scene.serving() as gateway:
        with pytest.raises(InputError, match="No federation available for prefix fefefefe"):
            await gateway.history.payment_log(LogQuery("fe" * 32, None, 10, ()))


async def test_the_sums_are_of_what_began_and_ended_within_the_time(scene: Scene) -> None:
    start_ms = START_UNIX_S * 1_000
    async with scene.joined() as (gateway, routing):
        held = scene.world.payee.make_invoice(5_000_000, is_held=True)
        user, payment = await scene.funded(routing, held.text)
        async with asking(gateway, user.body(payment)):
            await until(gateway, payment, send.InFlight)
            began_ms = scene.clock.now_unix_us() // 1_000
            open_now = await gateway.history.payment_summary(start_ms, began_ms + 1)
            assert open_now.outgoing == open_now.incoming == NOTHING
            scene.clock.advance(7)
            scene.world.payee.settle_held(held.payment_hash)
        facts = gateway.engine.peek(stream_of(payment))
        assert isinstance(facts, send.Claiming | send.Claimed)
        whole = await gateway.history.payment_summary(began_ms, began_ms + 7_001)
        fee_msat = facts.facts.minimum_msat - facts.facts.invoice_msat
        assert whole.outgoing == PaymentStats(Duration(7, 0), Duration(7, 0), fee_msat, 1, 0)
        assert whole.incoming == NOTHING
        for times in ((began_ms + 1, began_ms + 7_001), (began_ms, began_ms + 7_000)):
            assert (await gateway.history.payment_summary(*times)).outgoing == NOTHING
        assert (await gateway.history.payment_summary(0, U64_MAX)).outgoing == whole.outgoing
        request = history_structs.PaymentSummaryPayload(start_millis=0, end_millis=U64_MAX)
        answer = written(await history_handlers.payment_summary(gateway, request))
        assert answer["outgoing"]["average_latency"] == {"secs": 7, "nanos": 0}
        theirs = exchanges("/payment_summary")[0]["response"]["outgoing"]
        assert shape_of(answer["outgoing"]) == shape_of(theirs)


# --- the arithmetic ----------------------------------------------------------------------------------------------


class Table:
    """A history over payments that are given, all of them begun at second 1."""

    def __init__(self) -> None:
        self.connection = apsw.Connection(":memory:")
        self.connection.execute(PaymentEntries.ddl)
        self.count = 0
        self.plans: list[str] = []

    def add(
        self,
        latency_us: int,
        *,
        succeeded: bool = True,
        is_outgoing: bool = True,
        fee_msat: int = 10,
    ) -> None:
        self.count += 1
        payment = (1_000_000, self.count, is_outgoing, succeeded, latency_us, fee_msat)
        self.connection.execute("INSERT INTO payment VALUES (?, ?, ?, ?, ?, ?)", payment)

    def query(
        self, sql: str, bindings: Sequence[str | int | bytes] = (), /
    ) -> list[tuple[object, ...]]:
        plan = self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings)
        self.plans.append(str(list(plan)))
        return list(self.connection.execute(sql, bindings))

    def history(self) -> History:
        return History(cast("GatewayContext", SimpleNamespace(store=self)))

    async def outgoing(self) -> PaymentStats:
        return (await self.history().payment_summary(1_000, 10_000)).outgoing


@pytest.mark.parametrize(
    ("latencies_us", "average_us", "median_us"),
    [
        ((5,), 5, 5),
        ((5, 8), 6, 6),
        ((9, 1, 3), 4, 3),
        ((1, 100, 2, 4), 26, 3),
        ((0, 0), 0, 0),
    ],
)
async def test_averages_and_medians_are_rounded_down(
    latencies_us: tuple[int, ...], average_us: int, median_us: int
) -> None:
    table = Table()
    for latency_us in latencies_us:
        table.add(latency_us)
    count = len(latencies_us)
    average, median = Duration(0, 1_000 * average_us), Duration(0, 1_000 * median_us)
    assert await table.outgoing() == PaymentStats(average, median, 10 * count, count, 0)


async def test_only_what_succeeded_has_a_latency_and_a_fee() -> None:
    table = Table()
    table.add(50)
    for _ in range(2):
        table.add(9_000, succeeded=False)
    table.add(70, is_outgoing=False)
    assert await table.outgoing() == PaymentStats(
        Duration(0, 50_000), Duration(0, 50_000), 10, 1, 2
    )


@pytest.mark.parametrize(
    ("fees_msat", "sum_msat"),
    [
        ((2**62, 2**61, 2**60), 2**62 + 2**61 + 2**60),
        ((2**62, 2**62, -(2**62)), 2**62),
        ((-(2**62), -1, 3), -(2**62) + 2),
        ((2**63 - 1, 2**63 - 1, 5), 2**63 - 1),
        ((-(2**63), -(2**63)), -(2**63) + 1),
    ],
)
async def test_fees_that_no_column_could_sum_are_summed(
    fees_msat: tuple[int, ...], sum_msat: int
) -> None:
    table = Table()
    for fee_msat in fees_msat:
        table.add(1, fee_msat=fee_msat)
    summary = await table.outgoing()
    assert summary.total_fees == sum_msat
    assert msgspec.json.encode(summary)


async def test_failures_alone_have_no_latency() -> None:
    table = Table()
    table.add(9_000, succeeded=False)
    assert await table.outgoing() == PaymentStats(None, None, 0, 0, 1)


async def test_a_clock_that_went_back_counts_for_nothing() -> None:
    table = Table()
    table.add(-1)
    assert await table.outgoing() == NOTHING


async def test_no_question_reads_a_whole_table() -> None:
    table = Table()
    table.add(1)
    assert payment_tables.page(table, "fe" * 32, U64_MAX, DEFAULT_KINDS, U64_MAX) == []
    await table.outgoing()
    assert len(table.plans) == 4
    assert not [plan for plan in table.plans if "SCAN payment" in plan]
    assert "payment_entry USING PRIMARY KEY (federation=? AND position<?)" in table.plans[0]
    bounds = "(began_unix_us>? AND began_unix_us<?)"
    assert all(f"payment USING PRIMARY KEY {bounds}" in plan for plan in table.plans[1:])
