"""A gateway with one rule of docs/money.md disabled: some simulation must fail.

A mutant is a patch around a run, never a switch in the product. Each names the trap of the protocol that it falls into.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

from engine.events import Event
from engine.machine import Decision, Handle, Input, Machine, Rule, State
from fuzz.simulation.play import play
from fuzz.simulation.transitions import rules_of

#: Seeds within which a mutant must be caught.
SEEDS_MAX = 500

Pair = tuple[type[State], type[Input]]


class Mutant(NamedTuple):
    """`apply` patches the product while its block lasts.

    `caught_by` are seeds that show what is wrong, each at the time it was found: a change of the product may make
    another run of a seed, so where what must come together is rare there is more than one.
    """

    name: str
    promise: int
    """The one of docs/money.md that it breaks."""
    trap: str
    """Section and number in the protocol's list of traps, empty where that does not have it."""
    apply: Callable[[], AbstractContextManager[object]]
    caught_by: tuple[int, ...]


@contextmanager
def ruled(machine: Machine, *changes: tuple[Pair, Rule]) -> Iterator[None]:
    """Other rules for some pairs of a machine's table."""
    rules = rules_of(machine)
    before = {pair: rules[pair] for pair, _rule in changes}
    rules.update(changes)
    try:
        yield
    finally:
        rules.update(before)


@contextmanager
def evolved(
    machine: Machine, event: type[Event], evolve: Callable[[Any, Any], State]
) -> Iterator[None]:
    evolvers: Any = machine.evolvers
    before = evolvers[event]
    evolvers[event] = evolve
    try:
        yield
    finally:
        evolvers[event] = before


def decided(machine: Machine, pair: Pair) -> Handle:
    rule = machine.rules[pair]
    assert isinstance(rule, Handle)
    return rule


def without_tells(pair: Pair, machine: Machine, to: str = "") -> Handle:
    """The same events, and nobody is told, or none of that kind of stream."""
    rule = decided(machine, pair)

    def decide(state: Any, input_: Any) -> Decision:
        decision = rule.decide(state, input_)
        kept = tuple(tell for tell in decision.tells if to and not tell.stream.startswith(to))
        return Decision(events=decision.events, tells=kept)

    return Handle(decide, rule.to)


@contextmanager
def both(
    first: AbstractContextManager[object], second: AbstractContextManager[object]
) -> Iterator[None]:
    with first, second:
        yield


def is_caught(mutant: Mutant, seed: int) -> bool:
    """Whether this seed shows what is wrong with the mutant."""
    with mutant.apply():
        return bool(play(seed).problems)
