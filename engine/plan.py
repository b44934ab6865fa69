"""One append being decided: all events of one input, over every stream it tells, or none."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from engine.events import EncodedEvent, Event
from engine.fold import Machines, Position
from engine.machine import Effect, Input, State
from engine.quarantine import StreamFaultError, fault_text
from engine.storage.errors import StorageError
from errors import FatalError, FaultError, GatewayError

#: How deep a tell may lead to further tells; deeper is a loop between machines.
TELL_DEPTH_MAX = 8


class Plan:
    """Events decided so far, the states they lead to, and what these want; memory is untouched until it is whole.

    `load` gives the state of a stream that is not in the plan, and raises what keeps it from being read.
    """

    def __init__(self, machines: Machines, load: Callable[[str], Position]) -> None:
        self._machines = machines
        self._load = load
        self.events: list[tuple[str, int, EncodedEvent, Event, State]] = []
        self.wants: dict[str, Mapping[str, Effect]] = {}
        self._states: dict[str, tuple[State, int]] = {}

    def decide(self, stream: str, input_: Input, conditions: Callable[[str, Input], Input]) -> None:
        """Ask the conditions of the input, and decide it and everything it tells.

        Raises what conditions or machines refuse it with, and StreamFaultError for whatever else goes wrong in them.
        """
        with _faults_of(stream):
            asked = conditions(stream, input_)
        self._decide(stream, asked, depth=0)
        for touched in dict.fromkeys(stream for stream, *_rest in self.events):
            with _faults_of(touched):
                self.wants[touched] = self._machines.of(touched).wants(self._states[touched][0])

    def _decide(self, stream: str, input_: Input, depth: int) -> None:
        if depth > TELL_DEPTH_MAX:
            raise StreamFaultError(f"tells run in a circle at {stream}: nothing was done")
        with _faults_of(stream):
            machine = self._machines.of(stream)
        before, version = self._states.get(stream) or self._loaded(stream)
        with _faults_of(stream):
            decision = machine.decide(before, input_)
            state = before
            for event in decision.events:
                version += 1
                state = machine.evolve(state, event)
                encoded = self._machines.codec.encode(event)
                self.events.append((stream, version, encoded, event, state))
            machine.check_step(before, input_, state)
        self._states[stream] = (state, version)
        for tell in decision.tells:
            self._decide(tell.stream, tell.input, depth + 1)

    def _loaded(self, stream: str) -> tuple[State, int]:
        position = self._load(stream)
        return position.state, position.version


@contextmanager
def _faults_of(stream: str) -> Iterator[None]:
    """What is refused leaves as it is, and so does an error of storage, which conditions may have read."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        if isinstance(error, GatewayError) and not isinstance(error, FatalError | FaultError):
            raise
        raise StreamFaultError(
            f"a bug of this gateway was met at {stream}, and nothing was done: {fault_text(error)}"
        ) from error
