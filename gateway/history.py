"""What happened."""

from gateway.context import GatewayContext


class History:
    """The history of a running gateway."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
