"""Counts payments wanted in good faith and those that succeeded, since a gateway that refuses all is useless."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import NamedTuple

from fuzz.simulation.acts.operating import FLOAT_MSAT
from fuzz.simulation.plans import byzantine_steps, operator_steps, steps, time_steps
from fuzz.simulation.plans.steps import AnyStep

_WANTED, _SUCCEEDED = "wanted ", "succeeded "
#: Nobody's fault is among these: what everybody does here the gateway must do.
_HARMLESS = (
    *(steps.Send, steps.Receive, steps.Swap, steps.Deposit, steps.Withdraw, steps.HandIn),
    *(steps.Give, steps.OperatorPays, steps.OperatorSends),
)
#: Who does so sees to it that a payment fails, or many do.
_SPOILING = (
    *(operator_steps.CannotBuild, operator_steps.GiveUp),
    *(byzantine_steps.NeighbourCancels, byzantine_steps.AbsurdGuardians),
)
#: Longer than a gateway takes that nothing disturbs.
_IN_TIME_S = 15.0
#: A receiver who waits no longer than that is not paid for.
_MARGIN_S = 60.0
#: Later blocks end what a payee still holds.
_HELD_UNTIL_S = 110.0
#: Worth a fee; less than all that the gateway has.
_WORTH_MSAT, _AFFORDED_MSAT = 100_000, 10_000_000
#: Of what the gateway has in a federation, since notes that are being changed are missing for a while.
_AFFORDED_TOGETHER = 0.8
#: Of so many wanted payments of a kind, whatever goes wrong beside them, so many succeed at least.
_COUNTED_FROM, _SHARE_MIN = 100, 0.5


class Share(NamedTuple):
    """How many payments of a kind were wanted, and how many of these succeeded."""

    kind: str
    wanted: int
    succeeded: int

    def __str__(self) -> str:
        percent = 100 * self.succeeded // self.wanted if self.wanted else 0
        return f"{self.succeeded} of {self.wanted} wanted {self.kind} succeeded ({percent} %)"


def is_good(step: AnyStep) -> bool:
    """Whether somebody wants nothing but an honest payment that can be made."""
    good = False
    match step:
        case steps.Send(twist="none" | "hangs up" | "asks twice", payee="takes"):
            good = step.expiry_s > _IN_TIME_S
        case steps.Send(twist="none" | "hangs up" | "asks twice", payee="holds and takes"):
            good = step.expiry_s > _IN_TIME_S and step.at_s + step.hold_s < _HELD_UNTIL_S
        case steps.Receive(payer="pays", flaw=None):
            good = step.expiry_s > step.pays_after_s + _MARGIN_S + _IN_TIME_S
        case steps.Swap(flaw=None, lightning_too=False):
            good = True
        case steps.HandIn(spent_elsewhere=False):
            good = step.amount_msat > _WORTH_MSAT
        case steps.Give():
            good = _WORTH_MSAT < step.amount_msat < _AFFORDED_MSAT
        case steps.Withdraw(value_sat=value_sat):
            good = _WORTH_MSAT < 1_000 * value_sat < _AFFORDED_MSAT * 10
        case steps.OperatorPays(payee="takes"):  # a few per cent of less buy no route
            good = step.amount_msat > _WORTH_MSAT
    return good


def count(counts: Counter[str], step: AnyStep, *, succeeded: bool) -> None:
    """Add one payment that is over, if it was a good one."""
    if is_good(step):
        kind = type(step).__name__
        counts[_WANTED + kind] += 1
        counts[_SUCCEEDED + kind] += succeeded


def counted(chosen: Collection[AnyStep], counts: Mapping[str, int]) -> dict[str, int]:
    """The counts of a run, without those of its payments when somebody saw to it that some of them fail."""
    if not any(isinstance(step, _SPOILING) for step in chosen):
        return dict(counts)
    return {
        name: count for name, count in counts.items() if not name.startswith((_WANTED, _SUCCEEDED))
    }


def shares(counts: Mapping[str, int]) -> list[Share]:
    """Of every kind that was wanted."""
    kinds = sorted(name.removeprefix(_WANTED) for name in counts if name.startswith(_WANTED))
    return [Share(kind, counts[_WANTED + kind], counts.get(_SUCCEEDED + kind, 0)) for kind in kinds]


def is_calm(chosen: Collection[AnyStep]) -> bool:
    """Whether nothing goes wrong in a run, nobody disturbs anybody, and there is ecash for all of them."""
    is_quiet = all(
        isinstance(step, _HARMLESS) or (isinstance(step, time_steps.Paces) and step.is_usual)
        for step in chosen
    )
    return is_quiet and sum(map(_taken_msat, chosen)) < _AFFORDED_TOGETHER * FLOAT_MSAT


def _taken_msat(step: AnyStep) -> int:
    """What the gateway's ecash has to bring for a step, at most."""
    match step:
        case steps.Receive() | steps.Swap() | steps.Give():
            return step.amount_msat
        case steps.Withdraw(value_sat=0):
            return FLOAT_MSAT
        case steps.Withdraw():
            return 1_000 * step.value_sat
    return 0


def problems(chosen: Collection[AnyStep], counts: Mapping[str, int]) -> list[str]:
    """In a calm run every good payment succeeds."""
    if not is_calm(chosen):
        return []
    return [
        f"10: {share}, and nothing went wrong"
        for share in shares(counts)
        if share.succeeded < share.wanted
    ]


def too_few(counts: Mapping[str, int]) -> list[Share]:
    """The kinds of which too few succeeded, over many runs."""
    return [
        share
        for share in shares(counts)
        if share.wanted >= _COUNTED_FROM and share.succeeded < _SHARE_MIN * share.wanted
    ]
