"""What must be played within few seeds: steps that belong together, each story in its turn, beside what the dice bring.

What is rare by chance, and rarer the more goes wrong beside it, is told here on purpose. `turn` is how often a
story was told before, for stories of which there are several versions.
"""

import random
from collections.abc import Callable
from typing import TypeVar

from backends.simulated import Fault
from backends.simulated_part import Call
from devnet.receiving import Flaw
from fuzz import operator_steps, steps, wrong_steps
from fuzz.operating import FLOAT_MSAT
from fuzz.steps import AnyStep
from statemachines import ALL_MACHINES

T = TypeVar("T")
Story = Callable[[random.Random, int], tuple[AnyStep, ...]]

_LONG_S = 120.0
#: How often the gateway dies amid a story.
_DIES = 0.4
_AMOUNT_MSAT = 1_234_567
#: Less than taking it back costs.
_TINY_MSAT = 3_500
#: The least of ecash.
_LEAST_MSAT = 512
#: More than makes a deposit final.
_BURIED_BLOCKS = 10


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


def _at(dice: random.Random) -> float:
    """Seldom at the same moment as others, who would meet what is meant for this story."""
    return dice.uniform(2, 30)


def _just_before(step: AnyStep, call: Call, *faults: Fault) -> AnyStep:
    return steps.CallFault(at_s=step.at_s - 0.5, call=call, faults=faults)


def _in_turn(turn: int, *versions: T) -> T:
    return versions[turn % len(versions)]


# --- the federation refuses --------------------------------------------------------------------------------------


def _refusing(
    dice: random.Random, federation: int, kind: wrong_steps.Kind, times: int = 1
) -> wrong_steps.FederationRefuses:
    for_s = dice.choice((60.0, _LONG_S))
    return wrong_steps.FederationRefuses(
        at_s=0.0, federation=federation, kind=kind, times=times, for_s=for_s
    )


def _claim_refused(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The sender has his preimage, and the gateway nothing: that is the federation's fault.

    Who comes after him is given his money back, until the operator says so.
    """
    federation = turn % 2
    send = _sending(dice, federation, "takes")
    return (
        send,
        _refusing(dice, federation, "claim", dice.choice((1, 2))),
        _sending(dice, federation, "takes", at_s=send.at_s + dice.uniform(5, 30)),
        operator_steps.TrustAgain(at_s=send.at_s + 40, federation=federation),
        _sending(dice, federation, "takes", at_s=send.at_s + 45),
    )


def _capped(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """Of payments at the same time so many fit as the cap leaves room for; then it is raised, or is as before."""
    federation = turn % 2
    room_msat = dice.choice((0, 1_300_000, 2_600_000))
    at_s = _at(dice)
    return (
        operator_steps.SetCap(
            at_s=at_s - 1, federation=federation, cap_msat=FLOAT_MSAT + room_msat
        ),
        *(_sending(dice, federation, "holds and takes", at_s=at_s) for _ in range(3)),
        operator_steps.SetCap(at_s=at_s + 30, federation=federation, cap_msat=None),
        _sending(dice, federation, "takes", at_s=at_s + 35),
    )


def _funding_refused(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    federation = turn % 2
    paid: AnyStep = _receiving(dice, federation)
    if turn // 2 % 2:
        paid = _swapping(dice, federation)
    return paid, _refusing(dice, federation, "funding")


def _refund_refused(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    federation = turn % 2
    receive = _receiving(dice, federation, flaw=Flaw.WRONG_PREIMAGE)
    return receive, _refusing(dice, federation, "taking back")


def _withdrawal_refused(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    federation = turn % 2
    withdrawal = steps.Withdraw(at_s=_at(dice), federation=federation, value_sat=10_000)
    return withdrawal, _refusing(dice, federation, "withdrawal")


def _deposit_refused(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    federation = turn % 2
    return (*_depositing(federation), _refusing(dice, federation, "deposit", dice.choice((1, 3))))


def _gift_refused(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """Notes that fit must be made first, and are not."""
    federation = turn % 2
    refusing = _refusing(dice, federation, "ecash", _in_turn(turn // 2, 3, 6, 12))
    return (*_giving(dice, federation), refusing)


def _everything_refused(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """Of the gateway's, also the reissue of the notes that were refused before."""
    federation = turn % 2
    return (
        _sending(dice, federation, "takes"),
        _receiving(dice, federation),
        _receiving(dice, federation, flaw=Flaw.WRONG_PREIMAGE),
        steps.Withdraw(at_s=_at(dice), federation=federation, value_sat=10_000),
        *_giving(dice, federation),
        _refusing(dice, federation, "gateway's", dice.randint(2, 12)),
    )


# --- the node and who sits at it ---------------------------------------------------------------------------------


def _given_up(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The receiver is paid for, and what pays for him is failed back."""
    federation = turn % 2
    slow = [
        steps.GuardianSlow(
            at_s=0.0, federation=federation, peer=peer, pause_s=dice.uniform(1, 4), for_s=_LONG_S
        )
        for peer in range(4 if federation else 1)
    ]
    return (
        _receiving(dice, federation),
        *slow,
        wrong_steps.NodeGivesUp(at_s=0.0, for_s=_LONG_S),
    )


def _invoice_forgotten(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    swap = _swapping(dice, turn % 2, at_s=0.0, pays_after_s=30.0)
    return swap, wrong_steps.NodeForgetsInvoices(at_s=dice.uniform(20, 29))


def _paid_early(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The node's answer with the invoice is lost again and again, and somebody pays it meanwhile."""
    federation = turn % 2
    receive = _receiving(dice, federation, payer="pays early", pays_after_s=0.5)
    lost = _just_before(receive, "create_invoice", *(Fault.TAKEN,) * 6)
    if turn // 2 % 2:
        return receive, lost
    off = steps.SetTerms(
        at_s=receive.at_s + 0.2,
        federation=federation,
        transaction_base_msat=2_000,
        receive_enabled=False,
    )
    return receive, lost, off


def _paid_by_hand(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    payees: tuple[steps.Payee, ...] = ("takes", "knows nothing", "holds and takes")
    more: steps.Payee = "holds and fails" if turn % 2 else "takes"
    return tuple(
        _sending(dice, dice.randrange(2), payee, twist="paid by hand") for payee in (*payees, more)
    )


def _foreign(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    return (_sending(dice, turn % 2, "takes", twist="other network"),)


def _vanished(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """They come back over, or in flight still."""
    over: tuple[tuple[steps.Payee, float], ...] = (
        ("holds and takes", 35.0),
        ("holds and fails", 35.0),
        ("holds and takes", _LONG_S),
    )
    sends = (_sending(dice, dice.randrange(2), payee, hold_s=hold_s) for payee, hold_s in over)
    return *sends, wrong_steps.NodeForgetsPayments(at_s=32.0, for_s=40.0 + turn % 3)


def _vanished_after_a_lost_call(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """For all the gateway knows, the call before may still arrive."""
    payee: steps.Payee = _in_turn(turn, "holds and fails", "holds and fails", "holds and takes")
    send = _sending(dice, dice.randrange(2), payee, hold_s=15.0)
    lost = _just_before(send, "pay", Fault.LOST)
    return send, lost, wrong_steps.NodeForgetsPayments(at_s=send.at_s, for_s=40.0)


def _stray(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """A call that was given up begins the payment after all."""
    payee: steps.Payee = _in_turn(turn, "takes", "holds and takes", "holds and fails")
    send = _sending(dice, dice.randrange(2), payee, hold_s=60.0)
    return (
        send,
        _just_before(send, "pay", Fault.DELAYED, Fault.REFUSED),
        *(steps.DeliverLate(at_s=send.at_s + after_s) for after_s in (5.0, 20.0, 40.0)),
    )


def _dismissed(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """Coins that were never sent, and a payment that is Unanswered for longer than its contract lasts."""
    dismiss = steps.Dismiss(at_s=0.0)
    if turn % 2:
        order = steps.OperatorSends(at_s=_at(dice), value_sat=10_000)
        return order, _just_before(order, "send_onchain", Fault.LOST), dismiss
    send = _sending(dice, dice.randrange(2), "takes", expiry_s=1_800)
    return send, _just_before(send, "pay", Fault.LOST, Fault.REFUSED), dismiss


def _end_unheard(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The payment ends at once, and what the node says of it is lost."""
    faults = _in_turn(turn, (Fault.TAKEN,), (Fault.LOST, Fault.TAKEN))
    payee: steps.Payee = _in_turn(
        turn // 2, "knows nothing", "takes", "knows nothing", "knows nothing"
    )
    send = _sending(dice, dice.randrange(2), payee)
    return send, _just_before(send, "pay", *faults)


# --- the log is lost ---------------------------------------------------------------------------------------------


def _lost_at(point: str, at_s: float, lost_after_s: float) -> steps.DiskLost:
    """What comes after this point is in no backup."""
    return steps.DiskLost(
        at_s=at_s - 0.5, probes=1, point=point, lost_after_s=lost_after_s, down_s=1.0
    )


def _receive_lost(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The contract is funded, and the log says that it is to be, or not even that."""
    receive = _receiving(dice, dice.randrange(2))
    lost_after_s = dice.uniform(1, 9)
    if turn % 2:
        return receive, _lost_at("after receive.funding", receive.at_s, lost_after_s)
    unanswered = steps.CallFault(
        at_s=receive.at_s + 0.5, call="create_invoice", faults=(Fault.LOST,) * 8
    )
    return receive, unanswered, _lost_at("after receive.registered", receive.at_s, lost_after_s)


def _send_lost(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The invoice is called for, or will be, and the log does not know how often."""
    payees: tuple[steps.Payee, ...] = ("takes", "holds and takes", "holds and fails")
    send = _sending(dice, dice.randrange(2), dice.choice(payees))
    point = _in_turn(turn, "after send.unanswered", "after send.accepted", "after send.dispatching")
    backup = _lost_at(point, send.at_s, dice.uniform(1, 9))
    if point != "after send.unanswered":
        return send, backup
    return send, _just_before(send, "pay", Fault.LOST, Fault.REFUSED), backup


def _swap_lost(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """Its receiver is funded, and the log knows of neither or of the sender alone."""
    swap = _swapping(dice, turn % 2)
    point = _in_turn(turn, "after send.accepted", "after receive.invoiced")
    return swap, _lost_at(point, swap.at_s, dice.uniform(1, 9))


# --- coins and ecash ---------------------------------------------------------------------------------------------


def _deposit_taken(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The gateway dies between finding a deposit and claiming it, and comes back to find it gone."""
    federation = turn % 2
    point = _in_turn(turn // 2, "after deposit.found", "after deposit.claiming")
    return (
        *_depositing(federation),
        wrong_steps.CrashAt(at_s=0.0, point=point, hits=1, down_s=dice.uniform(5, 20)),
        wrong_steps.DepositsTaken(at_s=0.0, federation=federation, for_s=_LONG_S),
    )


def _small_gifts(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    return _giving(dice, turn % 2)


def _tiny_contract(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """It holds no preimage and is not worth taking back."""
    receive = _receiving(dice, turn % 2, flaw=Flaw.WRONG_PREIMAGE, amount_msat=_TINY_MSAT)
    return (receive,)


def _reissue_forgotten(dice: random.Random, turn: int) -> tuple[AnyStep, ...]:
    """The gateway dies before it has signed, and forgets whose notes these are."""
    hand_in = steps.HandIn(
        at_s=_at(dice), federation=turn % 2, amount_msat=1_024_000, spent_elsewhere=False
    )
    dies = wrong_steps.CrashAt(
        at_s=hand_in.at_s - 0.5, point="after reissue.requested", hits=1, down_s=0.0
    )
    return hand_in, dies


_STORIES: tuple[Story, ...] = (
    _claim_refused,
    _capped,
    _funding_refused,
    _refund_refused,
    _withdrawal_refused,
    _deposit_refused,
    _gift_refused,
    _everything_refused,
    _given_up,
    _invoice_forgotten,
    _paid_early,
    _paid_by_hand,
    _foreign,
    _vanished,
    _vanished_after_a_lost_call,
    _stray,
    _end_unheard,
    _dismissed,
    _receive_lost,
    _send_lost,
    _swap_lost,
    _deposit_taken,
    _small_gifts,
    _tiny_contract,
    _reissue_forgotten,
)


# --- steps of more than one story --------------------------------------------------------------------------------


def _sending(
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
        at_s=_at(dice) if at_s is None else at_s,
        federation=federation,
        amount_msat=_AMOUNT_MSAT,
        payee=payee,
        hold_s=hold_s,
        expiry_s=expiry_s,
        twist=twist,
    )


def _receiving(
    dice: random.Random,
    federation: int,
    *,
    payer: steps.Payer = "pays",
    flaw: Flaw | None = None,
    amount_msat: int = _AMOUNT_MSAT,
    pays_after_s: float = 0.0,
) -> steps.Receive:
    return steps.Receive(
        at_s=_at(dice),
        federation=federation,
        amount_msat=amount_msat,
        payer=payer,
        flaw=flaw,
        expiry_s=600,
        pays_after_s=pays_after_s,
    )


def _swapping(
    dice: random.Random, target: int, at_s: float | None = None, pays_after_s: float = 0.0
) -> steps.Swap:
    return steps.Swap(
        at_s=_at(dice) if at_s is None else at_s,
        source=dice.randrange(2),
        target=target,
        amount_msat=_AMOUNT_MSAT,
        flaw=None,
        lightning_too=False,
        pays_after_s=pays_after_s,
    )


def _depositing(federation: int) -> tuple[AnyStep, ...]:
    """A deposit that is found while things go wrong."""
    deposit = steps.Deposit(at_s=0.0, federation=federation, value_sat=250_000)
    mined = (steps.Mine(at_s=at_s, blocks=_BURIED_BLOCKS) for at_s in (10.0, 30.0, 50.0, 70.0))
    return deposit, *mined


def _giving(dice: random.Random, federation: int) -> tuple[AnyStep, ...]:
    """The smallest notes, until there are none."""
    return tuple(
        steps.Give(
            at_s=float(second),
            federation=federation,
            amount_msat=_LEAST_MSAT,
            redeemed=dice.random() < 0.5,
        )
        for second in range(6)
    )
