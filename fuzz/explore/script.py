"""Runs the gateway's own coroutines without an event loop, one wait at a time, and remembers their positions.

Whatever a coroutine does with the world goes through a stand-in (`fuzz/explore/stand_ins.py`) and is one of the
operations below. A coroutine is a function of what it saw, so where it stands is its beginning and the answers so
far: a node of a tree that grows while it is explored. Two jobs at one node are the same job; each node is run once.
"""

from collections.abc import Callable, Coroutine, Generator, Hashable, Iterator
from contextlib import contextmanager, suppress
from types import coroutine
from typing import Any, NamedTuple

from engine.machine import State


class Read(NamedTuple):
    """Something of the gateway's own memory is looked at; nothing else happens meanwhile."""

    what: str
    args: tuple[Hashable, ...] = ()


class Act(NamedTuple):
    """Something of the gateway's own memory is changed, such as a decision; nothing else happens meanwhile."""

    what: str
    args: tuple[Hashable, ...] = ()


class Ask(NamedTuple):
    """Somebody outside is asked. A `patient` caller waits as long as it takes, and asks again by itself."""

    call: str
    args: tuple[Hashable, ...] = ()
    patient: bool = False


class Until(NamedTuple):
    """The state of a stream is waited for."""

    stream: str
    holds: Callable[[State], bool]


class Pause(NamedTuple):
    """Time passes before the whole is tried again."""


class Ended(NamedTuple):
    result: Any


class Failed(NamedTuple):
    error: Exception


class HandedIn(NamedTuple):
    """The result was decided on; an effect that is still wanted is not answered twice."""


class Raised(NamedTuple):
    """An answer that is an error."""

    error: type[BaseException]
    args: tuple[Hashable, ...] = ()


Operation = Read | Act | Ask | Until | Pause | Ended | Failed | HandedIn
Work = Coroutine[Any, Any, Any]
#: The answer to `Ended` once its result is decided on.
TAKEN = "taken"


class Spec(NamedTuple):
    """What a job is: an effect of a stream, or another piece of work by its name.

    Both flags are as in `engine.effects.EffectContext`.
    """

    work: str
    stream: str
    key: str
    subject: Hashable
    resumed: bool = False
    of_earlier_life: bool = False


class _HaltError(BaseException):
    """Leaves a coroutine at an operation whose answer is not known yet; no `except Exception` stops it."""


class _Run:
    """One run of a coroutine over the answers that are known."""

    def __init__(self, answers: tuple[Any, ...]) -> None:
        self._answers: Iterator[Any] = iter(answers)
        self.next: Operation | None = None

    def answer(self, operation: Operation) -> Any:
        """The known answer. Leaves the coroutine when there is none."""
        if self.next is None:
            for known in self._answers:
                return known
            self.next = operation
        raise _HaltError


_running: list[_Run] = []


def now(operation: Read | Act) -> Any:
    """For stand-ins: do it in this very moment. Raises the error that is the answer."""
    return _opened(_running[-1].answer(operation))


async def later(operation: Ask | Until | Pause) -> Any:
    """For stand-ins: wait for the answer. Raises the error that is the answer."""
    return _opened(await _suspended(operation))


@coroutine
def _suspended(operation: Operation) -> Generator[Operation, Any, Any]:
    return (yield operation)


def _opened(answer: Any) -> Any:
    if isinstance(answer, Raised):
        raise answer.error(*answer.args)
    return answer


class Scripts:
    """The tree of all that the jobs of one exploration ever saw."""

    def __init__(self, begin: Callable[[Spec], Work]) -> None:
        """`begin` makes the coroutine of a spec anew."""
        self._begin = begin
        self._roots: dict[Spec, int] = {}
        self._children: dict[tuple[int, Hashable], int] = {}
        self._specs: list[Spec] = []
        self._answers: list[tuple[Any, ...]] = []
        self._operations: list[Operation | None] = []

    def __len__(self) -> int:
        return len(self._specs)

    def root(self, spec: Spec) -> int:
        """A job that has not begun."""
        found = self._roots.get(spec)
        if found is None:
            found = self._roots[spec] = self._add(spec, ())
        return found

    def spec(self, node: int) -> Spec:
        return self._specs[node]

    def after(self, node: int, answer: Hashable) -> int:
        """Where the job stands once it has this answer."""
        found = self._children.get((node, answer))
        if found is None:
            found = self._add(self._specs[node], (*self._answers[node], answer))
            self._children[node, answer] = found
        return found

    def operation(self, node: int) -> Operation:
        """What the job does there."""
        known = self._operations[node]
        if known is None:
            answers = self._answers[node]
            known = (
                HandedIn()
                if answers and answers[-1] is TAKEN
                else _next_of(self._begin(self._specs[node]), answers)
            )
            self._operations[node] = known
        return known

    def _add(self, spec: Spec, answers: tuple[Any, ...]) -> int:
        self._specs.append(spec)
        self._answers.append(answers)
        self._operations.append(None)
        return len(self._specs) - 1


def _next_of(work: Work, answers: tuple[Any, ...]) -> Operation:
    run = _Run(answers)
    with _in_run(run):
        try:
            operation = work.send(None)
            while True:
                operation = work.send(run.answer(operation))
        except _HaltError:
            assert run.next is not None
            return run.next
        except StopIteration as stop:
            return Ended(stop.value)
        except Exception as error:  # noqa: BLE001 - what it fails with is what is explored
            return Failed(error)
        finally:
            with suppress(_HaltError):
                work.close()


@contextmanager
def _in_run(run: _Run) -> Iterator[None]:
    _running.append(run)
    try:
        yield
    finally:
        _running.pop()
