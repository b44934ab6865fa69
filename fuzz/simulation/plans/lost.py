"""Stories of logs that are lost, and of coins and ecash."""

import random

from backends.simulated.node import Fault
from devnet.users.receiving import Flaw
from fuzz.simulation.plans import byzantine_steps, steps
from fuzz.simulation.plans.steps import AnyStep
from fuzz.simulation.plans.story_steps import (
    LONG_S,
    TINY_MSAT,
    at,
    depositing,
    giving,
    in_turn,
    just_before,
    lost_at,
    receiving,
    sending,
    swapping,
)


def receive_lost(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The contract is funded, and the log says that it is to be, or not even that."""
    receive = receiving(dice, dice.randrange(2))
    lost_after_s = dice.uniform(1, 9)
    if turn % 2:
        return receive, lost_at("after receive.funding", receive.at_s, lost_after_s)
    unanswered = steps.CallFault(
        at_s=receive.at_s + 0.5, call="create_invoice", faults=(Fault.LOST,) * 8
    )
    return receive, unanswered, lost_at("after receive.registered", receive.at_s, lost_after_s)


def send_lost(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The invoice is called for, or will be, and the log does not know how often."""
    payees: tuple[steps.Payee, ...] = ("takes", "holds and takes", "holds and fails")
    send = sending(dice, dice.randrange(2), dice.choice(payees))
    point = in_turn(turn, "after send.unanswered", "after send.accepted", "after send.dispatching")
    backup = lost_at(point, send.at_s, dice.uniform(1, 9))
    if point != "after send.unanswered":
        return send, backup
    return send, just_before(send, "pay", Fault.LOST, Fault.REFUSED), backup


def swap_lost(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """Its receiver is funded, and the log knows of neither or of the sender alone."""
    swap = swapping(dice, turn % 2)
    point = in_turn(turn, "after send.accepted", "after receive.invoiced")
    return swap, lost_at(point, swap.at_s, dice.uniform(1, 9))


# --- coins and ecash ---------------------------------------------------------------------------------------------


def deposit_taken(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The gateway dies between finding a deposit and claiming it, and comes back to find it gone."""
    federation = turn % 2
    point = in_turn(turn // 2, "after deposit.found", "after deposit.claiming")
    return (
        *depositing(federation),
        byzantine_steps.CrashAt(at_s=0.0, point=point, hits=1, down_s=dice.uniform(5, 20)),
        byzantine_steps.DepositsTaken(at_s=0.0, federation=federation, for_s=LONG_S),
    )


def small_gifts(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    return giving(dice, turn % 2)


def tiny_contract(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """It holds no preimage and is not worth taking back."""
    receive = receiving(dice, turn % 2, flaw=Flaw.WRONG_PREIMAGE, amount_msat=TINY_MSAT)
    return (receive,)


def reissue_forgotten(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The gateway dies before it has signed, and forgets whose notes these are."""
    hand_in = steps.HandIn(
        at_s=at(dice), federation=turn % 2, amount_msat=1_024_000, spent_elsewhere=False
    )
    dies = byzantine_steps.CrashAt(
        at_s=hand_in.at_s - 0.5, point="after reissue.requested", hits=1, down_s=0.0
    )
    return hand_in, dies
