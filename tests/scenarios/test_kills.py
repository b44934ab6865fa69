"""Every scenario with the gateway killed in every state, right after the commit that entered it.

Nothing here names a state that is killed in. A scenario is played on one stage again and again, with one kill a play,
until it passes nothing that the gateway has not died at; each play ends with the books.
On the curve of simulations, since nothing here is about cryptography.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from fedimint.crypto import bls
from fuzz.simulation.stand_in_curve import STAND_IN
from gateway.log import machines
from tests.scenarios import treasury_mishaps
from tests.scenarios.mishaps import MISHAPS, Mishap
from tests.scenarios.reaper import Entered, Reaper
from tests.scenarios.scenarios import SCENARIOS, a_user_is_paid, a_user_pays
from tests.scenarios.simulated import SimulatedStage, play

#: What most scenarios contain: nobody needs to die in it again elsewhere.
PAYMENTS: tuple[Mishap, ...] = (a_user_pays, a_user_is_paid)
#: Whatever can be played on the simulated stage.
PLAYED: tuple[Mishap, ...] = (*SCENARIOS, *MISHAPS, *treasury_mishaps.MISHAPS)
#: More plays than any scenario needs.
PLAYS_MAX = 100


class Deaths:
    """The reapers of the scenarios that were asked for; each scenario is played once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._reapers: dict[Mishap, Reaper] = {}

    def of(self, scenario: Mishap) -> Reaper:
        if scenario not in self._reapers:
            others = [] if scenario in PAYMENTS else [self.of(one) for one in PAYMENTS]
            directory = self._directory / scenario.__name__
            self._reapers[scenario] = _reap(scenario, others, directory)
        return self._reapers[scenario]


def _reap(scenario: Mishap, others: Sequence[Reaper], directory: Path) -> Reaper:
    reapers: list[Reaper] = []

    async def again_and_again(stage: SimulatedStage) -> None:
        reaper = stage.gateway.probe = Reaper(stage.gateway, others)
        reapers.append(reaper)
        stage.gateway.comes_back = True
        await stage.gateway.start()
        await scenario(stage)
        for _ in range(PLAYS_MAX):
            reaper.arm()
            await scenario(stage)
            if not reaper.has_died:
                return
        raise AssertionError("there is always something new to die at")

    with bls.using(STAND_IN):
        play(directory, again_and_again)
    return reapers[0]


@pytest.fixture(scope="module")
def deaths(tmp_path_factory: pytest.TempPathFactory) -> Deaths:
    return Deaths(tmp_path_factory.mktemp("deaths"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", PLAYED, ids=lambda one: one.__name__)
def test_it_ends_well_wherever_the_gateway_dies(scenario: Mishap, deaths: Deaths) -> None:
    reaper = deaths.of(scenario)
    assert reaper.entered <= reaper.died_in


@pytest.mark.timeout(600)
def test_every_state_of_the_tables_is_died_in_or_has_its_reason_here(deaths: Deaths) -> None:
    died_in = {state for scenario in PLAYED for state in deaths.of(scenario).died_in}
    states = {
        Entered(machine.kind, state.__name__)
        for machine in machines()
        for state in machine.states
        if state is not type(machine.initial)
    }
    assert states - died_in == set(NOT_DIED_IN)


#: States that no scenario enters, and why.
NOT_DIED_IN: dict[Entered, str] = {
    Entered("completion", "CancelRejected"): (
        "a node that settles what it was given no preimage for: tests/statemachines/test_completion.py"
    ),
    Entered("tx", "GivenUp"): (
        "a federation that is given up amid a funding: tests/gateway/test_giving_up.py begins a life in it"
    ),
    Entered("receive", "Held"): (
        "what is held for ten seconds without a decision: tests/gateway/test_held_payments.py plays it"
    ),
    Entered("quarantine", "Quarantined"): (
        "a mistake of the gateway's own, which no scenario has: tests/engine/test_quarantine.py"
    ),
}
