"""A planted bug in a simulated run: one transaction cannot be built, and the operator retries later.

Drawn apart from everything else, in every tenth seed, so that all other seeds stay what they are.
"""

import random
from contextlib import suppress

import anyio

from engine import quarantine
from fuzz.simulation.harness import Harness, Refused, persist
from fuzz.simulation.plans import byzantine_steps, operator_steps, steps
from fuzz.simulation.plans.story_steps import depositing, in_turn, receiving, sending, swapping

#: Seeds that end with this digit have one.
_DIGIT = 2
#: How often the process dies once the mistake is on record.
_DIES = 0.7
_LOOK_PAUSE_S = 5.0


def draw(seed: int) -> tuple[steps.AnyStep, ...]:
    """Somebody who wants a transaction, the mistake in it, and perhaps an end of the process that met it."""
    if seed % 10 != _DIGIT:
        return ()
    dice = random.Random(f"mistake {seed}")
    federation, at_s = dice.randrange(2), dice.uniform(2, 30)
    parent, wanted = _wanted(dice, federation, at_s, seed // 10)
    mended = operator_steps.CannotBuild(
        at_s=max(0.0, min(step.at_s for step in wanted) - 0.5),
        parent=parent,
        mended_after_s=dice.choice((20.0, 60.0, 100.0)),
    )
    dies = byzantine_steps.CrashAt(
        at_s=0.0, point="after stream.quarantined", hits=1, down_s=dice.choice((0.0, 5.0))
    )
    return (*wanted, mended, *((dies,) if dice.random() < _DIES else ()))


def _wanted(
    dice: random.Random, federation: int, at_s: float, turn: int
) -> tuple[str, tuple[steps.AnyStep, ...]]:
    """The kind of the stream that needs the transaction, and who begins it."""
    give = steps.Give(at_s=at_s, federation=federation, amount_msat=700_000, redeemed=True)
    withdraw = steps.Withdraw(at_s=at_s, federation=federation, value_sat=10_000)
    hand_in = steps.HandIn(
        at_s=at_s, federation=federation, amount_msat=1_024_000, spent_elsewhere=False
    )
    versions: tuple[tuple[str, tuple[steps.AnyStep, ...]], ...] = (
        ("receive", (receiving(dice, federation),)),
        ("send", (sending(dice, federation, "takes"),)),
        ("receive", (swapping(dice, federation),)),
        ("", (give,)),
        ("withdrawal", (withdraw,)),
        ("reissue", (hand_in,)),
        ("deposit", depositing(federation)),
    )
    return in_turn(turn, *versions)


async def cannot_build(harness: Harness, step: operator_steps.CannotBuild) -> None:
    """After its time there is a version without the mistake; whatever waits for it is retried, to the end."""
    broken = harness.broken_builds
    broken.parent = step.parent
    await harness.lasts(step.mended_after_s)
    broken.parent = None
    broken.streams.clear()
    while True:
        for stream in _waiting(harness):
            await _retry(harness, stream)
        await anyio.sleep(_LOOK_PAUSE_S)


def _waiting(harness: Harness) -> list[str]:
    """Only what the mistake was made in: of any other the auditor has told."""
    records = harness.auditor.states()
    return [
        stream
        for stream in sorted(harness.wrongs.mistaken)
        if isinstance(records.get(quarantine.stream_of(stream)), quarantine.Quarantined)
    ]


async def _retry(harness: Harness, stream: str) -> None:
    with suppress(Refused):  # lifted before, and the answer was lost
        await persist(lambda: harness.call("POST", "/retry", {"stream": stream}))
        harness.witness.counts["retried"] += 1
