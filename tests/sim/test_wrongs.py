"""Faults of others in a simulated run happen, and a loss that none explains is still found."""

import pytest

from fuzz.simulation import harness
from fuzz.simulation.judging.recorded_faults import Wrongs
from fuzz.simulation.plans import byzantine_steps, plan
from fuzz.simulation.plans.steps import AnyStep
from fuzz.simulation.play import play
from statemachines import completion, deposit, receive, send


class Unseen(set[object]):
    """Forgets whatever is written into it."""

    def add(self, element: object) -> None:
        del element

    def update(self, *others: object) -> None:
        del others


def _seeds_with(wrong: type[AnyStep], **fields: object) -> list[int]:
    return [
        seed
        for seed in range(400)
        for step in plan.draw(seed).steps
        if type(step) is wrong
        and all(getattr(step, field) == value for field, value in fields.items())
    ]


WRONGS = [
    pytest.param(
        "refused",
        _seeds_with(byzantine_steps.FederationRefuses, kind="claim"),
        send.ClaimRejected,
        id="a claim that is refused",
    ),
    pytest.param(
        "refused",
        _seeds_with(byzantine_steps.FederationRefuses, kind="taking back"),
        receive.RefundLost,
        id="a contract that may not be taken back",
    ),
    pytest.param(
        "taken", _seeds_with(byzantine_steps.DepositsTaken), deposit.Dropped, id="a deposit taken"
    ),
    pytest.param(
        "given_up",
        _seeds_with(byzantine_steps.NodeGivesUp),
        completion.SettleRejected,
        id="HTLCs given up",
    ),
    pytest.param(
        "forgotten",
        _seeds_with(byzantine_steps.NodeForgetsInvoices),
        completion.CancelRejected,
        id="an invoice forgotten",
    ),
]


@pytest.mark.parametrize(("on_record", "seeds", "end"), WRONGS)
def test_a_loss_is_forgiven_only_to_whom_a_wrong_was_done(
    monkeypatch: pytest.MonkeyPatch, on_record: str, seeds: list[int], end: type
) -> None:
    for seed in seeds:
        outcome = play(seed)
        assert outcome.problems == (), outcome.trace
        if any(type(state) is end for state in outcome.states.values()):
            break
    else:
        pytest.fail(f"none of the seeds {seeds} ends in {end.__name__}")

    def unseen() -> Wrongs:
        wrongs = Wrongs()
        setattr(wrongs, on_record, Unseen())
        return wrongs

    monkeypatch.setattr(harness, "Wrongs", unseen)
    blamed = play(seed).problems
    assert any("nobody is to blame but the gateway" in problem for problem in blamed)
