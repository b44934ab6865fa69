"""Each disabled rule is caught by the simulation of a recorded seed."""

import os

import pytest

from fuzz.mutants.catalogue import MUTANTS
from fuzz.mutants.mutant import Mutant, is_caught
from fuzz.simulation import play

pytestmark = pytest.mark.skipif(
    os.environ.get("PYTHONHASHSEED") != "0", reason="needs PYTHONHASHSEED=0, as nox sets it"
)


def test_every_promise_can_be_broken() -> None:
    assert {mutant.promise for mutant in MUTANTS.values()} == set(range(1, 11))


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=lambda one: one.name)
def test_a_mutant_is_caught_and_the_gateway_is_not(mutant: Mutant) -> None:
    for seed in mutant.caught_by:
        assert play.play(seed).problems == ()
        if is_caught(mutant, seed):
            return
    pytest.fail("no seed on record catches it any more: look for others with `nox -s mutants`")
