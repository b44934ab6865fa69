"""How long calls take in the run of a seed, drawn apart from the rest of its plan."""

import random

from fuzz.simulation.harness import Harness
from fuzz.simulation.latency import JUST_IN_TIME_S, PORTS, Pace, Port
from fuzz.simulation.plans.time_steps import Paces

#: Of so many seeds nothing takes time; of so many more, some ports are slow.
_PROMPT, _SLOW = 0.25, 0.35
_USUAL_S = (0.001, 0.02, 0.1)
_SLOW_SHARES = (0.05, 0.3)


def draw(seed: int, *, may_be_slow: bool = True) -> tuple[Paces, ...]:
    """The paces of a seed, if it has any: usual ones at all ports, and perhaps slow ones at one or two."""
    dice = random.Random(f"paces {seed}")
    kind = dice.random()
    if kind < _PROMPT:
        return ()
    is_slow = may_be_slow and kind < _PROMPT + _SLOW
    slow = set(dice.sample(PORTS, dice.choice((1, 2)))) if is_slow else set()
    return (Paces(at_s=0.0, **{port: _pace(dice, port, is_slow=port in slow) for port in PORTS}),)


def _pace(dice: random.Random, port: Port, *, is_slow: bool) -> Pace:
    usual_s = dice.choice(_USUAL_S)
    if not is_slow:
        return Pace(usual_s)
    longest_s = JUST_IN_TIME_S[port] * dice.choice((0.3, 1.0))
    return Pace(usual_s, dice.choice(_SLOW_SHARES), longest_s)


async def keep(harness: Harness, step: Paces) -> None:
    """Until everything is to be calm."""
    harness.latency.paces = {port: getattr(step, port) for port in PORTS}
    await harness.is_calm.wait()
    harness.latency.paces = {}
