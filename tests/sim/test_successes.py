"""Counts how many honest payments succeed in simulated runs, and judges runs without faults."""

from collections import Counter

import pytest

from fuzz.mutants.catalogue import MUTANTS
from fuzz.simulation.judging import successes
from fuzz.simulation.plans import byzantine_steps, operator_steps, plan, steps
from fuzz.simulation.plans.steps import AnyStep
from fuzz.simulation.play import play

SEND = steps.Send(
    at_s=1.0,
    federation=0,
    amount_msat=1_234_567,
    payee="takes",
    hold_s=1.0,
    expiry_s=600,
    twist="none",
)
CRASH = steps.Crash(at_s=1.0, probes=1, down_s=0.0)
POOR = steps.Send(
    at_s=1.0,
    federation=0,
    amount_msat=1_234_567,
    payee="takes",
    hold_s=1.0,
    expiry_s=600,
    twist="poor",
)


CALM = [
    seed
    for seed in range(100)
    if successes.is_calm(drawn := plan.draw(seed).steps) and any(map(successes.is_good, drawn))
]


def test_one_seed_in_twenty_is_at_peace() -> None:
    assert len(CALM) >= 5


@pytest.mark.parametrize("seed", CALM[:3])
def test_in_peace_every_honest_payment_succeeds(seed: int) -> None:
    outcome = play(seed)
    assert outcome.problems == ()
    shares = successes.shares(outcome.counts)
    assert shares
    assert all(share.succeeded == share.wanted > 0 for share in shares)


@pytest.mark.parametrize("mutant", ["refuse every receiver", "refuse every sender"])
def test_a_gateway_that_refuses_everything_is_seen_in_peace(mutant: str) -> None:
    with MUTANTS[mutant].apply():
        problems = play(4).problems
    assert any(problem.startswith("10: 0 of ") for problem in problems)


def test_of_dishonest_payments_nothing_is_expected() -> None:
    counts: Counter[str] = Counter()
    successes.count(counts, POOR, succeeded=False)
    assert successes.shares(counts) == []
    successes.count(counts, SEND, succeeded=True)
    successes.count(counts, SEND, succeeded=False)
    assert successes.shares(counts) == [successes.Share("Send", wanted=2, succeeded=1)]


@pytest.mark.parametrize(
    "spoils",
    [
        byzantine_steps.NeighbourCancels(at_s=1.0, is_held=False, for_s=1.0),
        operator_steps.CannotBuild(at_s=1.0, parent="send", mended_after_s=1.0),
    ],
)
def test_where_somebody_sees_to_it_that_payments_fail_none_is_counted(spoils: AnyStep) -> None:
    counts = {"wanted Send": 2, "succeeded Send": 1, "lives": 1}
    assert successes.counted((SEND, CRASH), counts) == counts
    assert successes.counted((SEND, spoils), counts) == {"lives": 1}


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ((SEND,), ["10: 1 of 2 wanted Send succeeded (50 %), and nothing went wrong"]),
        ((SEND, CRASH), []),
    ],
    ids=["peace", "trouble"],
)
def test_only_in_peace_is_one_refusal_too_many(
    chosen: tuple[AnyStep, ...], told: list[str]
) -> None:
    counts = {"wanted Send": 2, "succeeded Send": 1}
    assert successes.problems(chosen, counts) == told


def test_over_many_runs_half_of_each_kind_must_succeed() -> None:
    few = {"wanted Send": 99, "succeeded Send": 0}
    half = {"wanted Swap": 100, "succeeded Swap": 50}
    less = {"wanted Give": 100, "succeeded Give": 49}
    assert successes.too_few(few | half | less) == [successes.Share("Give", 100, 49)]
