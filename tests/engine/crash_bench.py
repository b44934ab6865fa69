"""Sessions of the toy machines that die and continue, and the checks of what they leave behind."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio

from engine.chain import verified
from engine.effects import EffectContext, Handler
from engine.engine import Engine
from engine.fold import Position, fold, steps
from engine.machine import Effect, Input
from engine.storage.rows import LOG_NAME, open_reader, read_rows
from engine.storage.store import Store
from errors import BusyError, UnavailableError
from tests.engine.toy import (
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

    def handlers(self, store: Store) -> Mapping[type[Effect], Handler]:
        """Amounts divisible by 2 bounce; of those divisible by 3 the first answer is lost."""

        async def send(effect: Send, context: EffectContext) -> Input:
            # Asked twice, since on a faulty disk one read may bring nothing.
            if not (store.indexed_version(context.stream) or list(store.rows_of(context.stream))):
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

        return {Send: send}


class Bench:
    """A log on disk, the outside, and what callers were told."""

    #: The errors that a session may end with.
    deaths: type[BaseException] = Crash

    def __init__(self, directory: Path, backend: str) -> None:
        self.root = directory
        self.backend = backend
        self.directory = directory / "0"
        self.outside = Outside()
        self.acknowledged: dict[str, Order] = {}
        self.asked: dict[str, Order] = {}

    def session(self, orders: Sequence[tuple[str, Order]], crash_at: int | None = None) -> bool:
        """Open, submit all orders at once, wait until all is done; True when it died on the way."""
        calls = 0

        def probe(_point: str) -> None:
            nonlocal calls
            calls += 1
            if calls == crash_at:
                raise Crash

        died = False
        store: Store | None = None
        try:
            store = open_store(self.directory)
            engine = open_engine(store, probe=probe)
            handlers = self.outside.handlers(store)
            anyio.run(self._work, engine, handlers, orders, backend=self.backend)
        except* self.deaths as group:
            died = True
            self.died_of(group)
            self.move_to_what_is_left()
        finally:
            if store is not None:
                self.close(store)
        return died

    async def _work(
        self,
        engine: Engine,
        handlers: Mapping[type[Effect], Handler],
        orders: Sequence[tuple[str, Order]],
    ) -> None:
        async with anyio.create_task_group() as tasks:
            await tasks.start(engine.run, handlers)
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

    def died_of(self, group: BaseExceptionGroup[BaseException]) -> None:
        """Hear of the end of a session."""

    def close(self, store: Store) -> None:
        """End the process; by now that changes nothing of what a crash has left."""
        store.close()

    def move_to_what_is_left(self) -> None:
        """Go on with the files as they are now, without what closing them in order would still do."""
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
        before = store.query("SELECT * FROM stream ORDER BY id")
        store.rebuild(store.read_models, steps(machines(), verified(store.rows())))
        assert store.query("SELECT * FROM stream ORDER BY id") == before
        store.close()
