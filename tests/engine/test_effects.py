"""Effects start after the commit, end when unwanted, are retried, and contain errors."""

from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from engine.effects import (
    BACKOFF_FIRST_S,
    BACKOFF_LONGEST_S,
    EffectContext,
    Effects,
    JobStatus,
    fatal_in,
)
from engine.engine import Engine, Observer, Ports
from engine.fold import Machines
from engine.machine import Input, Refuse
from engine.ports import inline, no_probe
from engine.storage.errors import StorageError
from engine.storage.store import Store
from errors import FatalError, OutdatedError, UnavailableError
from tests.engine.toy import (
    ACCOUNT,
    LIMITS,
    TRANSFER,
    Again,
    Arrived,
    Begin,
    Bounced,
    Credit,
    FixedRandomness,
    Gate,
    Noted,
    Send,
    Sending,
    Sent,
    StepClock,
    balances,
    open_engine,
    order,
    running,
)

pytestmark = pytest.mark.anyio


class Handlers:
    """A handler of `Send` that tells what became of each call, and ends when told."""

    def __init__(self) -> None:
        self.began: list[tuple[int, bool]] = []
        self.cancelled: list[int] = []
        self.go_on = anyio.Event()

    async def send(self, effect: Send, context: EffectContext) -> Input | None:
        self.began.append((effect.attempt, context.resumed))
        try:
            await self.go_on.wait()
        except BaseException:
            self.cancelled.append(effect.attempt)
            raise
        return Sent()


async def _ended(engine: Engine, stream: str = "transfer/1") -> object:
    return (await engine.wait(stream, TRANSFER.is_final)).state


async def test_an_effect_leaves_only_after_its_commit(store: Store) -> None:
    handlers, gate = Handlers(), Gate()
    engine = open_engine(store, run_blocking=gate)
    async with running(engine, handlers.send):
        engine.deliver("transfer/1", Begin(order=order()))
        await anyio.wait_all_tasks_blocked()
        assert handlers.began == []
        gate.open()
        await engine.read("transfer/1")
        await anyio.wait_all_tasks_blocked()
        assert handlers.began == [(1, False)]
        assert engine.jobs() == [
            JobStatus("transfer/1", "send", "Send", 1_700_000_000_000_000, 1, None)
        ]


async def test_an_equal_effect_goes_on_and_another_replaces_it(store: Store) -> None:
    handlers = Handlers()
    engine = open_engine(store)
    async with running(engine, handlers.send):
        await engine.submit("transfer/1", Begin(order=order()))
        await engine.submit("transfer/1", Noted(text="still on its way"))
        await anyio.wait_all_tasks_blocked()
        assert (handlers.began, handlers.cancelled) == ([(1, False)], [])
        await engine.submit("transfer/1", Again())
        await anyio.wait_all_tasks_blocked()
        assert (handlers.began, handlers.cancelled) == ([(1, False), (2, False)], [1])
        await engine.submit("transfer/1", Bounced(why="no"))
        await anyio.wait_all_tasks_blocked()
        assert handlers.cancelled == [1, 2]
        assert engine.jobs() == []


async def test_an_effect_ended_and_still_wanted_is_not_begun_again(store: Store) -> None:
    calls: list[int] = []

    async def send(effect: Send, _context: EffectContext) -> None:
        calls.append(effect.attempt)

    engine = open_engine(store)
    async with running(engine, send):
        await engine.submit("transfer/1", Begin(order=order()))
        await anyio.wait_all_tasks_blocked()
        await engine.submit("transfer/1", Noted(text="hm"))
        await anyio.wait_all_tasks_blocked()
        assert (calls, engine.jobs()) == ([1], [])


async def test_what_was_wanted_when_the_process_ended_is_resumed(store: Store) -> None:
    handlers = Handlers()
    for expected in ([(1, False)], [(1, True)]):
        handlers = Handlers()
        engine = open_engine(store)
        async with running(engine, handlers.send):
            await engine.submit("transfer/1", Begin(order=order()))
            await anyio.wait_all_tasks_blocked()
        assert handlers.began == expected
    handlers.go_on.set()
    engine = open_engine(store)
    async with running(engine, handlers.send):
        assert await _ended(engine) == Arrived(order=order())


async def test_failures_are_retried_with_backoff_and_seen(store: Store) -> None:
    resumed: list[bool] = []
    seen: list[tuple[int, str | None]] = []
    clock = StepClock()

    async def send(_effect: Send, context: EffectContext) -> Input:
        resumed.append(context.resumed)
        if len(resumed) <= 5:
            raise UnavailableError("the other side is away")
        if len(resumed) <= 10:
            raise ZeroDivisionError
        return Sent()

    def failed(status: JobStatus, error: Exception) -> None:
        assert isinstance(error, UnavailableError | ZeroDivisionError)
        seen.append((status.tries, status.last_error))

    engine = open_engine(store, clock=clock, observers=(Observer(effect_failed=failed),))
    async with running(engine, send):
        await engine.submit("transfer/1", Begin(order=order()))
        await _ended(engine)
    assert resumed == [False] + [True] * 10
    assert seen == [(n, "the other side is away") for n in range(1, 6)] + [
        (n, "ZeroDivisionError in Send") for n in range(6, 11)
    ]
    assert clock.slept_s[0] == pytest.approx(BACKOFF_FIRST_S * 0.75, rel=0.01)
    assert clock.slept_s == sorted(clock.slept_s)
    assert clock.slept_s[-1] == pytest.approx(BACKOFF_LONGEST_S * 0.75, rel=0.01)


async def test_one_failing_effect_stops_no_other(store: Store) -> None:
    async def send(effect: Send, _context: EffectContext) -> Input:
        if effect.order.target == "b":
            await anyio.lowlevel.checkpoint()
            raise KeyError("b")
        return Sent()

    clock = StepClock()
    engine = open_engine(store, clock=clock)
    async with running(engine, send):
        await engine.submit("transfer/1", Begin(order=order()))
        await engine.submit("transfer/2", Begin(order=order(target="c")))
        assert await _ended(engine, "transfer/2") == Arrived(order=order(target="c"))
        assert isinstance(engine.peek("transfer/1"), Sending)


async def test_a_refused_result_is_contained_seen_and_handed_in_again(store: Store) -> None:
    """The handler is not called again: what it brought is a fact."""
    calls: list[int] = []
    clock = StepClock()
    refusing: dict[Any, Any] = dict(TRANSFER.rules)
    refusing[Sending, Sent] = Refuse("not now", UnavailableError)
    machines = Machines([ACCOUNT, LIMITS, replace(TRANSFER, rules=refusing)])

    async def send(effect: Send, _context: EffectContext) -> Input:
        calls.append(effect.attempt)
        return Sent()

    ports = Ports(clock, FixedRandomness(), inline)
    engine = Engine(store, machines, ports)
    async with running(engine, send):
        await engine.submit("transfer/1", Begin(order=order()))
        while len(clock.slept_s) < 3:
            await anyio.lowlevel.checkpoint()
        (job,) = engine.jobs()
        assert (job.tries, job.last_error) == (1, "not now")
        assert calls == [1]
        await engine.submit("transfer/1", Bounced(why="given up"))
        assert balances(engine) == {"a": 0, "b": 0, "c": 0}
        await anyio.wait_all_tasks_blocked()
        assert engine.jobs() == []


async def test_a_result_too_old_to_decide_on_is_brought_anew(store: Store) -> None:
    """Also one that became old while it was refused for another reason."""
    calls: list[bool] = []
    refusals = [UnavailableError("not now"), OutdatedError("asked an hour ago")]
    clock = StepClock()

    async def send(_effect: Send, context: EffectContext) -> Input:
        calls.append(context.resumed)
        return Sent()

    def ask(_stream: str, input_: Input) -> Input:
        if isinstance(input_, Sent) and refusals:
            raise refusals.pop(0)
        return input_

    failed: list[tuple[int, str]] = []
    engine = Engine(
        store,
        Machines([ACCOUNT, LIMITS, TRANSFER]),
        Ports(clock, FixedRandomness(), inline),
        (Observer(effect_failed=lambda job, error: failed.append((job.tries, str(error)))),),
        conditions=ask,
    )
    async with running(engine, send):
        await engine.submit("transfer/1", Begin(order=order()))
        assert await _ended(engine) == Arrived(order=order())
    assert calls == [False, True]
    assert failed == [(1, "not now"), (1, "asked an hour ago")]
    assert clock.slept_s == [pytest.approx(BACKOFF_FIRST_S * 0.75, rel=0.01)] * 2


async def test_a_late_result_of_one_attempt_is_none_of_the_next(store: Store) -> None:
    """Between a decision and its commit the old handler still runs: what it brings then is dropped."""
    handlers, gate = Handlers(), Gate()
    gate.open()
    engine = open_engine(store, run_blocking=gate)
    async with running(engine, handlers.send):
        await engine.submit("transfer/1", Begin(order=order()))
        await anyio.wait_all_tasks_blocked()
        gate.close()
        engine.deliver("transfer/1", Again())
        handlers.go_on.set()
        await anyio.wait_all_tasks_blocked()
        assert engine.peek("transfer/1") == Sending(order=order(), attempt=2)
        assert handlers.began == [(1, False)]
        gate.open()
        assert await _ended(engine) == Arrived(order=order())
    assert handlers.began == [(1, False), (2, False)]


async def test_reports_are_inputs_before_the_end(store: Store) -> None:
    async def send(_effect: Send, context: EffectContext) -> Input:
        context.report(Noted(text="left the house"))
        return Sent()

    engine = open_engine(store)
    async with running(engine, send):
        await engine.submit("transfer/1", Begin(order=order()))
        await _ended(engine)
    kinds = [chained.row.kind for chained in store.rows() if chained.row.stream == "transfer/1"]
    assert kinds == ["transfer.begun", "transfer.seen", "transfer.delivered"]


async def test_a_handler_that_outlives_its_cancellation_is_not_heard(store: Store) -> None:
    swallowed = anyio.Event()

    async def send(effect: Send, context: EffectContext) -> Input | None:
        if effect.attempt > 1:
            return None
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            context.report(Noted(text="too late"))
            swallowed.set()
            return Sent()
        return None

    engine = open_engine(store)
    async with running(engine, send):
        await engine.submit("transfer/1", Begin(order=order()))
        await anyio.wait_all_tasks_blocked()
        await engine.submit("transfer/1", Again())
        await swallowed.wait()
        await anyio.wait_all_tasks_blocked()
        assert engine.peek("transfer/1") == Sending(order=order(), attempt=2)


async def test_what_one_batch_wants_and_unwants_never_leaves(store: Store) -> None:
    handlers, gate = Handlers(), Gate()
    engine = open_engine(store, run_blocking=gate)
    async with running(engine, handlers.send):
        engine.deliver("account/a", Credit(amount=1))
        await anyio.wait_all_tasks_blocked()
        engine.deliver("transfer/1", Begin(order=order()))
        engine.deliver("transfer/1", Bounced(why="at once"))
        gate.open()
        await engine.read("transfer/1")
        await anyio.wait_all_tasks_blocked()
        assert handlers.began == []


async def _raise_of_storage(_effect: Send, _context: EffectContext) -> Input:
    raise ExceptionGroup("tasks", [FatalError("something else"), StorageError("the disk failed")])


async def test_an_error_of_storage_leaves_run(store: Store) -> None:
    engine = open_engine(store)
    with pytest.raises(StorageError, match="disk"):  # noqa: PT012 (it leaves with the block)
        async with running(engine, _raise_of_storage):
            await engine.submit("transfer/1", Begin(order=order()))
            await anyio.sleep_forever()


async def _cancelled_by_somebody(_effect: Send, _context: EffectContext) -> Input | None:
    raise anyio.get_cancelled_exc_class()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancellation_that_no_scope_asked_for_is_fatal(store: Store) -> None:
    """On asyncio libraries raise it on their own; it ends all tasks of a group without an error."""
    engine = open_engine(store)
    with pytest.raises(FatalError, match="a background task stopped"):  # noqa: PT012 (it leaves with the block)
        async with running(engine, _cancelled_by_somebody):
            await engine.submit("transfer/1", Begin(order=order()))
            await anyio.sleep_forever()


def test_fatal_errors_are_found_in_groups() -> None:
    fatal = FatalError("x")
    assert fatal_in(BaseExceptionGroup("", [KeyError(), ExceptionGroup("", [fatal])])) is fatal
    assert fatal_in(ExceptionGroup("", [KeyError()])) is None
    assert fatal_in(KeyError()) is None


async def test_wanted_again_after_not_wanted_may_have_left_before() -> None:
    """An equal effect that had been tried carries `resumed`; a different one under its key does not."""
    handlers = Handlers()
    effects = Effects(
        clock=StepClock(),
        randomness=FixedRandomness(),
        probe=no_probe,
        wanted=lambda _stream: {},
        deliver=lambda _stream, _input: None,
        faulted=lambda _stream, _where, _error: None,
        failed=lambda _status, _error: None,
    )
    effects.handlers = {Send: handlers.send}
    one, two = Send(order=order(), attempt=1), Send(order=order(), attempt=2)
    async with anyio.create_task_group() as tasks:
        for wanted in ({"send": one}, {}, {"send": one}, {"send": two}, {}):
            effects.reconcile(tasks, "transfer/1", wanted)
            await anyio.wait_all_tasks_blocked()
        effects.reconcile(tasks, "transfer/1", {"send": one})
        effects.reconcile(tasks, "transfer/1", {})
        effects.forget("transfer/1")
        effects.reconcile(tasks, "transfer/1", {"send": two})
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert handlers.began == [(1, False), (1, True), (2, False), (2, False)]
    assert list(effects._left) == []
