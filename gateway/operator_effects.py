"""The effects of what the operator asks of the node."""

from collections.abc import Mapping

from backends.operations import Node
from engine.effects import Handler
from engine.machine import Effect
from engine.ports import Clock


class OperatorEffects:
    """Handlers over one node."""

    def __init__(self, node: Node, clock: Clock) -> None:
        self._node = node
        self._clock = clock

    def handlers(self) -> Mapping[type[Effect], Handler]:
        """One handler for each effect."""
        return {}
