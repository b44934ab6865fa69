"""Draws a run's workload and faults from its seed, and leaves steps out on request."""

import random
from collections.abc import Callable, Collection

import msgspec

from backends.simulated.node import Fault
from backends.simulated.part import Call
from devnet.users.receiving import Flaw
from fuzz.simulation import paces
from fuzz.simulation.acts import absurdities, data_loss, giving_up, mistakes
from fuzz.simulation.plans import neighbours, operator_steps, steps, stories
from fuzz.simulation.plans.steps import AnyStep

#: How long people and faults are at work; what is under way then goes on undisturbed.
PHASE_S = 120.0
PEOPLE, TROUBLE = (2, 6), (0, 8)
#: Seeds that end with this digit are calm.
_CALM_DIGIT = 4
#: How often the call that follows one that is read late is refused: what it means for the first is easily got wrong.
_STRAY = 0.3
_AMOUNTS_MSAT = (1_000, 512_000, 1_234_567, 5_000_001, 20_000_000)
_CALLS: tuple[Call, ...] = (
    *("pay",) * 3,
    *("settle",) * 2,
    "create_invoice",
    "held_payments",
    "cancel",
)


class Plan(msgspec.Struct, frozen=True):
    """Everything that is drawn from one seed. Which of its steps happen decides a mask."""

    seed: int
    steps: tuple[AnyStep, ...]

    def without(self, left_out: Collection[int]) -> tuple[AnyStep, ...]:
        """The steps but those at these places."""
        return tuple(step for place, step in enumerate(self.steps) if place not in left_out)


def draw(seed: int) -> Plan:
    """The plan of a seed: people first, then trouble; every other seed tells a story, every tenth a disaster.

    Nothing goes wrong in every other tenth, so that a gateway that refuses payments is noticed.
    """
    dice = random.Random(f"plan {seed}")
    if seed % 10 == _CALM_DIGIT:
        calm = (dice.choice(_CALM_PEOPLE)(dice) for _ in range(dice.randint(*PEOPLE)))
        return Plan(seed, (*calm, *paces.draw(seed, may_be_slow=False)))
    people = [dice.choice(_PEOPLE)(dice) for _ in range(dice.randint(*PEOPLE))]
    trouble = [dice.choice(_TROUBLE)(dice) for _ in range(dice.randint(*TROUBLE))]
    story = stories.told(dice, seed // 2) if seed % 2 else ()
    if any(isinstance(step, operator_steps.ReplaceNode) for step in story):
        people, trouble = [], []  # what anybody else had under way would be given up, too
    apart = (
        *data_loss.draw(seed),
        *giving_up.draw(seed),
        *mistakes.draw(seed),
        *absurdities.draw(seed),
        *neighbours.draw(seed),
    )
    return Plan(seed, (*people, *trouble, *story, *paces.draw(seed), *apart))


# --- people ------------------------------------------------------------------------------------------------------


def _at(dice: random.Random) -> float:
    """Often at the same moment as others."""
    return float(dice.choice((0, 0, 1, 5, 20, 40, 60, dice.uniform(0, PHASE_S * 0.6))))


def _federation(dice: random.Random) -> int:
    return dice.choice((0, 0, 1))


def _amount_msat(dice: random.Random) -> int:
    return dice.choice(_AMOUNTS_MSAT)


def _flaw(dice: random.Random) -> Flaw | None:
    return None if dice.random() < 0.5 else dice.choice(tuple(Flaw))


def _payee(dice: random.Random) -> steps.Payee:
    return dice.choice(("takes", "takes", "holds and takes", "holds and fails", "knows nothing"))


def _send(dice: random.Random) -> AnyStep:
    return steps.Send(
        at_s=_at(dice),
        federation=_federation(dice),
        amount_msat=_amount_msat(dice),
        payee=_payee(dice),
        hold_s=dice.uniform(1, PHASE_S),
        expiry_s=dice.choice((1, 60, 200, 600)),
        twist=dice.choice(
            (
                *("none",) * 4,
                "poor",
                "short",
                "two contracts",
                "not ours",
                "hangs up",
                "asks twice",
                "names another output",
            )
        ),
    )


def _receive(dice: random.Random) -> AnyStep:
    return steps.Receive(
        at_s=_at(dice),
        federation=_federation(dice),
        amount_msat=dice.choice(_AMOUNTS_MSAT[1:]),
        payer=dice.choice(
            (*("pays",) * 4, "locks more", "pays twice", "pays late", "does not pay")
        ),
        flaw=_flaw(dice),
        expiry_s=dice.choice((20, 60, 200, 600)),
        pays_after_s=dice.choice((0.0, 0.5, 5.0, 30.0)),
    )


def _swap(dice: random.Random) -> AnyStep:
    return steps.Swap(
        at_s=_at(dice),
        source=_federation(dice),
        target=_federation(dice),
        amount_msat=dice.choice(_AMOUNTS_MSAT[1:]),
        flaw=_flaw(dice),
        lightning_too=dice.random() < 0.3,
    )


def _deposit(dice: random.Random) -> AnyStep:
    value_sat = dice.choice((1, 900, 30_000, 250_000))
    return steps.Deposit(at_s=_at(dice), federation=_federation(dice), value_sat=value_sat)


def _withdraw(dice: random.Random) -> AnyStep:
    value_sat = dice.choice((0, 10_000, 12_000, 10_000_000))
    return steps.Withdraw(at_s=_at(dice), federation=_federation(dice), value_sat=value_sat)


def _hand_in(dice: random.Random) -> AnyStep:
    return steps.HandIn(
        at_s=_at(dice),
        federation=_federation(dice),
        amount_msat=dice.choice((512, 5_120, 1_024_000)),
        spent_elsewhere=dice.random() < 0.3,
    )


def _give(dice: random.Random) -> AnyStep:
    return steps.Give(
        at_s=_at(dice),
        federation=_federation(dice),
        amount_msat=dice.choice((512, 700_000, 3_000_000, 90_000_000)),
        redeemed=dice.random() < 0.7,
    )


def _leave(dice: random.Random) -> AnyStep:
    return steps.Leave(
        at_s=_at(dice), federation=_federation(dice), away_s=dice.choice((0.0, 5.0, 60.0))
    )


def _set_terms(dice: random.Random) -> AnyStep:
    return steps.SetTerms(
        at_s=_at(dice),
        federation=_federation(dice),
        transaction_base_msat=dice.choice((2_000, 2_001, 50_000)),
        receive_enabled=dice.random() < 0.7,
    )


def _operator_pays(dice: random.Random) -> AnyStep:
    return steps.OperatorPays(
        at_s=_at(dice),
        amount_msat=_amount_msat(dice),
        payee=_payee(dice),
        hold_s=dice.uniform(1, PHASE_S),
        again=dice.random() < 0.5,
    )


def _operator_sends(dice: random.Random) -> AnyStep:
    return steps.OperatorSends(at_s=_at(dice), value_sat=dice.choice((10_000, 2_000_000)))


_PEOPLE: tuple[Callable[[random.Random], AnyStep], ...] = (
    *(_send,) * 5,
    *(_receive,) * 5,
    *(_swap,) * 3,
    _deposit,
    _withdraw,
    _hand_in,
    _give,
    _leave,
    _set_terms,
    _operator_pays,
    _operator_sends,
)


_CALM_PEOPLE = tuple(who for who in _PEOPLE if who not in {_leave, _set_terms})


# --- trouble -----------------------------------------------------------------------------------------------------


def _for(dice: random.Random) -> float:
    return float(dice.choice((1, 10, 60, PHASE_S)))


def _crash(dice: random.Random) -> AnyStep:
    return steps.Crash(
        at_s=_at(dice),
        probes=dice.choice((1, 2, 3, dice.randint(1, 60))),
        down_s=dice.choice((0.0, 0.0, 20.0)),
    )


def _call_fault(dice: random.Random) -> AnyStep:
    call = dice.choice(_CALLS)
    faults = [Fault.LOST, Fault.DELAYED, Fault.REFUSED, Fault.TAKEN]
    if call in {"pay", "held_payments"}:
        faults.append(Fault.CUT)
    if call == "held_payments":
        faults.remove(Fault.DELAYED)
    drawn = dice.choices(faults, k=dice.choice((1, 1, 2, 3)))
    if call == "pay" and dice.random() < _STRAY:
        drawn = [Fault.DELAYED, Fault.REFUSED]
    return steps.CallFault(at_s=0.0, call=call, faults=tuple(drawn))


def _guardian_down(dice: random.Random) -> AnyStep:
    federation = _federation(dice)
    peer = dice.randrange(4) if federation else 0
    return steps.GuardianDown(at_s=_at(dice), federation=federation, peer=peer, for_s=_for(dice))


def _guardian_slow(dice: random.Random) -> AnyStep:
    federation = _federation(dice)
    peer = dice.randrange(4) if federation else 0
    return steps.GuardianSlow(
        at_s=_at(dice),
        federation=federation,
        peer=peer,
        pause_s=dice.uniform(0.1, 5),
        for_s=_for(dice),
    )


def _guardian_lies(dice: random.Random) -> AnyStep:
    lie: steps.Lie = dice.choice(("wrong shares", "wrong errors", "garbage"))
    return steps.GuardianLies(at_s=_at(dice), lie=lie, for_s=_for(dice))


def _slow_consensus(dice: random.Random) -> AnyStep:
    return steps.SlowConsensus(
        at_s=_at(dice),
        federation=_federation(dice),
        pause_s=dice.uniform(0.1, 10),
        for_s=_for(dice),
    )


_TROUBLE: tuple[Callable[[random.Random], AnyStep], ...] = (
    *(_crash,) * 5,
    *(_call_fault,) * 4,
    lambda dice: steps.DeliverLate(at_s=dice.uniform(0, PHASE_S)),
    lambda dice: steps.NodeDown(at_s=_at(dice), for_s=_for(dice)),
    lambda dice: steps.NodeStreamsCut(at_s=_at(dice)),
    lambda dice: steps.NodeRepeats(at_s=_at(dice)),
    lambda dice: steps.NodeBehind(at_s=_at(dice), for_s=_for(dice)),
    _guardian_down,
    _guardian_slow,
    *(_guardian_lies,) * 3,
    lambda dice: steps.AnswersLost(at_s=_at(dice), federation=_federation(dice), for_s=_for(dice)),
    lambda dice: steps.Partition(at_s=_at(dice), federation=_federation(dice), for_s=_for(dice)),
    _slow_consensus,
    lambda dice: steps.Mine(at_s=_at(dice), blocks=dice.choice((1, 3, 8))),
    lambda dice: steps.Reorganise(at_s=_at(dice), blocks=dice.randint(1, 6)),
    lambda dice: steps.ClockJump(at_s=_at(dice), seconds=dice.uniform(-50, 50)),
    lambda dice: steps.SlowDisk(
        at_s=_at(dice), pause_s=dice.choice((0.001, 0.3, 5.0)), for_s=_for(dice)
    ),
    lambda dice: steps.Crowd(at_s=_at(dice), for_s=dice.choice((1.0, 10.0))),
)
