"""Draws Mermaid state diagrams from the tables that machines run on."""

from collections.abc import Iterable

from engine.machine import Handle, Ignore, Machine, Refuse

_INTRODUCTION = (
    "Generated from the transition tables by `python -m cli.state_diagrams`; a test fails when this page is stale. "
    "Arrows are inputs that are handled; a state may also stay as it is."
)


def diagram(machine: Machine) -> str:
    """Mermaid text: an arrow for each state and input that is handled, labelled with the input.

    Inputs that lead from one state to the same other share an arrow; final states lead to the end.
    """
    arrows: dict[tuple[str, str], list[str]] = {}
    for source in machine.states:
        for input_ in machine.inputs:
            rule = machine.rules[source, input_]
            if isinstance(rule, Handle):
                for target in rule.to:
                    arrow = (source.__name__, target.__name__)
                    arrows.setdefault(arrow, []).append(input_.__name__)
    lines = ["stateDiagram-v2", f"    [*] --> {type(machine.initial).__name__}"]
    lines += [
        f"    {source} --> {target}: {', '.join(arrows[source, target])}"
        for source, target in arrows
    ]
    lines += [f"    {state.__name__} --> [*]" for state in machine.states if state in machine.final]
    return "\n".join(lines)


def page(machines: Iterable[Machine]) -> str:
    """A Markdown page: the diagram of each machine, and what it ignores and refuses, with the reason."""
    sections = ["# State machines", _INTRODUCTION]
    for machine in machines:
        sections.append(f"## `{machine.kind}`")
        sections.append(f"```mermaid\n{diagram(machine)}\n```")
        unhandled = _unhandled(machine)
        if unhandled:
            sections.append("\n".join(f"- {line}" for line in unhandled))
    return "\n\n".join(sections) + "\n"


def _unhandled(machine: Machine) -> list[str]:
    """One line for each reason, with the states and inputs it is the reason for."""
    pairs: dict[str, dict[str, list[str]]] = {}
    for state in machine.states:
        for input_ in machine.inputs:
            match machine.rules[state, input_]:
                case Ignore(why):
                    reason = f"Ignored, {why}"
                case Refuse(why, error):
                    reason = f"Refused with {error.__name__}, {why}"
                case _:
                    continue
            pairs.setdefault(reason, {}).setdefault(state.__name__, []).append(input_.__name__)
    return [f"{reason}: {_listed(by_state)}" for reason, by_state in pairs.items()]


def _listed(by_state: dict[str, list[str]]) -> str:
    """States that have the same inputs are named together."""
    states: dict[str, list[str]] = {}
    for state, inputs in by_state.items():
        states.setdefault(", ".join(inputs), []).append(state)
    return "; ".join(f"{', '.join(names)} on {inputs}" for inputs, names in states.items())
