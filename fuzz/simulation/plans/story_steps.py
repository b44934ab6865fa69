"""The steps of stories. `turn` is how often a story was told before."""

import random
from typing import TypeVar

from backends.simulated.node import Fault
from backends.simulated.part import Call
from devnet.users.receiving import Flaw
from fuzz.simulation.latency import JUST_IN_TIME_S, PORTS, Pace, Port
from fuzz.simulation.plans import byzantine_steps, steps, time_steps
from fuzz.simulation.plans.steps import AnyStep

T = TypeVar("T")

LONG_S = 120.0
AMOUNT_MSAT = 1_234_567
#: Less than taking it back costs.
TINY_MSAT = 3_500
#: The least of ecash.
LEAST_MSAT = 512
#: More than makes a deposit final.
BURIED_BLOCKS = 10


def at(dice: random.Random) -> float:
    """Seldom at the same moment as others, who would meet what is meant for this story."""
    return dice.uniform(2, 30)


def just_before(step: AnyStep, call: Call, *faults: Fault) -> AnyStep:
    return steps.CallFault(at_s=step.at_s - 0.5, call=call, faults=faults)


def in_turn(turn: int, *versions: T) -> T:
    return versions[turn % len(versions)]


def federation_refuses(
    dice: random.Random, federation: int, kind: byzantine_steps.Kind, times: int = 1
) -> byzantine_steps.FederationRefuses:
    for_s = dice.choice((60.0, LONG_S))
    return byzantine_steps.FederationRefuses(
        at_s=0.0, federation=federation, kind=kind, times=times, for_s=for_s
    )


def slow_ports(dice: random.Random, at_s: float, *ports: Port) -> time_steps.Paces:
    """Every call at these ports takes seconds; those at others none."""
    paces = {
        port: Pace(1.0, 1.0, dice.uniform(0.5, 1.0) * JUST_IN_TIME_S[port])
        if port in ports
        else Pace()
        for port in PORTS
    }
    return time_steps.Paces(at_s=at_s, **paces)


def lost_at(point: str, at_s: float, lost_after_s: float) -> steps.DiskLost:
    """What comes after this point is in no backup."""
    return steps.DiskLost(
        at_s=at_s - 0.5, probes=1, point=point, lost_after_s=lost_after_s, down_s=1.0
    )


def sending(
    dice: random.Random,
    federation: int,
    payee: steps.Payee,
    hold_s: float = 20.0,
    twist: steps.SendTwist = "none",
    *,
    expiry_s: int = 600,
    at_s: float | None = None,
) -> steps.Send:
    return steps.Send(
        at_s=at(dice) if at_s is None else at_s,
        federation=federation,
        amount_msat=AMOUNT_MSAT,
        payee=payee,
        hold_s=hold_s,
        expiry_s=expiry_s,
        twist=twist,
    )


def receiving(
    dice: random.Random,
    federation: int,
    *,
    payer: steps.Payer = "pays",
    flaw: Flaw | None = None,
    amount_msat: int = AMOUNT_MSAT,
    pays_after_s: float = 0.0,
    expiry_s: int = 600,
) -> steps.Receive:
    return steps.Receive(
        at_s=at(dice),
        federation=federation,
        amount_msat=amount_msat,
        payer=payer,
        flaw=flaw,
        expiry_s=expiry_s,
        pays_after_s=pays_after_s,
    )


def swapping(
    dice: random.Random, target: int, at_s: float | None = None, pays_after_s: float = 0.0
) -> steps.Swap:
    return steps.Swap(
        at_s=at(dice) if at_s is None else at_s,
        source=dice.randrange(2),
        target=target,
        amount_msat=AMOUNT_MSAT,
        flaw=None,
        lightning_too=False,
        pays_after_s=pays_after_s,
    )


def depositing(federation: int) -> tuple[AnyStep, ...]:
    """A deposit that is found while things go wrong."""
    deposit = steps.Deposit(at_s=0.0, federation=federation, value_sat=250_000)
    mined = (steps.Mine(at_s=at_s, blocks=BURIED_BLOCKS) for at_s in (10.0, 30.0, 50.0, 70.0))
    return deposit, *mined


def giving(dice: random.Random, federation: int) -> tuple[AnyStep, ...]:
    """The smallest notes, until there are none."""
    return tuple(
        steps.Give(
            at_s=float(second),
            federation=federation,
            amount_msat=LEAST_MSAT,
            redeemed=dice.random() < 0.5,
        )
        for second in range(6)
    )
