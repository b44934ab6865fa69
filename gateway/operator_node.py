"""The Lightning node, for its operator."""

from gateway.context import GatewayContext
from gateway.operator_views import OnchainRequest


class OperatorNode:
    """The node of a running gateway."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context

    async def onchain_address(self) -> str:
        """A fresh address of the node's wallet."""
        return await self._context.outside.node.onchain_address()

    async def send_onchain(self, request: OnchainRequest) -> str:
        """Send coins from the node's wallet and return the txid."""
        raise NotImplementedError
