"""The operator of a simulated gateway gives up a federation during a funding, and joins it again later.

Drawn apart from everything else, in every tenth seed, so that all other seeds stay what they are.
"""

import random

import anyio

from fuzz.simulation.acts.operating import connect
from fuzz.simulation.harness import Harness, Refused, persist
from fuzz.simulation.plans import steps
from fuzz.simulation.plans.operator_steps import GiveUp

#: Seeds that end with this digit have one.
_DIGIT = 8
#: Nothing is given up after so long in which nothing was to be seen.
_PATIENCE_S = 60.0
_AMOUNT_MSAT = 1_234_567
#: Guardians vanish before they see the funding; before its bytes are there; when the contract is funded.
_POINTS = ("effect SubmitTransaction", "effect BuildTransaction", "effect DecryptPreimage")


def draw(seed: int) -> tuple[steps.AnyStep, ...]:
    """Somebody to be paid in a federation, over Lightning or from the other one, and its end."""
    if seed % 10 != _DIGIT:
        return ()
    dice = random.Random(f"giving up {seed}")
    federation, at_s = dice.randrange(2), dice.uniform(0, 40)
    wanted: steps.AnyStep = steps.Receive(
        at_s=at_s,
        federation=federation,
        amount_msat=_AMOUNT_MSAT,
        payer="pays",
        flaw=None,
        expiry_s=600,
        pays_after_s=1.0,
    )
    if dice.random() < 0.5:
        wanted = steps.Swap(
            at_s=at_s,
            source=1 - federation,
            target=federation,
            amount_msat=_AMOUNT_MSAT,
            flaw=None,
            lightning_too=False,
            pays_after_s=1.0,
        )
    away_s = dice.choice((0.0, 20.0, 60.0))
    point = _POINTS[seed // 10 % len(_POINTS)]
    return wanted, GiveUp(at_s=at_s + 1, federation=federation, point=point, away_s=away_s)


async def give_up(harness: Harness, step: GiveUp) -> None:
    """At the first such moment; everybody else in the federation is left alone, too."""
    guardians = harness.federation(step.federation).guardians
    vanished = anyio.Event()

    def vanish() -> None:
        for guardian in guardians:
            guardian.stop()
        vanished.set()

    harness.crash.then, harness.crash.passing, harness.crash.passing_point = vanish, 1, step.point
    with anyio.move_on_after(_PATIENCE_S):
        await vanished.wait()
    harness.crash.passing = 0
    if not vanished.is_set():
        return
    body = {"federation_id": harness.federation_id(step.federation), "give_up": True}
    try:
        await persist(lambda: harness.call("POST", "/leave_fed", body))
        harness.witness.counts["given up"] += 1
    except Refused:  # left before, and the answer was lost
        pass
    await harness.lasts(step.away_s)
    for guardian in guardians:
        guardian.start()
    await connect(harness, step.federation)
