"""The engine: decides in memory, journals in groups, releases answers and effects after the commit.

All live state is owned here and touched by one event loop only; a decision is synchronous, so decisions are in one
order, the order of the log. A decision may rest on one that is not durable yet: commits are prefixes of that
order, and every answer waits for the position it was decided at.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio
import anyio.abc
import msgspec

from engine.chain import Row, verified
from engine.effects import Effects, Handler, JobStatus, fatal_in
from engine.events import EncodedEvent, Event
from engine.fold import Machines, Position, fold, steps
from engine.journal import Append, Journal
from engine.machine import Effect, Input, State
from engine.ports import Clock, Probe, Randomness, RunBlocking, in_thread, no_probe
from engine.storage_errors import DamagedError
from engine.store import Store, StoredStep
from errors import FatalError, GatewayError, UnavailableError

#: How deep a tell may lead to further tells; deeper is a loop between machines.
TELL_DEPTH_MAX = 8


class Answer(msgspec.Struct, frozen=True):
    """What a caller learns: the stream's state, and the position at which it was true (durable by now)."""

    state: State
    position: int


@dataclass(frozen=True, slots=True)
class Ports:
    """The world as this engine sees it."""

    clock: Clock
    randomness: Randomness
    run_blocking: RunBlocking = in_thread
    probe: Probe = no_probe


@dataclass(frozen=True, slots=True)
class Observers:
    """Listeners that only look: every committed step, every contained failure of an effect.

    What they raise ends nothing.
    """

    committed: Callable[[StoredStep], None] = lambda _step: None
    effect_failed: Callable[[JobStatus, Exception], None] = lambda _status, _error: None


Conditions = Callable[[str, Input], Input]
"""Asked in the very step that decides, of every input from outside: what must hold at that moment.

Given the stream and the input, they return the input with what they found, or raise the error with which it is refused.
They are synchronous, so nothing can happen between their answer and the decision.
"""


def no_conditions(_stream: str, input_: Input) -> Input:
    """Decide on every input as it comes."""
    return input_


class _Plan:
    """Events decided so far in one append, and the states they lead to; memory is untouched until it is whole."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, EncodedEvent, Event, State]] = []
        self.states: dict[str, tuple[State, int]] = {}


class Engine:
    """One log and all machines on it."""

    def __init__(
        self,
        store: Store,
        machines: Machines,
        handlers: Mapping[type[Effect], Handler],
        ports: Ports,
        observers: Observers | None = None,
        *,
        conditions: Conditions = no_conditions,
    ) -> None:
        """Verify the chain, replay the log into memory, and rebuild outdated read models.

        Raises FatalError when the log is damaged or not readable by this program. No effect runs before `run`.
        """
        self._store = store
        self._machines = machines
        self._clock = ports.clock
        self._observers = observers or Observers()
        #: What an observer raised last; None as long as none did.
        self.observer_error: str | None = None
        self._conditions = conditions
        self._live: dict[str, Position] = {}
        replayed = steps(machines, verified(store.rows()), self._live, keep_final=False)
        outdated = store.outdated_read_models()
        if outdated:
            store.rebuild(outdated, replayed)
        # The log is read once: after a rebuild no row is left.
        for _ in replayed:
            pass
        #: What is wanted after replay; what is decided before `run` must first become durable.
        self._resumable = {s: machines.of(s).wants(p.state) for s, p in self._live.items()}
        self._journal = Journal(store, ports.run_blocking, ports.probe)
        self._decided = store.head.position
        self._changed: dict[str, anyio.Event] = {}
        self._tasks: anyio.abc.TaskGroup | None = None
        self._stopped = False
        self._failure: FatalError | None = None
        self._failed = anyio.Event()
        store.failed = self._fail
        self._effects = Effects(
            handlers,
            clock=ports.clock,
            randomness=ports.randomness,
            probe=ports.probe,
            wanted=lambda stream: machines.of(stream).wants(self.peek(stream)),
            deliver=self.deliver,
            failed=lambda status, error: self._show(self._observers.effect_failed, status, error),
        )

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Resume the effects of all open machines, then journal until cancelled.

        Any error at commit, any FatalError of a handler or of a decision, and any read of the log that failed leaves
        here as FatalError; the process must then end.
        """
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._journal.write, self._committed)
                tasks.start_soon(self._end_on_failure)
                for stream, wanted in self._resumable.items():
                    self._effects.reconcile(tasks, stream, wanted, resumed=True)
                self._resumable.clear()
                task_status.started()
            raise FatalError("a task that was not asked to end has ended the engine's: start again")
        except BaseExceptionGroup as group:
            fatal = fatal_in(group)
            if fatal is None:
                raise
            raise fatal from group
        finally:
            self._stopped = True
            for changed in self._changed.values():
                changed.set()

    async def submit(self, stream: str, input_: Input) -> Answer:
        """Decide new work and wait until it is durable.

        Raises BusyError when the journal is full, and whatever conditions or machines refuse the input with.
        """
        self._journal.check_room()
        try:
            self.deliver(stream, input_)
        except FatalError:
            raise
        except GatewayError:
            # A refusal is an answer too, and may rest on decisions that are not durable yet.
            await self._journal.wait_durable(self._decided)
            raise
        return await self.read(stream)

    def deliver(self, stream: str, input_: Input) -> None:
        """Decide an input of work already accepted, without waiting for the disk.

        Either all of its events, on all streams, enter memory and journal, or none does and the error is raised.
        """
        plan = _Plan()
        try:
            self._decide(plan, stream, self._conditions(stream, input_), depth=0)
        except FatalError as error:
            self._fail(error)
            raise
        if plan.events:
            self._adopt(plan)

    def write_decided(self) -> None:
        """Write what was decided before `run`, for tools that start nothing: no effect leaves.

        Raises FatalError as every commit does.
        """
        self._journal.flush()

    async def read(self, stream: str) -> Answer:
        """The stream's state, once everything decided before this moment is durable."""
        state, decided = self._load(stream)[0], self._decided
        await self._journal.wait_durable(decided)
        return Answer(state, decided)

    async def wait(self, stream: str, until: Callable[[State], bool]) -> Answer:
        """The stream's state once `until` holds of it and is durable.

        Raises UnavailableError when the engine stops first.
        """
        while not until(self._load(stream)[0]):
            if self._stopped:
                raise UnavailableError("the gateway is stopping; ask again when it is back")
            await self._change_of(stream)
        return await self.read(stream)

    def peek(self, stream: str) -> State:
        """The stream's state as decided, perhaps not durable yet. For decisions inside, never for answers."""
        return self._load(stream)[0]

    def open_streams(self) -> dict[str, State]:
        """Every stream that is not finished, with its state."""
        return {stream: position.state for stream, position in self._live.items()}

    def jobs(self) -> list[JobStatus]:
        """Every effect that runs now."""
        return self._effects.statuses()

    async def _change_of(self, stream: str) -> None:
        changed = self._changed.setdefault(stream, anyio.Event())
        try:
            await changed.wait()
        finally:
            if self._changed.get(stream) is changed and not changed.statistics().tasks_waiting:
                del self._changed[stream]

    def _load(self, stream: str) -> tuple[State, int]:
        live = self._live.get(stream)
        if live is not None:
            return live.state, live.version
        try:
            return self._stored(stream)
        except FatalError as error:
            self._fail(error)
            raise

    def _stored(self, stream: str) -> tuple[State, int]:
        """A stream that is out of memory, so finished or new. The log says which.

        Its rows are chained, but nothing in them says that one is missing: the index of streams must agree.
        """
        rows = self._store.rows_of(stream)
        finished = fold(self._machines, rows, keep_final=True).get(stream)
        version = finished.version if finished is not None else 0
        if self._store.indexed_version(stream) not in {version, None}:
            raise DamagedError(f"the log does not bring what it has of {stream}")
        if finished is not None:
            return finished.state, version
        return self._machines.of(stream).initial, 0

    def _fail(self, error: FatalError) -> None:
        """Whoever met the error hears of it, too; it may be a caller, whose answer it is."""
        self._failure = self._failure or error
        self._failed.set()

    async def _end_on_failure(self) -> None:
        await self._failed.wait()
        assert self._failure is not None
        raise self._failure

    def _decide(self, plan: _Plan, stream: str, input_: Input, depth: int) -> None:
        if depth > TELL_DEPTH_MAX:
            raise FatalError(f"tells run in a circle at {stream}")
        machine = self._machines.of(stream)
        before, version = plan.states.get(stream) or self._load(stream)
        decision = machine.decide(before, input_)
        state = before
        for event in decision.events:
            version += 1
            state = machine.evolve(state, event)
            plan.events.append((stream, version, self._machines.codec.encode(event), event, state))
        machine.check_step(before, input_, state)
        plan.states[stream] = (state, version)
        for tell in decision.tells:
            self._decide(plan, tell.stream, tell.input, depth + 1)

    def _adopt(self, plan: _Plan) -> None:
        first, now = self._decided + 1, self._clock.now_unix_us()
        stored = []
        for offset, (stream, version, encoded, event, state) in enumerate(plan.events):
            row = Row(first + offset, first, stream, version, encoded, self._store.epoch, now)
            stored.append(StoredStep(row, event, state, self._machines.of(stream).is_final(state)))
        newest = {step.row.stream: step for step in stored}
        wants = {s: self._machines.of(s).wants(step.state) for s, step in newest.items()}
        # Memory changes only from here on, where nothing can fail any more.
        self._decided = stored[-1].row.position
        self._journal.add(Append(tuple(stored), wants))
        for stream, step in newest.items():
            self._live[stream] = Position(step.state, step.row.version, step.row.position)
            changed = self._changed.pop(stream, None)
            if changed is not None:
                changed.set()

    def _show(self, observer: Callable[..., None], *what: object) -> None:
        try:
            observer(*what)
        except Exception as error:  # noqa: BLE001 (who only looks decides nothing, also not that all ends)
            self.observer_error = f"{type(error).__name__}: {error}"

    def _committed(self, append: Append) -> None:
        assert self._tasks is not None
        for step in append.steps:
            self._show(self._observers.committed, step)
            live = self._live.get(step.row.stream)
            if step.final and live is not None and live.position == step.row.position:
                del self._live[step.row.stream]
        for stream, wanted in append.wants.items():
            self._effects.reconcile(self._tasks, stream, wanted)
        for step in append.steps:
            if step.final:
                self._effects.forget(step.row.stream)
