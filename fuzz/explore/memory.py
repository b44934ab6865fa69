"""The gateway's log in an exploration: the states of all streams as one number, and where decisions lead.

Equal states have equal numbers, whatever happened before. A decision is made by the real machines, once for each state
and input, and all of its events and tells are taken or none, as the engine does. That it becomes durable in the same
moment loses nothing: no answer and no effect leaves before its commit, so that a crash before a commit is a crash
before the decision.
"""

from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple

from engine.events import Event
from engine.fold import Machines
from engine.machine import Effect, Input, State
from engine.plan import TELL_DEPTH_MAX
from errors import FatalError, GatewayError
from fuzz.explore.script import Raised


class Decided(NamedTuple):
    """What became of an input: the memory after it, and the events with their streams, or the refusal."""

    memory: int
    events: tuple[tuple[str, Event], ...] = ()
    refused: Raised | None = None
    is_fatal: bool = False


class Memories:
    """All memories that an exploration comes by, by number. Number 0 is an empty log."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines
        self._streams: dict[str, int] = {}
        self._names: list[str] = []
        self._state_numbers: dict[tuple[int, bytes], int] = {}
        self._states: list[State] = []
        #: By stream, in the order in which streams were met; 0 is a stream without events.
        self._memories: list[tuple[int, ...]] = [()]
        self._numbers: dict[tuple[int, ...], int] = {(): 0}
        self._decided: dict[tuple[int, str, Input], Decided] = {}
        self._wanted: dict[int, tuple[tuple[str, str, Effect], ...]] = {}
        self._wants: dict[int, tuple[tuple[str, Effect], ...]] = {}
        self._states.append(State())  # number 0, which no stream has

    def __len__(self) -> int:
        return len(self._memories)

    def number(self, memory: int, stream: str) -> int:
        """The number of a stream's state, 0 while it has none but its first."""
        place = self._streams.get(stream)
        states = self._memories[memory]
        return states[place] if place is not None and place < len(states) else 0

    def numbered(self, stream: str, number: int) -> State:
        """The state of that number."""
        return self._states[number] if number else self._machines.of(stream).initial

    def state(self, memory: int, stream: str) -> State:
        return self.numbered(stream, self.number(memory, stream))

    def states(self, memory: int) -> Mapping[str, State]:
        """Every stream that has events."""
        return {
            self._names[place]: self._states[number]
            for place, number in enumerate(self._memories[memory])
            if number
        }

    def open_states(self, memory: int) -> Mapping[str, State]:
        """Every stream that is not finished."""
        return {
            stream: state
            for stream, state in self.states(memory).items()
            if not self._machines.of(stream).is_final(state)
        }

    def wanted(self, memory: int) -> tuple[tuple[str, str, Effect], ...]:
        """The effects that all streams want: stream, key, effect."""
        known = self._wanted.get(memory)
        if known is None:
            known = self._wanted[memory] = tuple(self._wanted_in(memory))
        return known

    def _wanted_in(self, memory: int) -> Iterator[tuple[str, str, Effect]]:
        for place, number in enumerate(self._memories[memory]):
            if number:
                stream = self._names[place]
                for key, effect in self._wants_of(stream, number):
                    yield stream, key, effect

    def decide(self, memory: int, stream: str, input_: Input) -> Decided:
        """What the input leads to. A refusal changes nothing."""
        asked = (memory, stream, input_)
        known = self._decided.get(asked)
        if known is None:
            known = self._decided[asked] = self._decide(memory, stream, input_)
        return known

    def _wants_of(self, stream: str, number: int) -> tuple[tuple[str, Effect], ...]:
        known = self._wants.get(number)
        if known is None:
            wanted = self._machines.of(stream).wants(self._states[number])
            known = self._wants[number] = tuple(wanted.items())
        return known

    def _decide(self, memory: int, stream: str, input_: Input) -> Decided:
        plan: dict[str, State] = {}
        events: list[tuple[str, Event]] = []
        try:
            self._plan(memory, plan, events, (stream, input_), 0)
        except GatewayError as error:
            refused = Raised(type(error), _printable(error))
            return Decided(memory, (), refused, isinstance(error, FatalError))
        return Decided(self._with(memory, plan), tuple(events))

    def _plan(
        self,
        memory: int,
        plan: dict[str, State],
        events: list[tuple[str, Event]],
        told: tuple[str, Input],
        depth: int,
    ) -> None:
        if depth > TELL_DEPTH_MAX:
            raise FatalError(f"tells run in a circle at {told[0]}")
        stream, input_ = told
        machine = self._machines.of(stream)
        before = plan[stream] if stream in plan else self.state(memory, stream)
        decision = machine.decide(before, input_)
        after = before
        for event in decision.events:
            self._machines.codec.encode(event)
            after = machine.evolve(after, event)
            events.append((stream, event))
        machine.check_step(before, input_, after)
        if decision.events:
            plan[stream] = after
        for tell in decision.tells:
            self._plan(memory, plan, events, (tell.stream, tell.input), depth + 1)

    def _with(self, memory: int, plan: Mapping[str, State]) -> int:
        places = {
            self._place(stream): self._number(stream, state) for stream, state in plan.items()
        }
        states = list(self._memories[memory])
        states += [0] * (max(places, default=-1) + 1 - len(states))
        for place, number in places.items():
            states[place] = number
        key = tuple(states)
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self._memories)
            self._memories.append(key)
        return found

    def _place(self, stream: str) -> int:
        place = self._streams.get(stream)
        if place is None:
            place = self._streams[stream] = len(self._names)
            self._names.append(stream)
        return place

    def _number(self, stream: str, state: State) -> int:
        """Of a wallet the unused tweaks count as well: equal states have equal encodings."""
        key = self._place(stream), self._machines.encode_state(state)
        found = self._state_numbers.get(key)
        if found is None:
            found = self._state_numbers[key] = len(self._states)
            self._states.append(state)
        return found


def _printable(error: GatewayError) -> tuple[Hashable, ...]:
    return tuple(argument for argument in error.args if isinstance(argument, Hashable))
