"""Other users of a simulated gateway's node, and payers in parts: what a seed draws of them.

Drawn apart from everything else, in every twentieth seed, so that all other seeds stay what they are.
"""

import random

from backends.simulated.node import Fault
from fuzz.simulation.plans import byzantine_steps, steps
from fuzz.simulation.plans.story_steps import (
    AMOUNT_MSAT,
    in_turn,
    just_before,
    receiving,
    sending,
    slow_ports,
)

#: Every so many seeds, from the first on, have them.
_EVERY = 20
_FOR_S = 100.0


def draw(seed: int) -> tuple[steps.AnyStep, ...]:
    """A payment in parts, and something that a neighbour does."""
    if seed % _EVERY:
        return ()
    dice = random.Random(f"neighbours {seed}")
    federation, turn = dice.randrange(2), seed // _EVERY
    parts = receiving(
        dice,
        federation,
        payer=dice.choice(("pays in parts", "pays in parts", "pays in part")),
        amount_msat=dice.choice((AMOUNT_MSAT, 5_000_001)),
    )
    return parts, *in_turn(turn, _cancels, _holds_in_vain, _cancels_held, _pays)(dice, federation)


def _cancels(dice: random.Random, federation: int) -> tuple[steps.AnyStep, ...]:
    receive = receiving(dice, federation, pays_after_s=5.0)
    cancels = byzantine_steps.NeighbourCancels(at_s=receive.at_s, is_held=False, for_s=_FOR_S)
    return receive, cancels


def _holds_in_vain(dice: random.Random, federation: int) -> tuple[steps.AnyStep, ...]:
    after_s = dice.uniform(0, 9)
    return (receiving(dice, federation, payer="pays another in vain", pays_after_s=after_s),)


def _cancels_held(dice: random.Random, federation: int) -> tuple[steps.AnyStep, ...]:
    """While it is measured."""
    receive = receiving(dice, federation, pays_after_s=5.0)
    cancels = byzantine_steps.NeighbourCancels(at_s=receive.at_s, is_held=True, for_s=_FOR_S)
    return receive, slow_ports(dice, receive.at_s + 4.0, "node"), cancels


def _pays(dice: random.Random, federation: int) -> tuple[steps.AnyStep, ...]:
    """Whose call is first is a matter of chance; in turns, the gateway's first one is lost."""
    payee: steps.Payee = dice.choice(("takes", "holds and takes", "holds and fails"))
    send = sending(dice, federation, payee)
    lost = just_before(send, "pay", dice.choice((Fault.LOST, Fault.DELAYED, Fault.REFUSED)))
    pays = byzantine_steps.NeighbourPays(at_s=send.at_s, for_s=_FOR_S)
    return (send, lost, pays) if dice.random() < 0.5 else (send, pays)
