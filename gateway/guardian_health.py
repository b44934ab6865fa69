"""Which guardians of a federation do not answer, judged by ordinary requests.

Nothing is asked for this alone: a federation with a wallet is asked for its outputs all the time.
"""

from dataclasses import dataclass, field

import structlog

from fedimint.client.transport import GuardianConnection, GuardianUnreachable
from fedimint.codec.wire_types import PeerId, threshold

_log = structlog.get_logger("guardians")


@dataclass
class GuardianHealth:
    """The guardians of one federation, `names` by peer id, and why each of `lost` was not reached last."""

    federation_id: str
    names: dict[PeerId, str]
    lost: dict[PeerId, str] = field(default_factory=dict)

    @property
    def is_enough(self) -> bool:
        """Whether those that answer can decide anything."""
        return len(self.names) - len(self.lost) >= threshold(len(self.names))

    def problem(self, federation_name: str | None) -> str | None:
        """What is wrong with this federation, in one sentence; None when nothing is."""
        if not self.lost:
            return None
        who = ", ".join(f"{peer} ({self.names[peer]})" for peer in sorted(self.lost))
        meaning = (
            "the others are enough"
            if self.is_enough
            else "without them nothing can be paid or received there, and what is under way waits"
        )
        whose = (
            f"{federation_name} ({self.federation_id[:8]})"
            if federation_name
            else self.federation_id
        )
        return f"guardians of {whose} do not answer: {who}; {meaning}"

    def failed(self, peer: PeerId, error: str) -> None:
        """There is no connection to a guardian. Told in the log when it is the first time in a row."""
        if peer not in self.lost:
            self.lost[peer] = error
            _log.warning(
                "guardian_lost",
                federation_id=self.federation_id,
                guardian=int(peer),
                name=self.names[peer],
                error=error,
                enough_left=self.is_enough,
            )

    def answered(self, peer: PeerId) -> None:
        """A guardian said anything."""
        if self.lost.pop(peer, None) is not None:
            _log.info(
                "guardian_back",
                federation_id=self.federation_id,
                guardian=int(peer),
                name=self.names[peer],
                enough_left=self.is_enough,
            )


class WatchedConnection:
    """A connection whose outcomes are told to a `GuardianHealth`."""

    def __init__(
        self, connection: GuardianConnection, peer: PeerId, health: GuardianHealth
    ) -> None:
        self._connection = connection
        self._peer = peer
        self._health = health

    async def request(self, method: str, params: object, *, auth: str | None = None) -> object:
        """As the connection does. Only GuardianUnreachable counts: a long poll that was cut is an answer."""
        try:
            answer = await self._connection.request(method, params, auth=auth)
        except GuardianUnreachable as error:
            self._health.failed(self._peer, str(error))
            raise
        except Exception:
            self._health.answered(self._peer)
            raise
        self._health.answered(self._peer)
        return answer

    async def aclose(self) -> None:
        """As the connection does."""
        await self._connection.aclose()
