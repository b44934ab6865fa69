"""Each rule that is taken out of the gateway is missed by the simulation of a seed that is on record."""

import os

import pytest

from fuzz import play
from fuzz.mutants import MUTANTS, Mutant, is_caught

pytestmark = pytest.mark.skipif(
    os.environ.get("PYTHONHASHSEED") != "0", reason="needs PYTHONHASHSEED=0, as nox sets it"
)


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=lambda one: one.name)
def test_a_mutant_is_caught_and_the_gateway_is_not(mutant: Mutant) -> None:
    assert is_caught(mutant, mutant.caught_by)
    assert play.play(mutant.caught_by).problems == ()
