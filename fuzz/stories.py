"""What must be played within few seeds: steps that belong together, each story in its turn, beside what the dice bring.

What is rare by chance, and rarer the more goes wrong beside it, is told here on purpose. `turn` is how often a
story was told before, for stories of which there are several versions.
"""

import random
from collections.abc import Callable

from fuzz import stories_lost, stories_node, stories_refused, stories_time, wrong_steps
from fuzz.steps import AnyStep
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
    return wrong_steps.CrashAt(
        at_s=dice.uniform(0, 60),
        point=f"{dice.choice(('before', 'after'))} {dice.choice(kinds)}",
        hits=dice.choice((1, 1, 2)),
        down_s=dice.choice((0.0, 5.0, 20.0)),
    )


_STORIES: tuple[Story, ...] = (
    stories_refused.claim_refused,
    stories_refused.capped,
    stories_refused.funding_refused,
    stories_refused.refund_refused,
    stories_refused.withdrawal_refused,
    stories_refused.deposit_refused,
    stories_refused.gift_refused,
    stories_refused.everything_refused,
    stories_time.put_off,
    stories_time.built_too_late,
    stories_time.at_last,
    stories_time.away,
    stories_time.back_too_late,
    stories_node.given_up,
    stories_node.invoice_forgotten,
    stories_node.paid_early,
    stories_node.node_replaced,
    stories_node.beside_another,
    stories_node.paid_by_hand,
    stories_node.foreign,
    stories_node.vanished,
    stories_node.vanished_after_a_lost_call,
    stories_node.stray,
    stories_node.end_unheard,
    stories_node.dismissed,
    stories_lost.receive_lost,
    stories_lost.send_lost,
    stories_lost.swap_lost,
    stories_lost.deposit_taken,
    stories_lost.small_gifts,
    stories_lost.tiny_contract,
    stories_lost.reissue_forgotten,
)
