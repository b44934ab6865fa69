"""Counts the transitions of the machines' tables that a run takes."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any, NamedTuple, cast

from engine.machine import Decide, Decision, Handle, Input, Machine, Rule, State
from statemachines import ALL_MACHINES


class Transition(NamedTuple):
    """One arrow of a table, by names. A rule that may stay or lead elsewhere is an arrow for each."""

    machine: str
    state: str
    input: str
    to: str


def every_transition() -> frozenset[Transition]:
    """All arrows of all tables."""
    return frozenset(
        Transition(machine.kind, state.__name__, input_.__name__, to.__name__)
        for machine in ALL_MACHINES
        for (state, input_), rule in machine.rules.items()
        if isinstance(rule, Handle)
        for to in rule.to
    )


#: So rare that a thousand seeds may leave them out, since two misfortunes must meet within the ten seconds before what
#: is held is given back, or a swap's end be lost with the disk. Unit tests of the machines take each.
RARELY_TAKEN: frozenset[Transition] = frozenset(
    {
        Transition("receive", "Held", "FundingFound", "Decrypting"),
        Transition("receive", "Held", "InvoiceForgotten", "Expired"),
        Transition("send", "Unanswered", "SwapFound", "Swapping"),
    }
)


@contextmanager
def counting() -> Iterator[Counter[Transition]]:
    """Count every transition that any machine of this process decides."""
    taken: Counter[Transition] = Counter()
    before = {machine.kind: dict(machine.rules) for machine in ALL_MACHINES}
    try:
        for machine in ALL_MACHINES:
            rules = rules_of(machine)
            for (state, input_), rule in before[machine.kind].items():
                if isinstance(rule, Handle):
                    rules[state, input_] = Handle(_counted(machine, rule.decide, taken), rule.to)
        yield taken
    finally:
        for machine in ALL_MACHINES:
            rules_of(machine).update(before[machine.kind])


def rules_of(machine: Machine) -> dict[tuple[type[State], type[Input]], Rule]:
    """A machine's table, to be changed by a simulation that puts it back."""
    return cast("dict[tuple[type[State], type[Input]], Rule]", machine.rules)


def _counted(machine: Machine, decide: Decide, taken: Counter[Transition]) -> Decide:
    def decided(state: Any, input_: Any) -> Decision:
        decision = decide(state, input_)
        after = reduce(machine.evolve, decision.events, state)
        names = (type(state).__name__, type(input_).__name__, type(after).__name__)
        taken[Transition(machine.kind, *names)] += 1
        return decision

    return decided
