"""A Lightning node that answers one call only when a test lets it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from backends.lightning import NodeUnansweredError
from backends.operations import Node
from tests.gateway.scene import Hold, Scene


class SlowNode:
    """The node of a scene, but that answers of `slow_call` wait while there is a hold; the node knows them by then."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.slow_call = ""
        self.hold: Hold | None = None
        self.answers = 0
        self.mute_call = ""
        """The node does not answer this call, however often it is asked."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._node, name)
        if name == self.mute_call:
            return _unanswered
        return self._slowed(found) if name == self.slow_call else found

    def _slowed(self, call: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def answer(*arguments: object, **named: object) -> object:
            self.answers += 1
            answered = await call(*arguments, **named)
            if self.hold is not None:
                await self.hold(self.slow_call)
            return answered

        return answer

    @asynccontextmanager
    async def while_it_answers(self) -> AsyncIterator[None]:
        """The block runs while the first slow answer is on its way; then all are quick."""
        assert self.hold is not None, "say which call is slow before it is made"
        await self.hold.reached.wait()
        try:
            yield
        finally:
            hold, self.hold = self.hold, None
            hold.release()

    def slow(self, call: str) -> None:
        """From now on answers of this call wait."""
        self.slow_call, self.hold = call, Hold()


async def _unanswered(*_arguments: object, **_named: object) -> object:
    raise NodeUnansweredError("the node says nothing")


def with_slow_node(scene: Scene) -> SlowNode:
    """Give the scene such a node."""
    node = SlowNode(scene.world.gateway_node)
    scene.node = node
    return node
