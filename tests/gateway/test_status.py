"""Open and overdue payments of every kind, beside any number of finished ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import anyio
import apsw
import pytest
from structlog.testing import capture_logs

from backends.lightning import NodeInfo
from backends.simulated.node import Fault, SimulatedNode
from engine.effects import JobStatus, fatal_in
from engine.engine import Engine
from engine.machine import State
from engine.storage import streams
from engine.storage.read_model import StreamIndex
from engine.storage.rows import add_functions
from engine.storage.schema import LOG_TABLES
from engine.storage.store import Store
from fuzz.machines.scene import FEDERATION, facts
from gateway import status
from gateway.application import Gateway
from gateway.views import OpenPayment
from statemachines import (
    ALL_MACHINES,
    OPEN_STATES,
    completion,
    deposit,
    gift,
    node_order,
    operator_payment,
    receive,
    reissue,
    send,
    transaction,
    withdrawal,
)
from statemachines.items import Reservation
from statemachines.node_order import SendCoins
from statemachines.outlook import ANSWER_S, BLOCK_S, OpenState
from tests.gateway.scene import START_UNIX_S, Scene, ask, stream_of, until

pytestmark = pytest.mark.anyio
SINCE_UNIX_S = 1_000
INTENT = send.Intent(attempt=1, max_fee_msat=1, max_delay_blocks=100, stray_call=False)
Logs = Sequence[Mapping[str, object]]
PAYMENT = operator_payment.OperatorPaymentFacts("ab" * 32, "lnbcrt1", 1, 1, 1_008)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


# --- how long it may last -----------------------------------------------------------------------------------------


def test_every_state_of_a_payment_is_open_final_or_waits_for_somebody_to_ask() -> None:
    kinds = {
        *("send", "receive", "completion", "deposit", "withdrawal", "gift", "reissue"),
        *("operator_payment", "node_order", "tx"),
    }
    machines = [machine for machine in ALL_MACHINES if machine.kind in kinds]
    assert len(machines) == len(kinds)
    waiting = {
        state
        for machine in machines
        for state in machine.states
        if state not in machine.final and state is not type(machine.initial)
    } - set(OPEN_STATES)
    assert waiting == {
        receive.Registered,
        receive.Invoiced,
        operator_payment.Failed,
        reissue.Abandoned,
    }


@pytest.mark.parametrize(
    ("state", "due"),
    [
        (send.Vanished(facts=facts(), intent=INTENT), SINCE_UNIX_S),
        (send.Dispatching(facts=facts(), intent=INTENT), SINCE_UNIX_S + ANSWER_S),
        (
            send.InFlight(facts=facts(), intent=INTENT),
            SINCE_UNIX_S + 100 * BLOCK_S + ANSWER_S,
        ),
        (
            send.InFlight(facts=facts(), intent=send.NOT_OURS),
            SINCE_UNIX_S + facts().max_delay_blocks * BLOCK_S + ANSWER_S,
        ),
        (
            send.Unanswered(facts=facts(), intent=INTENT),
            facts().invoice_expires_unix_s + send.EXPIRY_MARGIN_S + ANSWER_S,
        ),
        (
            operator_payment.Paying(facts=PAYMENT, attempt=1),
            SINCE_UNIX_S + 1_008 * BLOCK_S + ANSWER_S,
        ),
    ],
)
def test_a_state_is_due_when_its_end_should_have_been_seen(state: OpenState, due: int) -> None:
    assert state.due_unix_s(SINCE_UNIX_S) == due


def test_a_call_without_answer_on_an_expired_invoice_is_due_soon() -> None:
    late_unix_s = facts().invoice_expires_unix_s + 5_000
    unanswered = send.Unanswered(facts=facts(), intent=INTENT)
    assert unanswered.due_unix_s(late_unix_s) == late_unix_s + ANSWER_S


# --- what is open ------------------------------------------------------------------------------------------------

OUTPUT = deposit.DepositOutput(0, 0, 1, "")
OPEN: dict[str, State] = {
    "send/1": send.Accepted(facts=facts()),
    "completion/1": completion.Waiting(payment_hash="", federation_id=FEDERATION, amount_msat=1),
    "deposit/1": deposit.Found(federation_id=FEDERATION, output=OUTPUT),
    "gift/1": gift.Preparing(facts=gift.GiftFacts("1", FEDERATION, 512)),
    "reissue/1": reissue.Reissuing(facts=reissue.ReissueFacts("1", FEDERATION, ())),
    "withdrawal/1": withdrawal.Funding(facts=withdrawal.WithdrawalFacts(FEDERATION, "", "", 1, 1)),
    "tx/1": transaction.Reserved(
        reservation=Reservation("tx/1", "send/1", FEDERATION, (), (), (), 0, 0)
    ),
    "operator_payment/1": operator_payment.Paying(facts=PAYMENT, attempt=1),
    "node_order/1": node_order.Ordered(id="1", order=node_order.SendCoins("", None, 1)),
}
NOT_OPEN: dict[str, State] = {
    "operator_payment/2": operator_payment.Failed(facts=PAYMENT, attempt=1, reason=""),
    "image/1": receive.New(),
}


class Books:
    """An engine with these states, and what is stored of them: since second 1000, but for one."""

    def __init__(self) -> None:
        self.connection = apsw.Connection(":memory:")
        add_functions(self.connection)
        self.connection.execute(LOG_TABLES + StreamIndex.ddl)
        self.ids = {stream: number for number, stream in enumerate(OPEN)}
        for stream, state in OPEN.items():
            number = self.ids[stream]
            self.connection.execute(
                "INSERT INTO stream_name VALUES (?1, name_hash(?2), ?2)", (number, stream)
            )
            self.connection.execute(
                "INSERT INTO stream VALUES (?, 1, 'x', ?, 0, 1, 1, 1, ?)",
                (number, type(state).__name__, SINCE_UNIX_S * 1_000_000),
            )

    def open_streams(self) -> dict[str, State]:
        return {**OPEN, **NOT_OPEN}

    def jobs(self) -> list[JobStatus]:
        return [
            JobStatus("send/1", "budget", "MeasureBudget", 0, 3, "the node is down"),
            JobStatus("tx/1", "build", "BuildTransaction", 0, 1, None),
        ]

    def query(self, sql: str, bindings: tuple[str, ...]) -> list[tuple[object, ...]]:
        return list(self.connection.execute(sql, bindings))

    def open_payments(self, now_unix_s: int) -> dict[str, OpenPayment]:
        engine, store = cast("Engine", self), cast("Store", self)
        found = status.open_payments(engine, store, now_unix_s * 1_000_000)
        return {one.stream: one for one in found}


def test_everything_open_is_shown_with_its_federation_and_its_trouble() -> None:
    shown = Books().open_payments(SINCE_UNIX_S + 5)
    assert set(shown) == set(OPEN)
    assert {one.age_s for one in shown.values()} == {5}
    assert {stream for stream, one in shown.items() if one.federation_id is None} == {
        "operator_payment/1",
        "node_order/1",
    }
    assert {one.federation_id for one in shown.values()} == {FEDERATION, None}
    assert shown["send/1"].last_error == "the node is down"
    assert shown["tx/1"].last_error is None
    assert not any(one.overdue for one in shown.values())


def test_each_is_overdue_in_its_own_time() -> None:
    shown = Books().open_payments(SINCE_UNIX_S + ANSWER_S)
    overdue = {stream for stream, one in shown.items() if one.overdue}
    assert overdue == {"send/1", "tx/1", "withdrawal/1", "node_order/1"}
    assert all(one.overdue for one in Books().open_payments(SINCE_UNIX_S + 10**7).values())


def test_a_state_that_is_not_stored_yet_begins_now() -> None:
    books = Books()
    books.connection.execute(
        "UPDATE stream SET state_name = 'New' WHERE id = ?", (books.ids["send/1"],)
    )
    books.connection.execute("DELETE FROM stream WHERE id = ?", (books.ids["tx/1"],))
    shown = books.open_payments(SINCE_UNIX_S + 10**6)
    assert (shown["send/1"].age_s, shown["send/1"].overdue) == (0, False)
    assert (shown["tx/1"].age_s, shown["tx/1"].overdue) == (0, False)


def test_a_clock_that_went_back_shows_no_negative_age() -> None:
    assert {one.age_s for one in Books().open_payments(SINCE_UNIX_S - 50).values()} == {0}


def test_what_is_under_way_in_a_federation_is_named() -> None:
    engine = cast("Engine", Books())
    assert status.open_streams_of(engine, "0d" * 32) == []
    assert set(OPEN) - set(status.open_streams_of(engine, FEDERATION)) == {
        "operator_payment/1",
        "node_order/1",
    }


def test_what_is_finished_is_not_looked_at() -> None:
    books = Books()
    plan = str(list(books.connection.execute(f"EXPLAIN QUERY PLAN {streams._NAMED}", ("[]",))))
    assert "SCAN stream" not in plan


def test_the_oldest_comes_first() -> None:
    books = Books()
    books.connection.execute(
        "UPDATE stream SET since_unix_us = 1 WHERE id = ?", (books.ids["withdrawal/1"],)
    )
    streams = list(books.open_payments(SINCE_UNIX_S))
    assert streams == ["withdrawal/1", *sorted(set(OPEN) - {"withdrawal/1"})]


# --- a running gateway -------------------------------------------------------------------------------------------


def _warnings(logs: Logs) -> list[tuple[object, object]]:
    return [(log["stream"], log["state"]) for log in logs if log["event"] == "payment_overdue"]


async def test_a_payment_is_overdue_when_its_htlcs_should_be_over(scene: Scene) -> None:
    async with scene.joined() as (gateway, routing):
        held = scene.world.payee.make_invoice(5_000_000, is_held=True)
        user, payment = await scene.funded(routing, held.text)
        async with anyio.create_task_group() as caller:
            caller.start_soon(ask, gateway, user.body(payment))
            state = await until(gateway, payment, send.InFlight)
            assert isinstance(state, send.InFlight)
            scene.clock.advance(3_600)
            (shown,) = (await gateway.info()).open_payments
            assert (shown.state, shown.age_s, shown.overdue) == ("InFlight", 3_600, False)
            assert shown.since_unix_s == START_UNIX_S
            with capture_logs() as logs:
                scene.clock.advance(state.intent.max_delay_blocks * BLOCK_S)
                await scene.drive(lambda: bool(_warnings(logs)), step_s=30)
                (shown,) = (await gateway.info()).open_payments
                assert shown.overdue
                until_s = scene.clock.now_s + 3_600
                await scene.drive(lambda: scene.clock.now_s > until_s, step_s=30)
            assert _warnings(logs) == [(stream_of(payment), "InFlight")]
            caller.cancel_scope.cancel()


async def test_an_order_without_trace_is_overdue_and_told_once_a_life(scene: Scene) -> None:
    node = scene.world.gateway_node
    node.fund_onchain(100_000)
    scene.world.chain.mine()
    node.script(Fault.LOST, call="send_onchain")
    async with scene.serving() as gateway, anyio.create_task_group() as caller:
        address = await gateway.node.onchain_address()
        with capture_logs() as logs:
            caller.start_soon(gateway.node.send_onchain, SendCoins(address, 1_000, 1))
            await _overdue(scene, gateway, logs)
        caller.cancel_scope.cancel()
    with capture_logs() as logs:
        async with scene.serving() as gateway:
            await _overdue(scene, gateway, logs)


async def _overdue(scene: Scene, gateway: Gateway, logs: Logs) -> None:
    """An order is told of, and not again for twenty minutes."""
    await scene.drive(lambda: bool(_warnings(logs)), step_s=30)
    until_s = scene.clock.now_s + 1_200
    await scene.drive(lambda: scene.clock.now_s > until_s, step_s=30)
    (shown,) = (await gateway.info()).open_payments
    assert (shown.kind, shown.federation_id, shown.overdue) == ("node_order", None, True)
    assert shown.last_error is not None
    assert "look in the node" in shown.last_error
    assert _warnings(logs) == [(shown.stream, "Ordered")]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_gateway_whose_tasks_were_ended_does_not_seem_to_run(scene: Scene) -> None:
    class Cancelling(SimulatedNode):
        async def info(self) -> NodeInfo:
            if scene.clock.now_s > START_UNIX_S:
                raise anyio.get_cancelled_exc_class()
            return await super().info()

    scene.node = Cancelling(scene.world.network, "cancelling", lambda: scene.clock.now_s)
    with pytest.raises(BaseExceptionGroup) as ended:  # noqa: PT012 (it leaves with the block)
        async with scene.serving():
            await anyio.wait_all_tasks_blocked()  # until the watch of the node sleeps
            scene.clock.advance(60)
            await anyio.sleep_forever()
    assert "a background task stopped" in str(fatal_in(ended.value))


async def test_a_look_that_fails_ends_nothing(scene: Scene) -> None:
    class Unreadable(Books):
        def query(self, sql: str, bindings: tuple[str, ...]) -> list[tuple[object, ...]]:
            raise apsw.IOError(sql, bindings)

    books = Unreadable()
    with capture_logs() as logs:
        async with anyio.create_task_group() as tasks:
            watch = (cast("Engine", books), cast("Store", books), scene.clock)
            tasks.start_soon(status.watch_overdue, *watch)
            await scene.drive(lambda: len(logs) > 1, step_s=30)
            tasks.cancel_scope.cancel()
    assert {log["event"] for log in logs} == {"overdue_unknown"}
