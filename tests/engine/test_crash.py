"""Crash at any point, reopen, go on: money is conserved, answers are kept, nothing leaves twice or too early."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.chain import verified
from engine.effects import EffectContext
from engine.engine import Engine
from engine.fold import Position, fold, steps
from engine.machine import Input
from engine.store import LOG_NAME, Store, open_reader, read_rows
from errors import BusyError, UnavailableError
from tests.engine.toy import (
    DISK,
    LIMIT,
    Arrived,
    Begin,
    Bounced,
    Crash,
    Open,
    Order,
    Returned,
    Send,
    Sending,
    Sent,
    Spending,
    machines,
    open_engine,
    open_store,
)


class Outside:
    """Where money is sent: it survives every crash, and it has no key, so each send counts."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.violations: list[str] = []

    def handler(self, store: Store) -> Callable[[Send, EffectContext], object]:
        """Amounts divisible by 2 bounce; of those divisible by 3 the first answer is lost."""

        async def send(effect: Send, context: EffectContext) -> Input:
            begun = store.query("SELECT 1 FROM log WHERE stream = ?", (context.stream,))
            if not begun:
                self.violations.append(f"{context.stream} left before its intent was durable")
            if self.sent[context.stream] and not context.resumed:
                self.violations.append(f"{context.stream} was not told that it may have left")
            if not self.sent[context.stream]:
                self.sent[context.stream] += 1
                await anyio.lowlevel.checkpoint()
                if effect.order.amount % 3 == 0:
                    raise UnavailableError("the answer was lost")
            await anyio.lowlevel.checkpoint()
            return Bounced(why="even") if effect.order.amount % 2 == 0 else Sent()

        return send


class Bench:
    """A log on disk, the outside, and what callers were told."""

    def __init__(self, directory: Path, backend: str) -> None:
        self.root = directory
        self.backend = backend
        self.directory = directory / "0"
        self.outside = Outside()
        self.acknowledged: dict[str, Order] = {}
        self.asked: dict[str, Order] = {}

    def session(self, orders: Sequence[tuple[str, Order]], crash_at: int | None = None) -> bool:
        """Open, submit all orders at once, wait until all is done; True when it crashed on the way."""
        store = open_store(self.directory)
        calls = 0

        def probe(_point: str) -> None:
            nonlocal calls
            calls += 1
            if calls == crash_at:
                raise Crash

        send = self.outside.handler(store)
        engine = open_engine(store, send, probe=probe)  # type: ignore[arg-type] # a handler
        crashed = False
        try:
            anyio.run(self._work, engine, orders, backend=self.backend)
        except BaseExceptionGroup as group:
            if group.split(Crash)[1] is not None:
                raise
            crashed = True
            self._move_to_what_the_crash_left()
        store.close()
        return crashed

    async def _work(self, engine: Engine, orders: Sequence[tuple[str, Order]]) -> None:
        async with anyio.create_task_group() as tasks:
            await tasks.start(engine.run)
            async with anyio.create_task_group() as callers:
                for stream, order in orders:
                    callers.start_soon(self._caller, engine, stream, order)
            for stream in sorted(engine.open_streams()):
                if stream.startswith("transfer/"):
                    with suppress(UnavailableError):
                        await engine.wait(stream, machines().of(stream).is_final)
            tasks.cancel_scope.cancel()

    async def _caller(self, engine: Engine, stream: str, order: Order) -> None:
        order = self.asked.setdefault(stream, order)
        try:
            await engine.submit(stream, Begin(order=order))
        except (BusyError, UnavailableError):
            return
        self.acknowledged[stream] = order

    def _move_to_what_the_crash_left(self) -> None:
        """Files as they are now, without what closing them in order would still do."""
        left = self.root / str(int(self.directory.name) + 1)
        shutil.copytree(self.directory, left)
        self.directory = left

    def check(self) -> dict[str, Position]:
        """Compare the log with a model of ten lines."""
        if not (self.directory / LOG_NAME).exists():
            return {}
        reader = open_reader(self.directory / LOG_NAME)
        states = fold(machines(), verified(read_rows(reader)), keep_final=True)
        reader.close()
        expected, begun = Counter[str](), 0
        transfers = {s: p.state for s, p in states.items() if s.startswith("transfer/")}
        for state in transfers.values():
            assert isinstance(state, Sending | Arrived | Returned)
            begun += state.order.amount
            if not isinstance(state, Returned):
                expected[state.order.source] -= state.order.amount
            if isinstance(state, Arrived):
                expected[state.order.target] += state.order.amount
        for stream, position in states.items():
            if isinstance(position.state, Open):
                assert position.state.balance == expected[stream.removeprefix("account/")]
            if isinstance(position.state, Spending):
                assert position.state.total == begun <= LIMIT
        assert set(self.acknowledged) <= set(transfers) <= set(self.asked)
        assert all(self.outside.sent[s] == 1 for s in transfers if s in self.outside.sent)
        assert set(self.outside.sent) <= set(transfers)
        assert self.outside.violations == []
        return states

    def check_settled(self) -> None:
        """Nothing is open, and the tables equal the log."""
        for stream, position in self.check().items():
            assert not isinstance(position.state, Sending), stream
        store = open_store(self.directory)
        before = store.query("SELECT * FROM stream ORDER BY stream")
        store.rebuild(store.read_models, steps(machines(), verified(store.rows())))
        assert store.query("SELECT * FROM stream ORDER BY stream") == before
        store.close()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_crash_at_every_single_point(backend: str) -> None:
    orders = [(f"transfer/{n}", Order("a", "b", amount)) for n, amount in enumerate((1, 2, 3, 6))]
    crashes = 0
    crashed = True
    while crashed:
        with tempfile.TemporaryDirectory(dir=DISK) as directory:
            bench = Bench(Path(directory), backend)
            crashed = bench.session([*orders, orders[0]], crash_at=crashes + 1)
            bench.check()
            bench.session([])
            bench.check_settled()
        crashes += crashed
    # Every event has a point before and after its commit, every effect one before and after its call.
    assert crashes >= 2 * (4 * 3 + 4 * 2) + 2 * 4


class Transfers(RuleBasedStateMachine):
    """Sessions with new and repeated orders, crashes anywhere in them, crashes while recovering."""

    backend = "trio"

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(dir=DISK)
        self.bench = Bench(Path(self._folder.name), self.backend)

    orders = st.lists(
        st.tuples(
            st.sampled_from([f"transfer/{n}" for n in range(8)]),
            st.builds(Order, st.sampled_from("abc"), st.sampled_from("abc"), st.integers(1, 300)),
        ),
        max_size=6,
    )

    @rule(orders=orders, crash_at=st.none() | st.integers(1, 40))
    def work(self, orders: list[tuple[str, Order]], crash_at: int | None) -> None:
        crashed = self.bench.session(orders, crash_at)
        assert not crashed or crash_at is not None

    @precondition(lambda self: self.bench.asked)
    @rule(crash_at=st.integers(1, 10))
    def recover_and_crash_again(self, crash_at: int) -> None:
        self.bench.session([], crash_at)

    @rule()
    def settle(self) -> None:
        assert not self.bench.session([])
        self.bench.check_settled()

    @invariant()
    def money_is_conserved(self) -> None:
        self.bench.check()

    def teardown(self) -> None:
        self.settle()
        self._folder.cleanup()


class TransfersOnAsyncio(Transfers):
    backend = "asyncio"


_SETTINGS = settings(max_examples=40, stateful_step_count=12, deadline=None)
TestTransfers = Transfers.TestCase
TestTransfers.settings = _SETTINGS
TestTransfersOnAsyncio = TransfersOnAsyncio.TestCase
TestTransfersOnAsyncio.settings = _SETTINGS
