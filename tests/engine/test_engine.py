"""Decisions in memory, durability before answers, and what happens when the engine stops."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from engine.effects import EffectContext, Handler
from engine.engine import Answer, Engine, Observer, Ports
from engine.fold import Machines
from engine.machine import Decision, Effect, Handle, Input, Tell
from engine.ports import SystemClock, SystemRandomness
from engine.quarantine import StreamFaultError
from engine.storage.errors import StorageError
from engine.storage.store import Store
from errors import BusyError, ConflictError, FatalError, NotFoundError, UnavailableError
from tests.engine.toy import (
    ACCOUNT,
    LIMITS,
    TRANSFER,
    Arrived,
    Begin,
    Credit,
    Debit,
    Debited,
    FixedRandomness,
    Gate,
    Noted,
    Open,
    Recall,
    Send,
    Sending,
    Sent,
    StepClock,
    Unborn,
    balances,
    begin,
    open_engine,
    open_store,
    order,
    running,
)

pytestmark = pytest.mark.anyio


async def _never(_effect: Send, _context: EffectContext) -> Input | None:
    await anyio.sleep_forever()
    return None


def _rows(store: Store) -> list[str]:
    return [chained.row.kind for chained in store.rows()]


async def test_one_input_is_one_append_over_all_streams_it_tells(store: Store) -> None:
    engine = open_engine(store)
    async with running(engine, _never):
        answer = await engine.submit("transfer/1", Begin(order=order(7)))
    assert answer == Answer(Sending(order=order(7)), 3)
    rows = [chained.row for chained in store.rows()]
    assert [(row.append, row.stream, row.version) for row in rows] == [
        (1, "transfer/1", 1),
        (1, "account/a", 1),
        (1, "limit/all", 1),
    ]
    assert {row.recorded_unix_us for row in rows} == {1_700_000_000_000_000}


async def test_a_refusal_in_the_third_machine_leaves_nothing(store: Store) -> None:
    engine = open_engine(store)
    async with running(engine, _never):
        await engine.submit("transfer/1", Begin(order=order(999)))
        with pytest.raises(BusyError, match="limit"):
            await engine.submit("transfer/2", Begin(order=order(2)))
        assert engine.peek("transfer/2") == Unborn()
        assert balances(engine) == {"a": -999, "b": 0, "c": 0}
        assert sorted(engine.open_streams()) == ["account/a", "limit/all", "transfer/1"]
        assert (await engine.submit("transfer/3", Begin(order=order(1)))).position == 6


async def test_a_storage_error_that_conditions_meet_is_no_mistake_of_the_stream(
    store: Store,
) -> None:
    """They may read the log; a disk that fails then ends the gateway, as everywhere."""
    failure = StorageError("the disk is gone")

    def ask(stream: str, input_: Input) -> Input:
        raise failure

    engine = Engine(
        store, Machines([ACCOUNT]), Ports(StepClock(), FixedRandomness()), conditions=ask
    )
    with pytest.raises(StorageError) as raised:
        engine.deliver("account/a", Credit(amount=1))
    assert raised.value is failure
    assert engine.open_streams() == {}


async def test_conditions_are_asked_in_the_step_that_decides(store: Store) -> None:
    """Of what a caller or an effect hands in, as it is then; a refusal leaves nothing."""
    asked: list[tuple[str, type[Input], int]] = []

    def ask(stream: str, input_: Input) -> Input:
        asked.append((stream, type(input_), len(engine.open_streams())))
        if isinstance(input_, Credit) and input_.amount > 5:
            raise ConflictError("too much")
        return Credit(amount=3) if isinstance(input_, Credit) else input_

    async def send(_effect: Send, _context: EffectContext) -> Input:
        return Sent()

    engine = Engine(
        store,
        Machines([ACCOUNT, LIMITS, TRANSFER]),
        Ports(StepClock(), FixedRandomness()),
        conditions=ask,
    )
    async with running(engine, send):
        with pytest.raises(ConflictError, match="too much"):
            await engine.submit("account/a", Credit(amount=6))
        assert engine.open_streams() == {}
        assert (await engine.submit("account/a", Credit(amount=5))).state == Open(balance=3)
        await engine.submit("transfer/1", Begin(order=order(1)))
        await engine.wait("transfer/1", TRANSFER.is_final)
    assert asked == [
        *[("account/a", Credit, 0)] * 2,
        ("transfer/1", Begin, 1),
        ("transfer/1", Sent, 3),
    ]


async def test_a_decision_may_rest_on_one_that_is_not_durable(store: Store) -> None:
    gate = Gate()
    engine = open_engine(store, run_blocking=gate)
    async with running(engine, _never):
        engine.deliver("account/a", Credit(amount=5))
        engine.deliver("account/a", Debit(amount=3))
        assert engine.peek("account/a") == Open(balance=2)
        assert _rows(store) == []
        gate.open()
        assert (await engine.read("account/a")).position == 3
    assert _rows(store) == ["account.credited", "account.debited", "limit.spent"]


async def test_every_answer_waits_for_the_position_it_was_decided_at(store: Store) -> None:
    gate = Gate()
    engine = open_engine(store, run_blocking=gate)
    order_of_answers: list[str] = []

    async def refused() -> None:
        with pytest.raises(ConflictError):
            await engine.submit("transfer/1", Recall())
        order_of_answers.append("refusal")

    async def asked(name: str, stream: str, input_: Input | None) -> None:
        await (engine.read(stream) if input_ is None else engine.submit(stream, input_))
        order_of_answers.append(name)

    async with running(engine, _never), anyio.create_task_group() as callers:
        callers.start_soon(asked, "work", "transfer/1", Begin(order=order()))
        await anyio.wait_all_tasks_blocked()
        callers.start_soon(asked, "join", "transfer/1", Begin(order=order()))
        callers.start_soon(asked, "read", "account/z", None)
        callers.start_soon(refused)
        callers.start_soon(engine.wait, "transfer/1", lambda state: isinstance(state, Sending))
        await anyio.wait_all_tasks_blocked()
        assert order_of_answers == []
        gate.open()
    assert sorted(order_of_answers) == ["join", "read", "refusal", "work"]


async def test_new_work_is_refused_when_the_journal_is_full_results_are_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.journal.QUEUE_ROWS_MAX", 2)
    gate, called = Gate(), anyio.Event()

    async def send(_effect: Send, _context: EffectContext) -> Input:
        await called.wait()
        return Sent()

    engine = open_engine(store, run_blocking=gate)
    engine.deliver("transfer/1", Begin(order=order()))
    async with running(engine, send):
        with pytest.raises(BusyError, match="nothing was begun"):
            await engine.submit("account/a", Credit(amount=1))
        for _ in range(5):
            engine.deliver("transfer/1", Noted(text="on its way"))
        gate.open()
        called.set()
        await engine.wait("transfer/1", lambda state: isinstance(state, Arrived))
        await engine.submit("account/a", Credit(amount=1))
    assert balances(engine) == {"a": -9, "b": 10, "c": 0}


async def test_big_queues_are_written_in_several_transactions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.journal.BATCH_ROWS_MAX", 4)
    batches: list[int] = []

    async def counted(call: object) -> None:
        before = store.head.position
        assert callable(call)
        call()
        batches.append(store.head.position - before)

    engine = open_engine(store, run_blocking=counted)
    for name in "1234":
        engine.deliver(f"transfer/{name}", Begin(order=order()))
    engine.deliver("account/a", Credit(amount=1))
    async with running(engine, _never):
        await engine.read("account/a")
    assert batches == [3, 3, 3, 4]


async def test_finished_streams_leave_memory_and_still_answer(store: Store) -> None:
    engine = open_engine(store)
    async with running(engine):
        await engine.submit("transfer/1", Begin(order=order()))
        arrived = Arrived(order=order())
        answer = await engine.wait("transfer/1", lambda state: state == arrived)
        assert answer.state == arrived
        await anyio.wait_all_tasks_blocked()
        assert "transfer/1" not in engine.open_streams()
        assert engine.jobs() == []
        assert (await engine.read("transfer/1")).state == arrived
        assert (await engine.submit("transfer/1", Begin(order=order()))).state == arrived
        assert "transfer/1" not in engine.open_streams()
    reopened = open_engine(store)
    assert reopened.peek("transfer/1") == arrived
    assert sorted(reopened.open_streams()) == ["account/a", "account/b", "limit/all"]


async def test_waiters_see_the_state_they_wait_for(store: Store) -> None:
    engine = open_engine(store)
    async with running(engine, _never), anyio.create_task_group() as callers:
        for _ in range(3):
            callers.start_soon(engine.wait, "account/a", lambda state: state.balance >= 2)
        await anyio.wait_all_tasks_blocked()
        await engine.submit("account/a", Credit(amount=1))
        await engine.submit("account/b", Credit(amount=1))
        await engine.submit("account/a", Credit(amount=1))
    assert engine._changed == {}


async def test_a_waiter_that_goes_away_leaves_nothing_behind(store: Store) -> None:
    engine = open_engine(store)
    async with running(engine), anyio.create_task_group() as callers:
        for _ in range(2):
            callers.start_soon(engine.wait, "transfer/unheard-of", lambda _state: False)
        await anyio.wait_all_tasks_blocked()
        assert list(engine._changed) == ["transfer/unheard-of"]
        callers.cancel_scope.cancel()
    assert engine._changed == {}


async def test_stopping_tells_everybody_who_waits(store: Store) -> None:
    engine = open_engine(store, run_blocking=Gate())
    told: list[str] = []

    async def caller(name: str) -> None:
        calls: dict[str, Callable[[], Awaitable[Answer]]] = {
            "submit": lambda: engine.submit("account/a", Credit(amount=1)),
            "wait": lambda: engine.wait("transfer/1", lambda state: isinstance(state, Arrived)),
        }
        with pytest.raises(UnavailableError, match="stopping"):
            await calls[name]()
        told.append(name)

    async with anyio.create_task_group() as callers, running(engine, _never):
        callers.start_soon(caller, "submit")
        callers.start_soon(caller, "wait")
        await anyio.wait_all_tasks_blocked()
    assert sorted(told) == ["submit", "wait"]
    assert _rows(store) == []
    with pytest.raises(UnavailableError):
        await engine.wait("transfer/1", lambda _state: False)
    with pytest.raises(UnavailableError):
        await engine.submit("account/a", Credit(amount=1))


async def test_a_commit_that_had_begun_is_finished_and_answered(store: Store) -> None:
    """Cancelling the engine while its worker thread commits loses neither the rows nor their answer."""
    began, finish = anyio.Event(), anyio.Event()

    async def slow(call: object) -> None:
        assert callable(call)
        with anyio.CancelScope(shield=True):
            began.set()
            await finish.wait()
            call()

    engine = open_engine(store, run_blocking=slow)
    answers: list[Answer] = []
    handlers: dict[type[Effect], Handler] = {Send: _never}

    async def caller() -> None:
        answers.append(await engine.submit("account/a", Credit(amount=1)))

    async with anyio.create_task_group() as callers, anyio.create_task_group() as engines:
        engines.start_soon(engine.run, handlers)
        callers.start_soon(caller)
        await began.wait()
        engines.cancel_scope.cancel()
        finish.set()
    assert answers == [Answer(Open(balance=1), 1)]
    assert _rows(store) == ["account.credited"]


async def test_observers_see_every_committed_step_once_in_order(store: Store) -> None:
    seen: list[int] = []
    gate = Gate()
    observers = (Observer(committed=lambda step: seen.append(step.row.position)),)
    engine = open_engine(store, run_blocking=gate, observers=observers)
    async with running(engine, _never):
        engine.deliver("transfer/1", Begin(order=order()))
        engine.deliver("account/a", Credit(amount=1))
        await anyio.wait_all_tasks_blocked()
        assert seen == []
        gate.open()
        await engine.read("account/a")
    assert seen == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "error", [BrokenPipeError("gone"), FatalError("broken"), ZeroDivisionError()]
)
async def test_an_observer_that_raises_ends_nothing_and_is_told(
    store: Store, error: Exception
) -> None:
    def raise_it(*_what: object) -> None:
        raise error

    async def fail_once(_effect: Send, context: EffectContext) -> Input:
        if not context.resumed:
            raise ValueError
        return Sent()

    heard: list[int | str | None] = []
    raising = Observer(raise_it, raise_it)
    hearing = Observer(
        lambda step: heard.append(step.row.position),
        lambda job, _error: heard.append(job.last_error),
    )
    engine = open_engine(store, observers=(raising, hearing))
    assert engine.observer_error is None
    async with running(engine, fail_once):
        await engine.submit("transfer/1", Begin(order=order()))
        await engine.wait("transfer/1", lambda state: isinstance(state, Arrived))
    assert heard == [1, 2, 3, "ValueError in Send", 4, 5]
    assert engine.observer_error == f"{type(error).__name__}: {error}"


def _failing_append(error: BaseException, *, after_writing: bool) -> type[Store]:
    class Failing(Store):
        def append(self, steps: object) -> None:
            if after_writing:
                super().append(steps)  # type: ignore[arg-type] # what it was called with
            raise error

    return Failing


async def test_a_commit_that_reports_failure_may_be_there_after_reopening(
    tmp_path: Path,
) -> None:
    open_store(tmp_path).close()
    for after_writing in (True, False):
        opened = open_store(tmp_path)
        opened.__class__ = _failing_append(FatalError("disk full"), after_writing=after_writing)
        engine = open_engine(opened)
        with pytest.raises(FatalError, match="disk full"):  # noqa: PT012 (it leaves with the block)
            async with running(engine, _never):
                with pytest.raises(UnavailableError):
                    await engine.submit("account/a", Credit(amount=1))
                await anyio.sleep_forever()
        opened.close()
    reopened = open_store(tmp_path)
    engine = open_engine(reopened)
    assert engine.peek("account/a") == Open(balance=1)
    async with running(engine, _never):
        assert (await engine.submit("account/a", Credit(amount=1))).position == 2
    reopened.close()


async def test_other_errors_leave_as_they_are(store: Store) -> None:
    async def broken(_call: Callable[[], None]) -> None:
        raise ZeroDivisionError

    engine = open_engine(store, run_blocking=broken)
    engine.deliver("account/a", Credit(amount=1))
    with pytest.raises(ExceptionGroup) as caught:
        await engine.run({})
    assert caught.group_contains(ZeroDivisionError)


async def test_what_is_decided_before_the_start_has_no_effect_before_its_commit(
    store: Store,
) -> None:
    calls: list[bool] = []

    async def send(_effect: Send, context: EffectContext) -> Input:
        calls.append(context.resumed)
        return Sent()

    gate = Gate()
    engine = open_engine(store, run_blocking=gate)
    engine.deliver("transfer/1", Begin(order=order()))
    async with running(engine, send):
        await anyio.wait_all_tasks_blocked()
        assert calls == []
        gate.open()
        await engine.wait("transfer/1", lambda state: isinstance(state, Arrived))
    assert calls == [False]


def _broken(*_args: object) -> Any:
    raise ZeroDivisionError


def _missing(_state: object, _input: object) -> Decision:
    raise NotFoundError("no such thing")


_RULES: dict[Any, Any] = dict(TRANSFER.rules)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"evolvers": dict.fromkeys(TRANSFER.evolvers, _broken)}, StreamFaultError),
        ({"wants_of": {Sending: _broken}}, StreamFaultError),
        ({"rules": {**_RULES, (Unborn, Begin): Handle(_missing, to=(Sending,))}}, NotFoundError),
    ],
)
async def test_a_decision_that_fails_half_way_changes_nothing(
    store: Store, changes: dict[str, Any], error: type[Exception]
) -> None:
    machines = Machines([ACCOUNT, LIMITS, replace(TRANSFER, **changes)])
    engine = _engine_of(store, machines)
    with pytest.raises(error):
        engine.deliver("transfer/1", Begin(order=order()))
    assert engine.open_streams() == {}
    async with running(engine, _never):
        with pytest.raises(error):
            await engine.submit("transfer/1", Begin(order=order()))
        assert (await engine.submit("account/a", Credit(amount=1))).position == 1


async def test_a_decision_that_the_table_forbids_changes_nothing(store: Store) -> None:
    rules = {**_RULES, (Unborn, Begin): Handle(begin, to=())}
    engine = _engine_of(store, Machines([ACCOUNT, LIMITS, replace(TRANSFER, rules=rules)]))
    async with running(engine, _never):
        with pytest.raises(StreamFaultError, match="which its table does not list"):
            await engine.submit("transfer/1", Begin(order=order()))
        assert engine.open_streams() == {}
        assert list(engine.faults.noted) == ["transfer/1"]
    assert list(store.rows()) == []


def _engine_of(store: Store, machines: Machines) -> Engine:
    return Engine(store, machines, Ports(SystemClock(), SystemRandomness()))


async def test_tells_in_a_circle_leave_nothing(store: Store) -> None:
    def again(_state: Open, input_: Debit) -> Decision:
        return Decision((Debited(amount=1),), (Tell("account/a", input_),))

    rules: dict[Any, Any] = dict(ACCOUNT.rules)
    rules[Open, Debit] = Handle(again, to=(Open,))
    engine = _engine_of(store, Machines([replace(ACCOUNT, rules=rules)]))
    with pytest.raises(StreamFaultError, match="circle at account/a"):
        engine.deliver("account/a", Debit(amount=1))
    assert engine.open_streams() == {}


async def test_streams_without_a_machine_are_refused(store: Store) -> None:
    engine = open_engine(store)
    with pytest.raises(FatalError, match="no machine for the stream ghost/1"):
        engine.peek("ghost/1")
    with pytest.raises(FatalError, match="two machines have the same kind"):
        Machines([ACCOUNT, ACCOUNT])


async def test_worker_threads_and_the_real_clock_do_the_same(store: Store) -> None:
    async def send(_effect: Send, _context: EffectContext) -> Input:
        return Sent()

    ports = Ports(SystemClock(), SystemRandomness())
    machines = Machines([ACCOUNT, LIMITS, TRANSFER])
    engine = Engine(store, machines, ports)
    async with running(engine, send):
        await engine.submit("transfer/1", Begin(order=order()))
        await engine.wait("transfer/1", lambda state: isinstance(state, Arrived))
    recorded = [chained.row.recorded_unix_us for chained in store.rows()]
    assert len(recorded) == 5
    assert min(recorded) > 1_600_000_000_000_000


async def test_a_tool_writes_what_it_decided_and_nothing_leaves(store: Store) -> None:
    engine = open_engine(store)
    engine.write_decided()
    engine.deliver("transfer/1", Begin(order=order(7)))
    engine.deliver("transfer/2", Begin(order=order(8)))
    assert _rows(store) == []
    engine.write_decided()
    assert _rows(store) == ["transfer.begun", "account.debited", "limit.spent"] * 2
    assert engine.jobs() == []
    assert await engine.read("transfer/1") == Answer(Sending(order=order(7)), 6)
    engine.write_decided()
    assert len(_rows(store)) == 6
