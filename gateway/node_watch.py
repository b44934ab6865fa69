"""Watches the Lightning node: whether it answers, who it is, and that it is on our network."""

import anyio
import structlog

from backends.lightning import LightningNode, NodeInfo
from engine.ports import Clock
from errors import ConfigError, GatewayError, NotReadyError, UnavailableError
from gateway.pinned_node import OtherNodeError

#: How often the node is asked who it is; also the age at which an answer no longer counts.
WATCH_PAUSE_S = 5.0
#: How long one question may take.
ANSWER_LIMIT_S = 5.0
#: How long payments may be held for a node that is behind the chain, as for change (`gateway/funding_turns.py`).
BEHIND_LIMIT_S = 60.0

_log = structlog.get_logger("node")


class NodeWatch:
    """The node as last seen. `run` is the watching; everybody may ask."""

    def __init__(self, node: LightningNode, clock: Clock) -> None:
        self._node = node
        self._clock = clock
        self.last_error: str | None = None
        self.is_other = False
        """Whether another node answers than the gateway's, as `last_error` then says."""
        self._info: NodeInfo | None = None
        self._behind_since_unix_us: int | None = None

    @property
    def info(self) -> NodeInfo | None:
        """What the node said last, None while it does not answer."""
        return self._info

    def connected(self) -> NodeInfo:
        """The node's info. Raises UnavailableError while it does not answer, or another does."""
        if self.is_other:
            raise UnavailableError(self.last_error)
        if self._info is None:
            raise UnavailableError("the gateway has no connection to its Lightning node; try again")
        return self._info

    def synced(self) -> NodeInfo:
        """The node's info. Raises NotReadyError while it is behind the chain, UnavailableError as `connected`."""
        info = self.connected()
        if not info.synced_to_chain:
            raise NotReadyError(
                "the gateway's Lightning node is behind the chain and could not answer a payment; try again later"
            )
        return info

    def behind_s(self) -> float:
        """For how long the node has said that it is behind the chain; 0 when it is not."""
        if self._behind_since_unix_us is None:
            return 0.0
        return max(0, self._clock.now_unix_us() - self._behind_since_unix_us) / 1_000_000

    async def ask(self) -> NodeInfo | None:
        """Ask now. Raises ConfigError when the node is on another network than this gateway."""
        try:
            with anyio.fail_after(ANSWER_LIMIT_S):
                info = await self._node.info()
        except ConfigError:
            raise
        except (GatewayError, TimeoutError) as error:
            self._lost(str(error) or "the Lightning node does not answer")
            self.is_other = isinstance(error, OtherNodeError)
            return None
        self._found(info)
        return info

    def _lost(self, why: str) -> None:
        """Once for each reason: the node is asked all the time."""
        if why != self.last_error:
            _log.warning("lightning_node_lost", error=why)
        self.last_error = why
        self._info = None

    def _found(self, info: NodeInfo) -> None:
        if self._info is None or self._info.synced_to_chain != info.synced_to_chain:
            _log.info(
                "lightning_node",
                public_key=info.public_key,
                alias=info.alias,
                block_height=info.block_height,
                synced_to_chain=info.synced_to_chain,
            )
        self.last_error = None
        self.is_other = False
        self._info = info
        if info.synced_to_chain:
            self._behind_since_unix_us = None
        elif self._behind_since_unix_us is None:
            self._behind_since_unix_us = self._clock.now_unix_us()

    async def run(self) -> None:
        """Ask without end. ConfigError leaves here, to end a gateway on the wrong network."""
        while True:
            await self.ask()
            await self._clock.sleep(WATCH_PAUSE_S)
