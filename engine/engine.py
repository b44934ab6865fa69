"""The engine: decides in memory, journals in groups, releases answers and effects after the commit.

All live state is owned here and touched by one event loop only; a decision is synchronous, so decisions are in one
order, the order of the log. A decision may rest on one that is not durable yet: commits are prefixes of that
order, and every answer waits for the position it was decided at.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import anyio
import anyio.abc
import msgspec

from engine import quarantine
from engine.chain import Row, StoredStep, verified
from engine.effects import Effects, Handler, JobStatus, fatal_in
from engine.faults import Faults, known
from engine.fold import Machines, Position, fold, steps
from engine.journal import Append, Journal
from engine.machine import Effect, Input, State
from engine.plan import Plan
from engine.ports import Clock, Probe, Randomness, RunBlocking, in_thread, no_probe
from engine.quarantine import QuarantinedError, StreamFaultError, fault_text
from engine.storage.errors import DamagedError, StorageError
from engine.storage.history import HistoryCheck
from engine.storage.store import Store
from errors import FatalError, GatewayError, NotFoundError, UnavailableError


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
class Observer:
    """One that only looks: at every committed step, at every contained failure of an effect.

    What it raises ends nothing, and the observers after it still hear.
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


class Engine:
    """One log and all machines on it."""

    def __init__(
        self,
        store: Store,
        machines: Machines,
        ports: Ports,
        observers: Sequence[Observer] = (),
        *,
        conditions: Conditions = no_conditions,
    ) -> None:
        """Bring what is open into memory; read the whole log only to rebuild outdated read models.

        Raises FatalError when the log is damaged or not readable by this program. No effect runs before `run`.
        """
        self._store = store
        self._machines = machines
        self._clock = ports.clock
        self._observers = tuple(observers)
        #: What an observer raised last; None as long as none did.
        self.observer_error: str | None = None
        self._conditions = conditions
        self._live: dict[str, Position] = {}
        self.faults = Faults(self._live)
        self._replay()
        self._journal = Journal(store, ports.run_blocking, ports.probe)
        self._history = HistoryCheck(store, ports.run_blocking, ports.clock)
        self._decided = store.head.position
        self._changed: dict[str, anyio.Event] = {}
        self._tasks: anyio.abc.TaskGroup | None = None
        self._stopped = False
        #: Streams of which a quarantine was lifted and whose effects have not begun anew yet.
        self._lifted: set[str] = set()
        self._failure: FatalError | None = None
        self._failed = anyio.Event()
        store.failed = self._fail
        self._effects = Effects(
            clock=ports.clock,
            randomness=ports.randomness,
            probe=ports.probe,
            wanted=lambda stream: self._wanted(stream, self.peek(stream)),
            deliver=self.deliver,
            faulted=self.quarantine,
            failed=self._effect_failed,
        )
        #: Streams of the log that fail at telling what they want.
        self._unclear: dict[str, Exception] = {}
        #: What is wanted after replay; what is decided before `run` must first become durable.
        self._resumable = self._wanted_after_replay()

    async def run(
        self,
        handlers: Mapping[type[Effect], Handler],
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Resume the effects of all open machines with these handlers, then journal until cancelled.

        Any error at commit and any read of the log that failed leaves here as FatalError; the process must then end.
        """
        self._effects.handlers = handlers
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._journal.write, self._committed)
                tasks.start_soon(self._end_on_failure)
                tasks.start_soon(self._history.run)
                for record, fact in self.faults.unrecorded():
                    self.deliver(record, fact)
                for stream, error in self._unclear.items():
                    self.quarantine(stream, "what it wants done", error)
                for stream, wanted in self._resumable.items():
                    now = {} if self.faults.is_quarantined(stream) else wanted
                    self._effects.reconcile(tasks, stream, now, resumed=True)
                self._resumable.clear()
                task_status.started()
            raise FatalError("a background task stopped unexpectedly: start again")
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

        Raises BusyError when the journal is full, whatever conditions or machines refuse the input with, and
        StreamFaultError when they fail at it.
        """
        self._journal.check_room()
        try:
            self.deliver(stream, input_)
        except StorageError:
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
        plan = Plan(self._machines, self._load)
        try:
            plan.decide(stream, input_, self._conditions)
        except StreamFaultError as fault:
            self.faults.note(stream, fault)
            raise
        if plan.events:
            self._adopt(plan)

    def quarantine(self, stream: str, where: str, error: Exception) -> None:
        """Put on record that a mistake was met in a stream, and end its effects; what others tell it is still decided.

        `where` names the effect, or what else it was met in.
        """
        self._effects.stop(stream)
        self.faults.noted.pop(stream, None)
        record = quarantine.Quarantine(where=where, fault=fault_text(error))
        self.deliver(quarantine.stream_of(stream), record)
        self._wake(stream)

    async def lift(self, stream: str) -> None:
        """Begin the effects of a quarantined stream anew.

        Raises NotFoundError when it is not quarantined, QuarantinedError when only a newer program can read it.
        """
        self._load(stream)
        if not self.faults.is_quarantined(stream):
            raise NotFoundError(f"{stream} is not quarantined")
        await self.submit(quarantine.stream_of(stream), quarantine.Lift())

    def write_decided(self) -> None:
        """Write what was decided before `run`, for tools that start nothing: no effect leaves.

        Raises FatalError as every commit does.
        """
        self._journal.flush()

    async def read(self, stream: str) -> Answer:
        """The stream's state, once everything decided before this moment is durable.

        Raises QuarantinedError when it is not known, as everything does that asks for it.
        """
        state, decided = self._load(stream).state, self._decided
        await self._journal.wait_durable(decided)
        return Answer(state, decided)

    async def wait(self, stream: str, until: Callable[[State], bool]) -> Answer:
        """The stream's state once `until` holds of it and is durable.

        Raises UnavailableError when the engine stops first, QuarantinedError when the stream waits for its operator.
        """
        while not until(self._load(stream).state):
            if self._stopped:
                raise UnavailableError("the gateway is stopping; ask again when it is back")
            if self.faults.is_quarantined(stream):
                raise QuarantinedError(f"{stream} waits for the operator of this gateway")
            await self._change_of(stream)
        return await self.read(stream)

    def peek(self, stream: str) -> State:
        """The stream's state as decided, perhaps not durable yet. For decisions inside, never for answers."""
        return self._load(stream).state

    def open_streams(self) -> dict[str, State]:
        """Every stream that is not finished, with its state, the last known one where it cannot be read.

        For looking: decisions rest on `peek`.
        """
        return {stream: position.state for stream, position in self._live.items()}

    def jobs(self) -> list[JobStatus]:
        """Every effect that runs now."""
        return self._effects.statuses()

    def _replay(self) -> None:
        outdated = self._store.outdated_read_models()
        kept = None if outdated else self._store.open_streams(self._machines)
        if kept is not None:
            self._live.update(kept)
            return
        rows = verified(self._store.rows())
        replayed = steps(self._machines, rows, self._live, keep_final=False)
        # The log is read once: after a rebuild no row is left.
        self._store.rebuild(outdated, replayed)
        self._store.checked_before = 0

    async def _change_of(self, stream: str) -> None:
        changed = self._changed.setdefault(stream, anyio.Event())
        try:
            await changed.wait()
        finally:
            if self._changed.get(stream) is changed and not changed.statistics().tasks_waiting:
                del self._changed[stream]

    def _load(self, stream: str) -> Position:
        position = self._live.get(stream)
        if position is None:
            try:
                position = self._stored(stream)
            except StorageError as error:
                self._fail(error)
                raise
        return known(stream, position)

    def _stored(self, stream: str) -> Position:
        """A stream that is out of memory, so finished or new. The log says which.

        Its rows are chained, but nothing in them says that one is missing: the index of streams must agree.
        """
        rows = self._store.rows_of(stream)
        finished = fold(self._machines, rows, keep_final=True).get(stream)
        version = finished.version if finished is not None else 0
        if self._store.indexed_version(stream) not in {version, None}:
            raise DamagedError(f"the log does not bring what it has of {stream}")
        return finished or Position(self._machines.of(stream).initial, 0, 0)

    def _fail(self, error: FatalError) -> None:
        """The caller that met the error hears of it, too."""
        self._failure = self._failure or error
        self._failed.set()
        if isinstance(error, DamagedError):
            self._store.distrust()

    async def _end_on_failure(self) -> None:
        await self._failed.wait()
        assert self._failure is not None
        raise self._failure

    def _wanted(self, stream: str, state: State) -> Mapping[str, Effect]:
        return {} if self.faults.is_quarantined(stream) else self._machines.of(stream).wants(state)

    def _wanted_after_replay(self) -> dict[str, Mapping[str, Effect]]:
        """What streams want whose state is known; one that fails at telling is quarantined once the engine runs.

        Not before: conditions that are asked of an input may rest on what is made after the engine.
        """
        found: dict[str, Mapping[str, Effect]] = {}
        for stream, position in self._live.items():
            if position.fault is None:
                try:
                    found[stream] = self._wanted(stream, position.state)
                except Exception as error:  # noqa: BLE001 (the others go on)
                    self._unclear[stream] = error
        return found

    def _adopt(self, plan: Plan) -> None:
        first, now = self._decided + 1, self._clock.now_unix_us()
        stored = []
        for offset, (stream, version, encoded, event, state) in enumerate(plan.events):
            row = Row(first + offset, first, stream, version, encoded, self._store.epoch, now)
            stored.append(StoredStep(row, event, state, self._machines.of(stream).is_final(state)))
        newest = {step.row.stream: step for step in stored}
        # Memory changes only from here on, where nothing can fail any more.
        self._decided = stored[-1].row.position
        self._journal.add(Append(tuple(stored), plan.wants))
        for stream, step in newest.items():
            self._live[stream] = Position.after(step)
            self._wake(stream)

    def _wake(self, stream: str) -> None:
        changed = self._changed.pop(stream, None)
        if changed is not None:
            changed.set()

    def _effect_failed(self, status: JobStatus, failure: Exception) -> None:
        for observer in self._observers:
            self._show(observer.effect_failed, status, failure)

    def _show(self, look: Callable[..., None], *what: object) -> None:
        try:
            look(*what)
        except Exception as error:  # noqa: BLE001 (who only looks decides nothing, also not that all ends)
            self.observer_error = f"{type(error).__name__}: {error}"

    def _committed(self, append: Append) -> None:
        assert self._tasks is not None
        self._history.notice(append.steps[-1].row.position)
        for step in append.steps:
            for observer in self._observers:
                self._show(observer.committed, step)
            live = self._live.get(step.row.stream)
            if step.final and live is not None and live.position == step.row.position:
                del self._live[step.row.stream]
            if isinstance(step.event, quarantine.QuarantineLifted):
                self._begin_anew(self._tasks, quarantine.subject_of(step.row.stream), step)
        for stream, wanted in append.wants.items():
            now = {} if self.faults.is_quarantined(stream) else wanted
            resumed = stream in self._lifted
            self._lifted.discard(stream)
            self._effects.reconcile(self._tasks, stream, now, resumed=resumed)
        for step in append.steps:
            if step.final:
                self._effects.forget(step.row.stream)
                if self.faults.is_quarantined(step.row.stream):
                    self.deliver(quarantine.stream_of(step.row.stream), quarantine.Lift())

    def _begin_anew(self, tasks: anyio.abc.TaskGroup, stream: str, lifted: StoredStep) -> None:
        """Start what a stream wants again: now, or after the commit of what was decided on it meanwhile."""
        live = self._live.get(stream)
        if live is None or self.faults.is_quarantined(stream):
            return
        if live.position <= lifted.row.position:
            wanted = self._machines.of(stream).wants(live.state)
            self._effects.reconcile(tasks, stream, wanted, resumed=True)
        else:
            self._lifted.add(stream)
