"""Steps that take time in a simulated run: slow calls, and a gateway that is down for long."""

from fuzz.simulation.latency import Pace
from fuzz.simulation.plans.step import Step


class Paces(Step, frozen=True):
    """How long calls take from then on, port by port."""

    node: Pace
    guardian: Pace
    client: Pace
    disk: Pace
    worker: Pace

    @property
    def is_usual(self) -> bool:
        """Whether no port is slow."""
        paces = (self.node, self.guardian, self.client, self.disk, self.worker)
        return not any(pace.longest_s for pace in paces)
