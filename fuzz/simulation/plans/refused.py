"""Stories of federations that refuse, and of the gateway's trust in them."""

import random

from devnet.users.receiving import Flaw
from fuzz.simulation.acts.operating import FLOAT_MSAT
from fuzz.simulation.plans import operator_steps, steps
from fuzz.simulation.plans.steps import AnyStep
from fuzz.simulation.plans.story_steps import (
    at,
    depositing,
    federation_refuses,
    giving,
    in_turn,
    receiving,
    sending,
    swapping,
)


def claim_refused(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The sender has the preimage, and the gateway nothing: that is the federation's fault.

    Later senders are refunded, until the operator says otherwise.
    """
    federation = turn % 2
    send = sending(dice, federation, "takes")
    return (
        send,
        federation_refuses(dice, federation, "claim", dice.choice((1, 2))),
        sending(dice, federation, "takes", at_s=send.at_s + dice.uniform(5, 30)),
        operator_steps.TrustAgain(at_s=send.at_s + 40, federation=federation),
        sending(dice, federation, "takes", at_s=send.at_s + 45),
    )


def capped(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """Of payments at the same time so many fit as the cap leaves room for; then it is raised, or is as before."""
    federation = turn % 2
    room_msat = dice.choice((0, 1_300_000, 2_600_000))
    at_s = at(dice)
    return (
        operator_steps.SetCap(
            at_s=at_s - 1, federation=federation, cap_msat=FLOAT_MSAT + room_msat
        ),
        *(sending(dice, federation, "holds and takes", at_s=at_s) for _ in range(3)),
        operator_steps.SetCap(at_s=at_s + 30, federation=federation, cap_msat=None),
        sending(dice, federation, "takes", at_s=at_s + 35),
    )


def funding_refused(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    federation = turn % 2
    paid: AnyStep = receiving(dice, federation)
    if turn // 2 % 2:
        paid = swapping(dice, federation)
    return paid, federation_refuses(dice, federation, "funding")


def refund_refused(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    federation = turn % 2
    receive = receiving(dice, federation, flaw=Flaw.WRONG_PREIMAGE)
    return receive, federation_refuses(dice, federation, "taking back")


def withdrawal_refused(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    federation = turn % 2
    withdrawal = steps.Withdraw(at_s=at(dice), federation=federation, value_sat=10_000)
    return withdrawal, federation_refuses(dice, federation, "withdrawal")


def deposit_refused(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    federation = turn % 2
    return (
        *depositing(federation),
        federation_refuses(dice, federation, "deposit", dice.choice((1, 3))),
    )


def gift_refused(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """Notes that fit must be made first, and are not."""
    federation = turn % 2
    refusing = federation_refuses(dice, federation, "ecash", in_turn(turn // 2, 3, 6, 12))
    return (*giving(dice, federation), refusing)


def everything_refused(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """Of the gateway's, also the reissue of the notes that were refused before."""
    federation = turn % 2
    return (
        sending(dice, federation, "takes"),
        receiving(dice, federation),
        receiving(dice, federation, flaw=Flaw.WRONG_PREIMAGE),
        steps.Withdraw(at_s=at(dice), federation=federation, value_sat=10_000),
        *giving(dice, federation),
        federation_refuses(dice, federation, "gateway's", dice.randint(2, 12)),
    )
