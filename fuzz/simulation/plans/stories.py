"""Steps that belong together and must be played within few seeds: stories take turns, beside random steps.

What is rare by chance, and rarer the more goes wrong beside it, is told here on purpose. `turn` is how often a
story was told before, for stories of which there are several versions.
"""

import random
from collections.abc import Callable

from fuzz.simulation.plans import byzantine_steps, lost, node, refused, time
from fuzz.simulation.plans.steps import AnyStep
from statemachines import ALL_MACHINES

Story = Callable[[random.Random, int], tuple[AnyStep, ...]]

#: How often the gateway dies amid a story.
_DIES = 0.4


def told(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The story of this turn of all turns; in some of them the gateway dies at an event of any kind."""
    story = _STORIES[turn % len(_STORIES)](dice, turn // len(_STORIES))
    return story if dice.random() > _DIES else (*story, _crash(dice))


def _crash(dice: random.Random) -> AnyStep:
    kinds = sorted(event.kind for machine in ALL_MACHINES for event in machine.events)
    return byzantine_steps.CrashAt(
        at_s=dice.uniform(0, 60),
        point=f"{dice.choice(('before', 'after'))} {dice.choice(kinds)}",
        hits=dice.choice((1, 1, 2)),
        down_s=dice.choice((0.0, 5.0, 20.0)),
    )


_STORIES: tuple[Story, ...] = (
    refused.claim_refused,
    refused.capped,
    refused.funding_refused,
    refused.refund_refused,
    refused.withdrawal_refused,
    refused.deposit_refused,
    refused.gift_refused,
    refused.everything_refused,
    time.put_off,
    time.built_too_late,
    time.at_last,
    time.away,
    time.back_too_late,
    node.given_up,
    node.invoice_forgotten,
    node.paid_early,
    node.node_replaced,
    node.beside_another,
    node.paid_by_hand,
    node.foreign,
    node.vanished,
    node.vanished_after_a_lost_call,
    node.stray,
    node.end_unheard,
    node.dismissed,
    lost.receive_lost,
    lost.send_lost,
    lost.swap_lost,
    lost.deposit_taken,
    lost.small_gifts,
    lost.tiny_contract,
    lost.reissue_forgotten,
)
