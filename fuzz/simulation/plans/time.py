"""Stories in which time passes between a check and its act, or the gateway is down for hours and days."""

import random

import msgspec

from fuzz.simulation.latency import Pace
from fuzz.simulation.plans import byzantine_steps, steps
from fuzz.simulation.plans.steps import AnyStep
from fuzz.simulation.plans.story_steps import (
    in_turn,
    receiving,
    sending,
    slow_ports,
)


def put_off(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The federation is left, or receiving switched off in it, while an HTLC is measured."""
    federation = turn % 2
    receive = receiving(dice, federation, pays_after_s=10.0)
    slow = slow_ports(dice, receive.at_s + 9.0, "node")
    at_s = receive.at_s + dice.uniform(11.0, 25.0)
    if turn // 2 % 2:
        return receive, slow, steps.Leave(at_s=at_s, federation=federation, away_s=60.0)
    off = steps.SetTerms(
        at_s=at_s, federation=federation, transaction_base_msat=2_000, receive_enabled=False
    )
    return receive, slow, off


def built_too_late(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """A build takes so long that its bytes are no longer signed."""
    receive = receiving(dice, turn % 2, pays_after_s=10.0)
    slow = slow_ports(dice, receive.at_s + 9.0, "worker")
    return receive, msgspec.structs.replace(slow, worker=Pace(32.0, 1.0, 40.0))


def at_last(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """Payers who pay when their receivers wait for a minute more, or less."""
    slow = slow_ports(dice, 0.0, in_turn(turn // 2, "worker", "disk", "guardian"))
    receives = (
        receiving(dice, turn % 2, pays_after_s=pays_after_s, expiry_s=100)
        for pays_after_s in (10.0, 25.0, 37.0, 60.0)
    )
    return *receives, slow


def away(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The gateway dies amid a payment and is away for hours or days."""
    point = in_turn(
        turn,
        "after receive.funding",
        "after receive.invoiced",
        "after receive.funded",
        "after send.dispatching",
        "before receive.funding_signed",
        "after send.accepted",
        "after send.paid",
        "after send.in_flight",
    )
    blocks = dice.choice((20, 105, 112, 118, 150, 400))
    paid = (
        receiving(dice, dice.randrange(2), pays_after_s=1.0)
        if " receive." in point
        else sending(dice, dice.randrange(2), dice.choice(("takes", "holds and takes")))
    )
    dies = byzantine_steps.CrashAt(
        at_s=paid.at_s - 0.5, point=point, hits=1, down_s=600.0 * blocks, blocks=blocks
    )
    return paid, dies


def back_too_late(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The gateway is away while it is paid, and comes back when the HTLC has a few blocks left, or none."""
    receive = receiving(dice, turn % 2, pays_after_s=1.0, expiry_s=2_000)
    blocks = in_turn(turn // 2, 109, 112, 120, 106)
    dies = byzantine_steps.CrashAt(
        at_s=receive.at_s,
        point="before receive.funding",
        hits=1,
        down_s=dice.choice((300.0, 900.0)),
        blocks=blocks,
    )
    return receive, dies
