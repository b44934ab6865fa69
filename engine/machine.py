"""Machines: three pure, total functions over frozen structs, with the transitions as a table.

`decide(state, input)` gives the events that follow and what other machines are told in the same append;
`evolve(state, event)` is the only function that replay calls; `wants(state)` names the effects a state
wants done outside. A table lists every pair of state and input as handled, ignored or refused (a caller's
mistake), the last two in groups with their reason; a pair that is not listed is an error at import. Diagrams
are drawn from the tables.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, ClassVar

import msgspec

from engine.events import Event
from errors import ConflictError, FatalError, GatewayError


class State(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Base of a machine's states; the class name is the state's name.

    Defaults are left out of the encoding, so a field added later with one changes no hash of an old history.
    """


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """Base of everything that can happen to a machine: requests, results of effects, tells.

    Time and block height come in here as facts; `decide` never asks for them.
    """


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what a state wants done outside. Equal effects under one key are the same piece of work.

    Every effect declares `may_pay_twice`: whether doing it, on a log that lost its newest events, could send money
    out that the lost events sent already. There is no default, so that nobody forgets it: the class is refused
    with FatalError.
    """

    may_pay_twice: ClassVar[bool]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "may_pay_twice" not in vars(cls):
            raise FatalError(f"effect {cls.__name__} does not say whether it may_pay_twice")


class Tell(msgspec.Struct, frozen=True):
    """An input to another stream, decided in the same append as the events beside it."""

    stream: str
    input: Input


class Decision(msgspec.Struct, frozen=True):
    """What follows from an input: events of this stream first, then tells in order."""

    events: tuple[Event, ...] = ()
    tells: tuple[Tell, ...] = ()


Decide = Callable[[Any, Any], Decision]
Evolve = Callable[[Any, Any], State]
Wants = Callable[[Any], Mapping[str, Effect]]


@dataclass(frozen=True, slots=True)
class Handle:
    """The pair is handled by `decide` and leads to one of `to` (the state may also stay)."""

    decide: Decide
    to: tuple[type[State], ...]


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing follows, such as from a result that is late, repeated, or of no concern to this state."""

    why: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The pair is a caller's mistake: the whole append is given up and the caller sees `error`."""

    why: str
    error: type[GatewayError] = ConflictError


Rule = Handle | Ignore | Refuse
Rules = Mapping[tuple[type[State], type[Input]], Rule]


def ignored(states: Iterable[type[State]], inputs: Iterable[type[Input]], why: str) -> Rules:
    """Each of these inputs in each of these states is ignored, for one reason."""
    return dict.fromkeys(product(states, inputs), Ignore(why))


def refused(
    states: Iterable[type[State]],
    inputs: Iterable[type[Input]],
    why: str,
    error: type[GatewayError] = ConflictError,
) -> Rules:
    """Each of these inputs in each of these states is refused, for one reason."""
    return dict.fromkeys(product(states, inputs), Refuse(why, error))


def table(*groups: Rules) -> Rules:
    """One table of several groups. Raises FatalError when two of them list the same pair.

    Groups name states and inputs one by one, never as "all": a new one is then missing, and `Machine` refuses that.
    """
    listed: dict[tuple[type[State], type[Input]], Rule] = {}
    for group in groups:
        twice = [f"{s.__name__} with {i.__name__}" for s, i in listed.keys() & group.keys()]
        if twice:
            raise FatalError("listed twice: " + ", ".join(sorted(twice)))
        listed |= group
    return listed


@dataclass(frozen=True, slots=True)
class Machine:
    """One kind of lifecycle. Raises FatalError at construction when its tables have holes."""

    kind: str
    initial: State
    states: tuple[type[State], ...]
    inputs: tuple[type[Input], ...]
    rules: Rules
    evolvers: Mapping[type[Event], Evolve]
    wants_of: Mapping[type[State], Wants] = field(default_factory=dict)
    final: frozenset[type[State]] = frozenset()

    def __post_init__(self) -> None:
        pairs = {(state, input_) for state in self.states for input_ in self.inputs}
        problems = [
            f"no rule for {s.__name__} with {i.__name__}" for s, i in pairs - set(self.rules)
        ]
        problems += [
            f"rule for unknown {s.__name__}, {i.__name__}" for s, i in set(self.rules) - pairs
        ]
        problems += [
            f"final state {s.__name__} wants effects" for s in self.final & set(self.wants_of)
        ]
        problems += [
            f"final state {s.__name__} handles {i.__name__}"
            for (s, i), rule in self.rules.items()
            if s in self.final and isinstance(rule, Handle)
        ]
        named = {s for rule in self.rules.values() if isinstance(rule, Handle) for s in rule.to}
        problems += [
            f"unknown state {s.__name__}"
            for s in (named | self.final | set(self.wants_of)) - set(self.states)
        ]
        if type(self.initial) not in self.states or "/" in self.kind:
            problems.append("initial state or kind is wrong")
        if problems:
            raise FatalError(f"machine {self.kind!r}: " + "; ".join(sorted(problems)))

    @property
    def events(self) -> tuple[type[Event], ...]:
        """What this machine may decide: every event that it can fold."""
        return tuple(self.evolvers)

    def decide(self, state: State, input_: Input) -> Decision:
        """What follows from `input_` in `state`. Raises the rule's error class when refused."""
        rule = self.rules.get((type(state), type(input_)))
        match rule:
            case Handle(decide):
                return decide(state, input_)
            case Ignore():
                return Decision()
            case Refuse(why, error):
                raise error(why)
            case _:
                raise FatalError(f"machine {self.kind!r} knows no {type(input_).__name__}")

    def evolve(self, state: State, event: Event) -> State:
        """The state after `event`; total over every event this machine ever decided."""
        evolver = self.evolvers.get(type(event))
        if evolver is None:
            raise FatalError(f"machine {self.kind!r} does not own event {event.kind!r}")
        return evolver(state, event)

    def wants(self, state: State) -> Mapping[str, Effect]:
        """The effects wanted in `state`, by key; empty for final states."""
        wants = self.wants_of.get(type(state))
        return wants(state) if wants is not None else {}

    def is_final(self, state: State) -> bool:
        return type(state) in self.final

    def check_step(self, before: State, input_: Input, after: State) -> None:
        """Assert that a handled step ended where the table says it may (FatalError otherwise)."""
        rule = self.rules[type(before), type(input_)]
        if type(after) is type(before):
            return
        if not isinstance(rule, Handle) or type(after) not in rule.to:
            raise FatalError(
                f"machine {self.kind!r} went from {type(before).__name__} on "
                f"{type(input_).__name__} to {type(after).__name__}, which its table does not list"
            )


def kind_of(stream: str) -> str:
    """The machine kind of a stream name, `kind/id`."""
    kind, slash, rest = stream.partition("/")
    if not (kind and slash and rest):
        raise FatalError(f"{stream!r} is not a stream name of the form kind/id")
    return kind
