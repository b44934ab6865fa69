"""All machines of a gateway as one rule-based machine of Hypothesis, for any test that imports it.

TestGateway = fuzz.machines.rule_based.GatewayMachines.TestCase
"""

from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fuzz.machines.promises import check_at_the_end, check_on_the_way
from fuzz.machines.world import World

STEPS = 60
_CHOICES = st.randoms(use_true_random=False)


class GatewayMachines(RuleBasedStateMachine):
    """Requests, results and late results in any order; when the rules are through, faults end and all must settle."""

    world: World

    @initialize(choose=_CHOICES)
    def begin(self, choose: Random) -> None:
        self.world = World(choose)

    @rule()
    def somebody_asks(self) -> None:
        self.world.ask()

    @rule()
    def an_effect_has_a_result(self) -> None:
        self.world.work()

    @rule()
    def a_late_result_comes(self) -> None:
        self.world.a_late_result_comes()

    @invariant()
    def promises_hold(self) -> None:
        check_on_the_way(self.world.scene)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            end(self.world)


def walk(seed: int) -> World:
    """One walk of `STEPS` steps to its end, as a function of its seed. Raises AssertionError."""
    world = World(Random(f"walk {seed}"))
    for _ in range(STEPS):
        world.choose.choice([world.ask, world.work, world.work, world.a_late_result_comes])()
    end(world)
    return world


def end(world: World) -> None:
    """Faults end, what is open ends, everything comes once more, and the books are right. Raises AssertionError."""
    world.everything_under_way_ends()
    world.everything_comes_again()
    check_at_the_end(world.scene)
