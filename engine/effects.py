"""Runs the effects that states want: starts, cancels, retries with backoff, and contains what goes wrong.

An effect's handler may fail as often as it likes: retries write no events, one bad effect stops nothing else,
and only StorageError leaves this room. A handler that raises another FatalError, or whose result the machines fail at,
has its stream quarantined. What a handler returns is an input to the stream that wanted it; while the
machines refuse it, it is handed in again, and the handler is not called again, unless it is refused as outdated.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.abc
import msgspec

from engine.events import OversizedError
from engine.machine import Effect, Input
from engine.ports import Clock, Probe, Randomness
from engine.quarantine import StreamFaultError
from engine.storage.errors import StorageError
from errors import FatalError, GatewayError, OutdatedError

T = TypeVar("T")

#: First and longest pause between two tries of a failing handler; a long outage is asked about twice a minute.
BACKOFF_FIRST_S = 0.25
BACKOFF_LONGEST_S = 30.0


@dataclass(frozen=True, slots=True)
class EffectContext:
    """What a handler knows besides its effect.

    `resumed` says that the effect may already have left: in an earlier process, in an earlier try of this one, or
    before its stream wanted it no longer and now wants it again. A handler whose call has no key at the other side
    must then look it up before it calls.
    `of_earlier_life` says that an earlier process wanted it: nobody knows how long ago.
    `report` hands in an input before the handler ends, such as a payment seen in flight.
    """

    stream: str
    resumed: bool
    report: Callable[[Input], None]
    of_earlier_life: bool = False


Handler = Callable[[Any, EffectContext], Awaitable[Input | None]]


class JobStatus(msgspec.Struct, frozen=True):
    """A running effect, for operators: since when, how often it was tried, what last went wrong."""

    stream: str
    key: str
    effect: str
    began_unix_us: int
    tries: int
    last_error: str | None


@dataclass(slots=True)
class _Job:
    stream: str
    key: str
    effect: Effect
    resumed: bool
    of_earlier_life: bool
    began_unix_us: int
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    tries: int = 0
    last_error: str | None = None
    done: bool = False


class Effects:
    """All effects of one engine.

    `wanted` tells what a stream wants as decided, durable or not; `deliver` takes a result to its stream; `failed`
    hears of contained errors.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        randomness: Randomness,
        probe: Probe,
        wanted: Callable[[str], Mapping[str, Effect]],
        deliver: Callable[[str, Input], None],
        faulted: Callable[[str, str, Exception], None],
        failed: Callable[[JobStatus, Exception], None],
    ) -> None:
        #: Given before the first effect starts.
        self.handlers: Mapping[type[Effect], Handler] = {}
        self._clock = clock
        self._randomness = randomness
        self._probe = probe
        self._wanted = wanted
        self._deliver = deliver
        self._faulted = faulted
        self._failed = failed
        self._jobs: dict[str, dict[str, _Job]] = {}
        #: The last effect under each key that was tried and then no longer wanted, of open streams.
        self._left: dict[str, dict[str, Effect]] = {}

    def reconcile(
        self,
        tasks: anyio.abc.TaskGroup,
        stream: str,
        wanted: Mapping[str, Effect],
        *,
        resumed: bool = False,
    ) -> None:
        """Start what `stream` wants and does not run yet, cancel what it wants no longer.

        An equal effect under the same key goes on untouched, also when its handler has already ended.
        """
        jobs = self._jobs.setdefault(stream, {})
        for key in [key for key, job in jobs.items() if wanted.get(key) != job.effect]:
            self._end(jobs.pop(key))
        left = self._left.get(stream, {})
        for key, effect in wanted.items():
            if key not in jobs:
                again = resumed or left.get(key) == effect
                job = _Job(stream, key, effect, again, resumed, self._clock.now_unix_us())
                jobs[key] = job
                tasks.start_soon(self._run, job, name=f"{stream} {key}")
        if not jobs:
            del self._jobs[stream]

    def stop(self, stream: str) -> None:
        """End whatever `stream` has under way, also from inside of it."""
        for job in self._jobs.pop(stream, {}).values():
            self._end(job)

    def _end(self, job: _Job) -> None:
        job.scope.cancel()
        if job.tries or job.resumed:
            self._left.setdefault(job.stream, {})[job.key] = job.effect

    def forget(self, stream: str) -> None:
        """The stream is finished: it will never want anything again."""
        self._left.pop(stream, None)

    def statuses(self) -> list[JobStatus]:
        """Every effect still running, in no particular order."""
        return [
            _status(job) for jobs in self._jobs.values() for job in jobs.values() if not job.done
        ]

    async def _run(self, job: _Job) -> None:
        with job.scope:
            if job.scope.cancel_called:
                return
            handler = self.handlers.get(type(job.effect), _unhandled)
            handed_in = False
            while not handed_in:
                result = await self._until_it_works(job, lambda: self._call(job, handler))
                self._probe(f"result {type(job.effect).__name__}")
                if result is None:
                    break
                handed_in = await self._until_it_works(job, partial(self._hand_in, job, result))
            job.done = True

    async def _until_it_works(self, job: _Job, attempt: Callable[[], Awaitable[T]]) -> T:
        failures = 0
        while True:
            try:
                return await attempt()
            except Exception as error:  # noqa: BLE001 (one bad handler must not stop the others)
                fatal = fatal_in(error)
                if isinstance(fatal, StorageError):
                    raise fatal from None
                if fatal is not None:
                    self._fault(job, fatal)
                what = f"{type(error).__name__} in {type(job.effect).__name__}"
                job.last_error = str(error) if isinstance(error, GatewayError) else what
                self._failed(_status(job), error)
            failures += 1
            await self._clock.sleep(self._backoff_s(failures))

    async def _call(self, job: _Job, handler: Handler) -> Input | None:
        self._probe(f"effect {type(job.effect).__name__}")
        context = EffectContext(
            job.stream,
            job.resumed or job.tries > 0,
            lambda input_: self._report(job, input_),
            job.of_earlier_life,
        )
        job.tries += 1
        return await handler(job.effect, context)

    async def _hand_in(self, job: _Job, result: Input) -> bool:
        """False, after a pause, when the result is too old to decide on: another is needed."""
        try:
            self._report(job, result)
        except OutdatedError as error:
            job.last_error = str(error)
            self._failed(_status(job), error)
            await self._clock.sleep(self._backoff_s(1))
            return False
        return True

    def _report(self, job: _Job, input_: Input) -> None:
        """Deliver, unless the stream decided something else meanwhile: a late result of attempt 1 is none of 2."""
        wanted = self._wanted(job.stream).get(job.key)
        if not job.scope.cancel_called and wanted == job.effect:
            try:
                self._deliver(job.stream, input_)
            except (StreamFaultError, OversizedError) as error:
                # The same result would always fail again.
                self._fault(job, error)
                raise

    def _fault(self, job: _Job, error: Exception) -> None:
        """Quarantines the stream, which cancels this very job."""
        self._faulted(job.stream, type(job.effect).__name__, error)

    def _backoff_s(self, failures: int) -> float:
        longest = min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 16))
        jitter = int.from_bytes(self._randomness.random_bytes(2)) / 65_535
        return longest * (0.5 + jitter / 2)


def _status(job: _Job) -> JobStatus:
    return JobStatus(
        stream=job.stream,
        key=job.key,
        effect=type(job.effect).__name__,
        began_unix_us=job.began_unix_us,
        tries=job.tries,
        last_error=job.last_error,
    )


async def _unhandled(effect: Effect, _context: EffectContext) -> Input | None:
    raise FatalError(f"nothing handles the effect {type(effect).__name__}")


def fatal_in(error: BaseException) -> FatalError | None:
    """The FatalError that `error` is, or that a group of a task group's errors holds; one of storage before others."""
    if isinstance(error, FatalError):
        return error
    if not isinstance(error, BaseExceptionGroup):
        return None
    found = [fatal for inner in error.exceptions if (fatal := fatal_in(inner)) is not None]
    return next((fatal for fatal in found if isinstance(fatal, StorageError)), None) or next(
        iter(found), None
    )


def storage_in(error: BaseException) -> StorageError | None:
    """The StorageError that `error` is or holds: of all errors it alone may end a gateway at work."""
    fatal = fatal_in(error)
    return fatal if isinstance(fatal, StorageError) else None
