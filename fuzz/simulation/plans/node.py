"""Stories of the node and its other users."""

import random

from backends.simulated.node import Fault
from fuzz.simulation.plans import byzantine_steps, operator_steps, steps
from fuzz.simulation.plans.steps import AnyStep
from fuzz.simulation.plans.story_steps import (
    AMOUNT_MSAT,
    LONG_S,
    at,
    in_turn,
    just_before,
    receiving,
    sending,
    slow_ports,
    swapping,
)


def given_up(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The receiver is paid for, and the HTLC that pays for it is cancelled."""
    federation = turn % 2
    slow = [
        steps.GuardianSlow(
            at_s=0.0, federation=federation, peer=peer, pause_s=dice.uniform(1, 4), for_s=LONG_S
        )
        for peer in range(4 if federation else 1)
    ]
    return (
        receiving(dice, federation),
        *slow,
        byzantine_steps.NodeGivesUp(at_s=0.0, for_s=LONG_S),
    )


def invoice_forgotten(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    swap = swapping(dice, turn % 2, at_s=0.0, pays_after_s=30.0)
    return swap, byzantine_steps.NodeForgetsInvoices(at_s=dice.uniform(20, 29))


def paid_early(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The node's answer with the invoice is lost again and again, and somebody pays it meanwhile."""
    federation = turn % 2
    receive = receiving(dice, federation, payer="pays early", pays_after_s=0.5)
    lost = just_before(receive, "create_invoice", *(Fault.TAKEN,) * 6)
    if turn // 2 % 2:
        return receive, lost
    off = steps.SetTerms(
        at_s=receive.at_s + 0.2,
        federation=federation,
        transaction_base_msat=2_000,
        receive_enabled=False,
    )
    return receive, lost, off


def node_replaced(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """Payments are under way at a node that is given up for another; what that one says ends none of them."""
    at_s = at(dice)
    pays = steps.OperatorPays(
        at_s=at_s, amount_msat=AMOUNT_MSAT, payee="holds and fails", hold_s=90.0, again=False
    )
    return (
        sending(dice, turn % 2, "holds and fails", hold_s=70.0, at_s=at_s),
        pays,
        operator_steps.ReplaceNode(at_s=at_s + 10),
        steps.Dismiss(at_s=0.0),
    )


def beside_another(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """Another gateway makes an invoice of the same hash at the same node; in turns, our node's answer is lost."""
    federation = turn % 2
    receive = receiving(dice, federation, payer="pays another", pays_after_s=dice.uniform(0, 9))
    if turn // 2 % 2:
        return receive, just_before(receive, "create_invoice", *(Fault.LOST,) * 3)
    return receive, slow_ports(dice, receive.at_s - 0.5, "worker")


def paid_by_hand(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    payees: tuple[steps.Payee, ...] = ("takes", "knows nothing", "holds and takes")
    more: steps.Payee = "holds and fails" if turn % 2 else "takes"
    return tuple(
        sending(dice, dice.randrange(2), payee, twist="paid by hand") for payee in (*payees, more)
    )


def foreign(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    return (sending(dice, turn % 2, "takes", twist="other network"),)


def vanished(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """They come back over, or in flight still."""
    over: tuple[tuple[steps.Payee, float], ...] = (
        ("holds and takes", 35.0),
        ("holds and fails", 35.0),
        ("holds and takes", LONG_S),
    )
    sends = (sending(dice, dice.randrange(2), payee, hold_s=hold_s) for payee, hold_s in over)
    return *sends, byzantine_steps.NodeForgetsPayments(at_s=32.0, for_s=40.0 + turn % 3)


def vanished_after_a_lost_call(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """For all the gateway knows, the call before may still arrive."""
    payee: steps.Payee = in_turn(turn, "holds and fails", "holds and fails", "holds and takes")
    send = sending(dice, dice.randrange(2), payee, hold_s=15.0)
    lost = just_before(send, "pay", Fault.LOST)
    return send, lost, byzantine_steps.NodeForgetsPayments(at_s=send.at_s, for_s=40.0)


def stray(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """A call that was given up begins the payment after all."""
    payee: steps.Payee = in_turn(turn, "takes", "holds and takes", "holds and fails")
    send = sending(dice, dice.randrange(2), payee, hold_s=60.0)
    return (
        send,
        just_before(send, "pay", Fault.DELAYED, Fault.REFUSED),
        *(steps.DeliverLate(at_s=send.at_s + after_s) for after_s in (5.0, 20.0, 40.0)),
    )


def dismissed(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """Coins that were never sent, and a payment that is Unanswered for longer than its contract lasts."""
    dismiss = steps.Dismiss(at_s=0.0)
    if turn % 2:
        order = steps.OperatorSends(at_s=at(dice), value_sat=10_000)
        return order, just_before(order, "send_onchain", Fault.LOST), dismiss
    send = sending(dice, dice.randrange(2), "takes", expiry_s=1_800)
    return send, just_before(send, "pay", Fault.LOST, Fault.REFUSED), dismiss


def end_unheard(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The payment ends at once, and what the node says of it is lost."""
    faults = in_turn(turn, (Fault.TAKEN,), (Fault.LOST, Fault.TAKEN))
    payee: steps.Payee = in_turn(
        turn // 2, "knows nothing", "takes", "knows nothing", "knows nothing"
    )
    send = sending(dice, dice.randrange(2), payee)
    return send, just_before(send, "pay", *faults)
