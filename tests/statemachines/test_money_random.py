"""Random walks of a whole gateway keep every promise about money."""

from hypothesis import HealthCheck, settings

from fuzz.machines.rule_based import GatewayMachines, walk
from statemachines import ALL_MACHINES

RUNS = 300
#: What only a log says that goes on from a backup (test_restore.py), and tweaks (test_wallet_random.py).
PLAYED_ELSEWHERE = {
    "gateway.reconciled",
    "gateway.restored",
    "receive.found_funded",
    "send.held_back",
    "wallet.forgotten",
    "wallet.tweaks_added",
    "wallet.tweaks_discarded",
}

TestAnyOrder = GatewayMachines.TestCase
TestAnyOrder.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_walks_meet_every_event_that_there_is() -> None:
    """Or they would prove nothing of it."""
    met = {event.kind for run in range(RUNS) for _, event in walk(run).scene.events}
    every = {event.kind for machine in ALL_MACHINES for event in machine.events}
    assert every - met == PLAYED_ELSEWHERE
