"""The Lightning node that this gateway belongs to: the first that answered, until the operator replaces it.

Calls may be under way at the node, and only its own record says what became of them: the "no record" of another would
have money given back that was paid. So while another node answers, nothing is asked of it and nothing is told it.
"""

import structlog

from backends.lightning import NodeInfo
from engine.engine import Engine
from errors import ConfigError, UnavailableError
from fedimint.codec.wire_types import Network
from statemachines import identity

_log = structlog.get_logger("node")


class OtherNodeError(UnavailableError):
    """Another Lightning node answers than the gateway's."""


class NodePin:
    """The node by the log."""

    def __init__(self, engine: Engine, network: Network) -> None:
        self._engine = engine
        self._network = network
        self.stranger: NodeInfo | None = None
        """The node that answered last, when it is not the gateway's."""

    @property
    def public_key(self) -> str | None:
        """The key (hex) of the gateway's node as it is decided, None before the first answer."""
        founded = self._engine.peek(identity.STREAM)
        return founded.node if isinstance(founded, identity.Founded) else None

    def check(self, info: NodeInfo) -> None:
        """Note who answered; the first one is the gateway's node from then on.

        Raises ConfigError for a node on another network, OtherNodeError for any other than the gateway's.
        """
        if info.network != self._network:
            raise ConfigError(
                f"the Lightning node is on {info.network}, this gateway on {self._network}: "
                "start it with the node's network, or with another node"
            )
        engine, pinned = self._engine, self.public_key
        if pinned is None and isinstance(engine.peek(identity.STREAM), identity.Founded):
            engine.deliver(identity.STREAM, identity.MeetNode(node=info.public_key))
            _log.info("lightning_node_pinned", public_key=info.public_key)
        self.stranger = None
        if pinned is not None and pinned != info.public_key:
            self.stranger = info
            raise OtherNodeError(
                f"another Lightning node answers, {info.public_key}, than this gateway's, {pinned}: nothing is paid, "
                "invoiced or funded. Point the gateway at its own node again; or, if that is gone for good, see what "
                "giving it up means: gateway-cli lightning replace-node"
            )
